"""A day whose score is too low is held back: in its run, in those after it, and until it is corrected or accepted."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from retail_platform.contracts import LINE_OUTLIERS, QUALITY_SCORES
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import run_lake, whole, write_csv

BAD, NEXT = date(2011, 1, 4), date(2011, 1, 5)


def deliver(platform: Settings, name: str, day: date, bad_rows: int) -> None:
    """A file of 100 invoices of a day, so many of them with a quantity of 0."""
    rows = [
        (f"{540000 + n}", "10002", "MUG", "0" if n < bad_rows else "1", f"{day} 10:00:00", "1.25", None, "EIRE")
        for n in range(100)
    ]
    write_csv(platform.landing / f"{name}__20110106T000000Z.csv", rows)
    register_arrivals(platform)


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Why the scores stopped the run."""
    failed = [event for event in result.all_events if event.is_step_failure]
    assert [event.step_key for event in failed] == ["quality_scores"]
    return str(failed[0].step_failure_data.error_display_string)


@pytest.mark.slow
def test_a_low_day_is_held_back_until_it_is_corrected_or_accepted(tmp_path: Path, database: Database) -> None:
    platform = Settings(home=tmp_path, mappings=None, database_url=database.url())
    deliver(platform, "bad", BAD, 90)
    message = failure(run_lake(platform, whole([BAD])))
    assert "2011-01-04 of silver.sales has" in message
    assert "validity 10.0 of 95: invalid_quantity, 90 rows of bad__20110106T000000Z.csv" in message

    deliver(platform, "next", NEXT, 0)
    assert "2011-01-04" in failure(run_lake(platform, whole([NEXT])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETAIL_QUALITY_ACCEPTED_DAYS", '["2011-01-04"]')
        assert run_lake(platform, whole([NEXT])).success
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETAIL_QUALITY_THRESHOLDS", '{"total": 10}')
        patch.setenv("RETAIL_QUALITY_FLOORS", '{"validity": 10}')
        assert run_lake(platform, whole([NEXT])).success

    deliver(platform, "corrected", BAD, 0)
    assert run_lake(platform, whole([BAD])).success
    scores = Lake(platform.lake).scan(QUALITY_SCORES).sort("sale_date").collect()
    assert scores.select("sale_date", "validity_score", "checked_rows").rows() == [(BAD, 100, 100), (NEXT, 100, 100)]
    hours = (datetime(2011, 1, 6, tzinfo=UTC) - datetime(2011, 1, 5, tzinfo=UTC)).total_seconds() / 3600
    assert scores["delivery_hours"].to_list() == [hours, 0.0]


@pytest.mark.slow
def test_late_lines_of_a_closed_month_judge_every_day_again(tmp_path: Path, database: Database) -> None:
    """A product that gets its 30th line late has a band then, and a line of the open month is far outside of it."""
    platform = Settings(home=tmp_path, mappings=None, database_url=database.url())
    days = [date(2011, 1, 30), date(2011, 2, 1)]

    def deliver_prices(name: str, day: date, prices: list[str]) -> None:
        rows = [(f"{name}{n}", "10002", "MUG", "1", f"{day} 10:00:00", p, None, "EIRE") for n, p in enumerate(prices)]
        write_csv(platform.landing / f"{name}__20110306T000000Z.csv", rows)
        register_arrivals(platform)

    deliver_prices("1", days[0], ["1.00"] * 29)
    deliver_prices("2", days[1], ["99.00"])
    assert run_lake(platform, whole(days)).success
    assert Lake(platform.lake).scan(LINE_OUTLIERS).collect().is_empty()
    deliver_prices("3", days[0], ["1.10"])
    assert run_lake(platform, whole(days[:1])).success
    found = Lake(platform.lake).scan(LINE_OUTLIERS).select("sale_date", "measure", "value", "expected").collect()
    assert found.rows() == [(days[1], "unit_price", 99.0, pytest.approx(1.0))]
    scores = Lake(platform.lake).scan(QUALITY_SCORES).sort("sale_date").collect()
    assert scores.select("outlier_values", "judged_values", "accuracy_score").rows() == [(0, 60, 100), (1, 2, 50)]
    # Both days came more than a week late.
    assert scores["warning_count"].to_list() == [1, 2]
