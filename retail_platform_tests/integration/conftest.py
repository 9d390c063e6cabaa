"""Whole runs: platforms of their own on the session's PostgreSQL server, and what their gold holds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from retail_platform.contracts import GOLD_TABLES, Table
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.platforms import new_platform

AUDIT_COLUMNS = ("created_at", "batch_id")
LAKE_LAYERS = ("landing", "bronze", "silver", "gold")

Gold = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def make_platform(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Iterator[Callable[[str], Settings]]:
    """Platforms in folders of their own, each with two databases of its own on the session's server."""
    with ExitStack() as stack:

        def make(name: str) -> Settings:
            return stack.enter_context(new_platform(database, tmp_path_factory.mktemp(name), name))

        yield make


@contextmanager
def settings_in_environment(settings: Settings) -> Iterator[None]:
    """Make these the settings of the process, as a child of `retail` has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETAIL_HOME", str(settings.home))
        for name in ("database_url", "dagster_database_url"):
            if value := getattr(settings, name):
                patch.setenv(f"RETAIL_{name.upper()}", value)
        yield


def run_lake(
    settings: Settings, days: Days, layers: Sequence[str] = LAKE_LAYERS, tables: Sequence[Table] | None = None
) -> dg.ExecuteInProcessResult:
    """Run the assets from landing to gold for some days, in an instance that forgets; or only those of some tables."""
    from retail_platform.definitions import defs
    from retail_platform.defs.partitions import range_tags

    job = defs.resolve_job_def("run_days")
    keys = [key for key in job.asset_layer.executable_asset_keys if key.path[0] in layers]
    if tables is not None:
        keys = [dg.AssetKey([table.layer, table.name]) for table in tables]
    with settings_in_environment(settings), dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            asset_selection=keys,
            tags=range_tags(days),
            raise_on_error=False,
        )


def gold_of(settings: Settings) -> Gold:
    """The content of every gold table, audit columns aside, in the order of its key."""
    lake = Lake(settings.lake)
    return {
        table.name: lake.scan(table).drop(AUDIT_COLUMNS, strict=False).collect().sort(table.key)
        for table in GOLD_TABLES
    }


def differences(left: Gold, right: Gold) -> list[str]:
    """The names of the tables that differ."""
    return [name for name in left if not left[name].equals(right[name])]


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """A file with the names of the public data set."""
    names = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]
    text = [[None if cell is None else str(cell) for cell in row] for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(text, schema=dict.fromkeys(names, pl.String), orient="row").write_csv(path)
    return path


def whole(days: Sequence[date]) -> Days:
    """The range from the first to the last of some days."""
    return Days(min(days), date.fromordinal(max(days).toordinal() + 1))
