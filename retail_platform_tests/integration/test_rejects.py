"""Rejected rows are worked: by the command and by the job, into gold, with their history, and again by a rebuild."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner, Result

from retail_platform.cli import main
from retail_platform.contracts import BRONZE_SALES, SILVER_REJECTS, SILVER_SALES
from retail_platform.definitions import defs
from retail_platform.instance.home import open_instance, prepare_dagster_home
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.rejects.book import Book, list_rejects
from retail_platform.settings import Settings
from retail_platform.status import days_waiting
from retail_platform_tests.integration.conftest import (
    differences,
    gold_of,
    run_lake,
    settings_in_environment,
    whole,
    write_csv,
)

DAY, MORE = date(2011, 1, 10), date(2011, 1, 11)
DAYS = whole([DAY, MORE])
ROWS = [
    ("540001", "10002", "RED HEART", "2", f"{DAY} 10:00:00", "1.50", "13085", "United Kingdom"),
    ("540001", "10003", "BLUE CUP", "4", f"{DAY} 10:00:00", "0", "13085", "United Kingdom"),
    ("540001", "10002", "RED HEART", "2", f"{DAY} 10:00:00", "1.50", "13085", "United Kingdom"),
    ("A540002", "B", "Adjust bad debt", "1", f"{DAY} 11:00:00", "3", None, "EIRE"),
    ("540003", "10004", "GREEN BAG", "1", "yesterday", "2", None, "EIRE"),
]


@pytest.fixture(scope="module")
def platform(make_platform: Callable[[str], Settings]) -> Settings:
    settings = make_platform("rejects")
    write_csv(settings.landing / "s1__20110112T000000Z.csv", ROWS)
    register_arrivals(settings)
    assert run_lake(settings, DAYS).success
    return settings


def retail(settings: Settings, *arguments: str) -> Result:
    with settings_in_environment(settings):
        return CliRunner().invoke(main, ["rejects", *arguments], env={"COLUMNS": "300"})


def run_job(settings: Settings, **config: Any) -> dg.ExecuteInProcessResult:
    """Launch amend_rejects in the platform's own instance."""
    with settings_in_environment(settings), pytest.MonkeyPatch.context() as patch:
        for name, value in prepare_dagster_home(settings).items():
            patch.setenv(name, value)
        with open_instance(settings) as instance:
            return defs.resolve_job_def("amend_rejects").execute_in_process(
                instance=instance,
                run_config={"ops": {"send_rejects": {"config": config}}},
                raise_on_error=False,
            )


def open_ids(settings: Settings) -> dict[str, str]:
    return dict(list_rejects(settings).select("reason", "id").iter_rows())


def sold(settings: Settings) -> list[tuple[Any, ...]]:
    lines = Lake(settings.lake).scan(SILVER_SALES).select("sale_date", "invoice_no", "stock_code", "quantity").collect()
    assert str(gold_of(settings)["fact_sale"]["quantity"].sum()) == str(lines["quantity"].sum())
    return sorted(lines.select(pl.exclude("sale_date")).rows())


def test_a_rejected_row_becomes_a_sale(platform: Settings, tmp_path: Path) -> None:
    lake, before = Lake(platform.lake), open_ids(platform)
    assert set(before) == {"zero_price", "duplicate_line", "adjustment", "invalid_date"}
    listed = retail(platform, "list", "--day", str(DAY), "--reason", "zero_price", "--file", "s1_")
    assert "1 of 1 rejected rows" in listed.stdout
    assert before["zero_price"] in listed.stdout

    refused = retail(platform, "release", before["zero_price"], "--by", "Ana", "--why", "w")
    assert refused.exit_code == 1
    assert "cannot be released" in refused.output
    values = ("--set", "unit_price=1.25", "--by", "Ana", "--why", "asked the shop")
    amended = retail(platform, "amend", before["zero_price"], *values)
    assert amended.exit_code == 0, amended.output
    assert f"retail run --from {DAY} --to {DAY}" in amended.stdout
    assert days_waiting(platform)

    released = run_job(platform, ids=[before["adjustment"]], action="release", by="Ben", why="it was sold")
    assert released.success
    dated = run_job(platform, ids=[before["invalid_date"]], changes={"invoice_date": str(MORE)}, by="Ben", why="till")
    assert dated.success
    (arrived,) = [event for event in dated.all_events if event.is_step_materialization]
    assert arrived.step_materialization_data.materialization.metadata["by"].value == "Ben"

    assert run_lake(platform, DAYS).success
    assert sold(platform) == [
        ("540001", "10002", 2),
        ("540001", "10003", 4),
        ("540003", "10004", 1),
        ("A540002", "B", 1),
    ]
    counts = [lake.scan(table).collect().height for table in (BRONZE_SALES, SILVER_SALES, SILVER_REJECTS)]
    assert counts == [5 + 2 + 1 + 1, 4, 5]
    assert set(open_ids(platform)) == {"duplicate_line"}


def test_who_and_why_are_in_gold_and_in_the_row_s_history(platform: Settings) -> None:
    told = gold_of(platform)["reject_correction"].sort("corrected_at")
    columns = ["action", "reject_reason", "waived_rule", "corrected_by", "why", "changes", "invoice_no", "sale_date"]
    assert told.select(columns).rows() == [
        ("amend", "zero_price", None, "Ana", "asked the shop", "unit_price: '0' -> '1.25'", "540001", DAY),
        ("release", "adjustment", "adjustment", "Ben", "it was sold", None, "A540002", DAY),
        ("amend", "invalid_date", None, "Ben", "till", f"invoice_date: 'yesterday' -> '{MORE}'", "540003", MORE),
    ]
    shown = retail(platform, "show", told["reject_id"][0])
    assert shown.exit_code == 0, shown.output
    for text in ("corrected", "Ana", "asked the shop", "unit_price: '0' -> '1.25'", told["correction_id"][0]):
        assert text in shown.stdout
    row = Book(platform).row(told["correction_id"][0])
    assert (row.status, row.history[-1].by, row.history[-1].row) == ("accepted", "Ana", row.id)


def test_the_job_says_why_it_refuses(platform: Settings) -> None:
    (id_,) = open_ids(platform).values()
    result = run_job(platform, ids=[id_], changes={"quantity": "many"}, by="Ben", why="w")
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "would be rejected again, as invalid_quantity" in str(failure.step_failure_data.error_display_string)
    assert list(platform.landing.rglob("*.part")) == []


def test_a_rebuild_ends_in_the_same_gold(platform: Settings, tmp_path: Path) -> None:
    fresh = platform.model_copy(update={"home": tmp_path})
    shutil.copytree(platform.deliveries, fresh.deliveries)
    assert run_lake(fresh, DAYS).success
    assert differences(gold_of(platform), gold_of(fresh)) == []


def test_a_delivery_that_no_correction_has_seen_is_told(platform: Settings) -> None:
    """It is dated between the first delivery and the correction: the correction wins, and the check says so."""
    write_csv(platform.landing / "s2__20110113T000000Z.csv", [("540001", "10009", None, *ROWS[0][3:])])
    register_arrivals(platform)
    result = run_lake(platform, DAYS)
    assert result.success
    (check,) = [
        check
        for check in result.get_asset_check_evaluations()
        if check.check_name == "corrections_know_the_newest_delivery"
    ]
    assert not check.passed
    assert "540001" in str(check.metadata["unseen"].value)
    assert ("540001", "10003", 4) in sold(platform)
