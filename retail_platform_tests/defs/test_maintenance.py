"""The job of maintenance on a platform with a little silver: what its assets tell, and that rows stay."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from retail_platform.contracts import SILVER_SALES
from retail_platform.definitions import defs
from retail_platform.defs.jobs import maintain_lake_weekly
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.tables import prepare_warehouse
from retail_platform_tests.transforms.frames import silver_lines


@pytest.fixture
def platform(tmp_path: Path, fresh_database: Database, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """January, a file a day, and February, which is open."""
    for name, value in {"HOME": str(tmp_path), "DATABASE_URL": fresh_database.url()}.items():
        monkeypatch.setenv(f"RETAIL_{name}", value)
    lake = Lake(tmp_path / "lake")
    for day in (date(2011, 1, 3), date(2011, 1, 4), date(2011, 2, 1), date(2011, 2, 2)):
        lake.replace_days(SILVER_SALES, silver_lines({"sale_date": day}), [Days(day, day + ONE_DAY)])
    with fresh_database.connect(autocommit=True) as connection:
        prepare_warehouse(connection)
    return Settings(home=tmp_path, database_url=fresh_database.url())


def told(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    key = dg.AssetKey(["maintenance", name])
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_maintenance_tells_before_and_after(platform: Settings) -> None:
    lake = Lake(platform.lake)
    before = lake.scan(SILVER_SALES).collect().sort("sale_date")
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("maintain_lake").execute_in_process(instance=instance)
    compaction, vacuum, checkpoints = (told(result, name) for name in ("compaction", "vacuum", "checkpoints"))
    assert (compaction["files_before"], compaction["files_after"], compaction["rows"]) == (4, 3, 4)
    assert "| silver.sales | 4 -> 3 |" in str(compaction["by_table"])
    assert vacuum["by_table"] == "Nothing to do."
    assert checkpoints["tables_changed"] == 1
    statistics = told(result, "warehouse_statistics")
    assert (statistics["dead_rows_after"], statistics["empty_partitions"]) == (0, "none")
    assert "gold.fact_sale" in str(statistics["by_table"])
    (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "rows_are_unchanged"]
    assert check.passed
    assert lake.scan(SILVER_SALES).collect().sort("sale_date").equals(before)


def test_maintenance_runs_by_itself_on_sunday_nights() -> None:
    assert maintain_lake_weekly.cron_schedule == "0 3 * * 0"
    assert maintain_lake_weekly.default_status == dg.DefaultScheduleStatus.RUNNING
