"""A rule that fails stops a run before anything is written, and says what to do; a corrected file mends it."""

from collections.abc import Callable
from datetime import date

import dagster as dg

from retail_platform.contracts import SILVER_REJECTS, SILVER_SALES
from retail_platform.contracts.rules import RULES
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform_tests.integration.conftest import run_lake, write_csv

DAY = date(2011, 1, 4)


def deliver(settings: Settings, hour: int, price: str) -> dg.ExecuteInProcessResult:
    """Land 25 lines of the day, each with this price, and run the day up to silver."""
    rows = [(str(n), "85123A", "HEART", "1", f"{DAY} 10:00:00", price, None, "EIRE") for n in range(25)]
    write_csv(settings.landing / f"shop__20110105T{hour:02}0000Z.csv", rows)
    return run_lake(settings, Days(DAY, date(2011, 1, 5)), ("landing", "bronze", "silver"))


def test_a_file_that_the_mapping_cannot_read_stops_the_run(make_platform: Callable[[str], Settings]) -> None:
    settings = make_platform("rules")
    lake = Lake(settings.lake)

    stopped = deliver(settings, 1, "2,50")
    (failure,) = [event for event in stopped.all_node_events if event.is_step_failure]
    assert "numbers_are_readable: 25 of 25 rows, on 1 days" in str(failure.step_failure_data.user_failure_data)
    assert "row 1 of shop__20110105T010000Z.csv. The mapping does not fit" in str(failure)
    assert (lake.version(SILVER_SALES), lake.version(SILVER_REJECTS)) == (None, None)

    mended = deliver(settings, 2, "20000.00")
    assert mended.success
    assert lake.scan(SILVER_SALES).collect().height == 25
    assert set(lake.scan(SILVER_REJECTS).collect()["reason"]) == {"invalid_price"}
    checks = {event.check_name: event for event in mended.get_asset_check_evaluations()}
    assert {rule.name for rule in RULES if rule.severity != "drop"} <= checks.keys()
    assert checks["numbers_are_readable"].passed
    warned = checks["prices_are_plausible"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert warned.metadata["rows"].value == 25
