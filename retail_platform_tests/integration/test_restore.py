"""A restore on a loaded platform: what waits is said, and the runs that it asks for end in the same gold as before."""

from collections.abc import Callable
from datetime import date

import pytest

from retail_platform.contracts import (
    DIM_PRODUCT,
    FACT_SALE,
    PRODUCT_MONTHS,
    SILVER_DAYS,
    SILVER_SALES,
    Table,
)
from retail_platform.contracts.bronze import BRONZE_SALES
from retail_platform.lakehouse.days import Days, waiting_stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.versions import history, restore
from retail_platform.settings import Settings
from retail_platform_tests.integration.conftest import Gold, differences, gold_of, run_lake, write_csv

JAN_30, FEB_1, MAR_2 = date(2011, 1, 30), date(2011, 2, 1), date(2011, 3, 2)


def deliver(settings: Settings, name: str, *sales: tuple[str, date, str, str]) -> None:
    rows = [(no, code, "RED HEART", "1", f"{day} 10:00:00", price, "13085", "EIRE") for no, day, code, price in sales]
    write_csv(settings.landing / f"{name}__20110305T000000Z.csv", rows)
    assert register_arrivals(settings).accepted == 1


def run_what_waits(settings: Settings) -> list[Days]:
    """Run the stretches that silver's states do not settle, as the sensor does; and which they were."""
    held = Lake(settings.lake).day_states(SILVER_DAYS)
    waiting = waiting_stretches(Ledger(settings).fingerprints(), held, settings.first_day)
    for days in waiting:
        assert run_lake(settings, days).success
    return waiting


@pytest.fixture(scope="module")
def loaded(make_platform: Callable[[str], Settings]) -> tuple[Settings, Gold]:
    """Three days, then a late delivery that changes the first month's price and one of its invoices."""
    settings = make_platform("restore")
    deliver(settings, "a", ("1", JAN_30, "10002", "1.25"), ("2", FEB_1, "10002", "1.25"), ("3", MAR_2, "85123A", "2"))
    deliver(settings, "b", ("4", JAN_30, "10002", "x"))
    run_what_waits(settings)
    deliver(settings, "c", ("1", JAN_30, "10002", "9.00"), ("4", JAN_30, "22016", "0"))
    run_what_waits(settings)
    return settings, gold_of(settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "table",
    [BRONZE_SALES, SILVER_SALES, PRODUCT_MONTHS, DIM_PRODUCT, FACT_SALE],
    ids=str,
)
def test_the_runs_after_a_restore_end_in_the_same_gold(loaded: tuple[Settings, Gold], table: Table) -> None:
    settings, gold = loaded
    lake = Lake(settings.lake)
    first = [commit.version for commit in history(lake, table) if commit.operation == "WRITE"][-1]
    done = restore(lake, table, first)
    assert done.is_changed
    if done.days is None:
        assert run_lake(settings, Days(MAR_2, date(2011, 3, 3))).success
    else:
        assert JAN_30 in done.days
        assert JAN_30 in run_what_waits(settings)[0]
    assert differences(gold_of(settings), gold) == []
    assert run_what_waits(settings) == []
