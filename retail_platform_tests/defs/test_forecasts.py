"""Forecasts and anomalies as assets: made again when a week has closed or a closed day has changed, and only then."""

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from retail_platform.contracts import (
    DEMAND_FORECAST,
    DIM_COUNTRY,
    DIM_PRODUCT,
    FACT_SALE,
    FORECAST_BACKTEST,
    REVENUE_ANOMALIES,
    REVENUE_FORECAST,
)
from retail_platform.defs import forecasts as defs
from retail_platform.defs.closed import open_week
from retail_platform.defs.forecasts import anomalies, forecasts
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform_tests.warehouse.gold_frames import gold_frames

FIRST, WEEKS = date(2011, 1, 3), 21
TABLES = (REVENUE_FORECAST, DEMAND_FORECAST, FORECAST_BACKTEST, REVENUE_ANOMALIES)
GOLD = gold_frames(FIRST, 7 * WEEKS + 8, 20)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with 21 weeks of sales and the Monday after them."""
    lake = Lake(tmp_path)
    lake.replace(DIM_COUNTRY, GOLD.dimensions["dim_country"])
    lake.replace(DIM_PRODUCT, GOLD.dimensions["dim_product"])
    sell(lake, 0, 7 * WEEKS + 1)
    return lake


def sell(lake: Lake, start: int, end: int, times: int = 1) -> None:
    """Put the sales of some days, numbered from the first, in place; `times` as many of each."""
    days = Days(FIRST + timedelta(days=start), FIRST + timedelta(days=end))
    facts = GOLD.facts.filter(pl.col("sale_date").is_between(*days, closed="left"))
    amount = (pl.col("total_amount") * times).cast(pl.Decimal(18, 4)).alias("total_amount")
    lake.replace_days(FACT_SALE, facts.with_columns(amount), [days])


def run(lake: Lake) -> list[int | None]:
    """Run both assets; the versions of their tables."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([forecasts, anomalies], resources={"lake": lake}, instance=instance).success
    return [lake.version(table) for table in TABLES]


def contents(lake: Lake) -> list[pl.DataFrame]:
    return [lake.scan(table).collect() for table in TABLES]


def test_they_are_made_again_when_a_week_closes_or_a_closed_day_changes(lake: Lake, tmp_path: Path) -> None:
    assert open_week(lake) == FIRST + timedelta(weeks=WEEKS)
    first = run(lake)
    assert all(
        frame["as_of_date"].unique().to_list() == [FIRST + timedelta(days=7 * WEEKS - 1)] for frame in contents(lake)
    )
    assert run(lake) == first
    sell(lake, 7 * WEEKS, 7 * WEEKS + 1, times=3)  # a day of the open week
    assert run(lake) == first

    sell(lake, 7, 8, times=3)  # a closed day
    second = run(lake)
    assert all(now != then for now, then in zip(second, first, strict=True))
    sell(lake, 7 * WEEKS + 7, 7 * WEEKS + 8)  # the Monday that closes the week
    third = run(lake)
    assert all(now != then for now, then in zip(third, second, strict=True))

    fresh = Lake(tmp_path / "fresh")
    for table in (DIM_COUNTRY, DIM_PRODUCT, FACT_SALE):
        frame = lake.scan(table).collect()
        fresh.replace(table, frame) if table.day is None else fresh.replace_days(
            table, frame, [Days(FIRST, date(2012, 1, 1))]
        )
    run(fresh)
    assert all(left.equals(right) for left, right in zip(contents(lake), contents(fresh), strict=True))


def test_forecasts_are_made_again_when_a_country_is_of_another_group(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(lake)
    countries = lake.scan(DIM_COUNTRY).collect()
    lake.replace(DIM_COUNTRY, countries.with_columns(gdp_per_capita=pl.lit(1, pl.Decimal(18, 4))))
    assert run(lake) == first
    lake.replace(DIM_COUNTRY, countries.with_columns(is_eu_member=pl.lit(True)))
    second = run(lake)
    assert all(now != then for now, then in zip(second[:3], first[:3], strict=True))
    monkeypatch.setattr(defs, "version", lambda package: f"{package} of next year")
    assert all(now != then for now, then in zip(run(lake)[:3], second[:3], strict=True))


def test_a_lake_without_sales_has_none(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert open_week(lake) == date(1970, 1, 5)
    run(lake)
    assert [frame.height for frame in contents(lake)] == [0, 0, 0, 0]
