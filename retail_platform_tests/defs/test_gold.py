"""Customers on a lake of their own: those of an ordinary day are added, and whatever came when, all equal a rebuild."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_platform.contracts import CUSTOMER_MONTHS, DIM_CUSTOMER, SILVER_SALES
from retail_platform.defs.gold import dim_customer
from retail_platform.engines.choose import Engines
from retail_platform.lakehouse.days import Days, month_of, next_month
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.transforms.customers import customer_months
from retail_platform_tests.transforms.frames import silver_lines

JANUARY, MARCH = date(2011, 1, 5), date(2011, 3, 7)
DAYS = [JANUARY, date(2011, 1, 20), date(2011, 2, 3), MARCH, date(2011, 3, 9), date(2011, 3, 21)]

arrivals = st.lists(
    st.tuples(st.sampled_from(DAYS), st.lists(st.sampled_from("abcd"), max_size=3, unique=True)), min_size=1, max_size=5
)


def sell(lake: Lake, day: date, *customers: str) -> None:
    """Put what the customers bought on a day in place of what it had, and sum its month up."""
    rows: list[dict[str, Any]] = [
        {"sale_date": day, "invoice_no": f"{day:%m%d}{name}", "customer_id": name, "country": "France"}
        for name in customers
    ]
    lake.replace_days(SILVER_SALES, silver_lines(*rows), [Days(day, day.replace(day=day.day + 1))])
    summarise(lake, month_of(day))


def summarise(lake: Lake, month: date) -> None:
    lines = lake.scan(SILVER_SALES, Days(month, next_month(month)))
    summary: pl.LazyFrame = customer_months(nw.from_native(lines)).to_native()
    lake.replace_months(CUSTOMER_MONTHS, summary.collect(), [month])


def run(lake: Lake) -> int | None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(
            [dim_customer], resources={"lake": lake, "engine": Engines(Settings())}, instance=instance
        ).success
    return lake.version(DIM_CUSTOMER)


def customers(lake: Lake) -> pl.DataFrame:
    return lake.scan(DIM_CUSTOMER).collect().sort(DIM_CUSTOMER.key)


def files(lake: Lake) -> int:
    return len(list(lake.path(DIM_CUSTOMER).glob("*.parquet")))


def test_a_day_of_the_open_month_adds_its_new_customers_and_touches_no_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    sell(lake, JANUARY, "a", "b")
    sell(lake, MARCH, "a", "c")
    first = run(lake)
    assert run(lake) == first
    before = customers(lake)
    sell(lake, date(2011, 3, 9), "a", "d")
    assert run(lake) != first
    assert files(lake) == 2
    assert customers(lake).join(before, on="customer_key", how="anti")["customer_id"].to_list() == ["d"]
    sell(lake, MARCH, "a", "c", "d")  # d came two days earlier
    run(lake)
    days = dict(customers(lake).select("customer_id", "registration_date").iter_rows())
    assert days == {None: None, "a": JANUARY, "b": JANUARY, "c": MARCH, "d": MARCH}


@settings(max_examples=4, deadline=None)
@given(arrivals=arrivals)
def test_whatever_came_when_it_equals_a_rebuild(arrivals: list[tuple[date, list[str]]]) -> None:
    with TemporaryDirectory() as folder:
        lake, fresh = Lake(Path(folder) / "lake"), Lake(Path(folder) / "fresh")
        for day, names in arrivals:
            sell(lake, day, *names)
            run(lake)
        lines = lake.scan(SILVER_SALES).collect()
        fresh.replace_days(SILVER_SALES, lines, [Days(JANUARY, date(2012, 1, 1))])
        for month in lines["sale_month"].unique():
            summarise(fresh, month)
        run(fresh)
        assert customers(lake).equals(customers(fresh))
