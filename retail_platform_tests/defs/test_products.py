"""The assets of product analytics on a lake of their own: made again only when they must be, and then as made anew."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl
import pytest

from retail_platform.contracts import (
    DIM_PRODUCT,
    PRICE_ELASTICITY,
    PRODUCT_DEMAND,
    PRODUCT_MONTHS,
    SEASONALITY_INDEX,
    SILVER_SALES,
)
from retail_platform.defs.products import demand_of_products, elasticity_of_prices, index_of_seasons
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms.products import product_months
from retail_platform_tests.transforms.frames import silver_lines

START = date(2010, 2, 1)
PRICES = ("2.00", "2.00", "2.50", "1.60", "2.00")
WEEKS: list[dict[str, Any]] = [
    {"sale_date": START + timedelta(weeks=number), "quantity": 10, "unit_price": Decimal(PRICES[number % len(PRICES)])}
    for number in range(54)
]
TABLES = (PRODUCT_DEMAND, PRICE_ELASTICITY, SEASONALITY_INDEX)
LATE, OPEN = date(2010, 6, 1), date(2011, 2, 10)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a sale on each Monday of a year and a bit; February 2011 is open."""
    lake = Lake(tmp_path / "lake")
    write(lake, WEEKS, Days(START, date(2011, 2, 28)))
    classify(lake, "Kitchen")
    return lake


def write(lake: Lake, rows: list[dict[str, Any]], days: Days) -> None:
    lake.replace_days(SILVER_SALES, silver_lines(*rows), [days])
    months: pl.LazyFrame = product_months(nw.from_native(lake.scan(SILVER_SALES))).to_native()
    lake.replace_months(PRODUCT_MONTHS, months.collect(), lake.months(SILVER_SALES))


def classify(lake: Lake, category: str) -> None:
    rows = [{"stock_code": code, "valid_from": START if code == "84077" else OPEN} for code in ("84077", "10002")]
    named = [row | {"category": category, "is_current": True} for row in rows]
    lake.replace(
        DIM_PRODUCT, pl.DataFrame([dict.fromkeys(DIM_PRODUCT.schema) | row for row in named], DIM_PRODUCT.schema)
    )


def run(lake: Lake) -> dict[str, dict[str, Any]]:
    """Run the assets; the metadata of each."""
    assets = [demand_of_products, elasticity_of_prices, index_of_seasons]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, resources={"lake": lake}, instance=instance)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    events = result.get_asset_materialization_events()
    return {event.asset_key.path[-1]: dict(event.materialization.metadata) for event in events}


def made_again(lake: Lake) -> list[bool]:
    metadata = run(lake)
    return [metadata[table.name]["made_again"].value for table in TABLES]


def content(lake: Lake) -> list[pl.DataFrame]:
    return [lake.scan(table).collect() for table in TABLES]


def test_a_closed_day_makes_them_again_and_the_open_month_does_not(lake: Lake, tmp_path: Path) -> None:
    metadata = run(lake)
    demand, elasticity, seasons = content(lake)
    assert demand.select("stock_code", "observed_months", "sold_months").rows() == [("84077", 12, 12)]
    assert elasticity.select("stock_code", "week_count", "moved_week_count").rows() == [("84077", 52, 20)]
    assert seasons.group_by("scope", "item", "cycle").len().sort("scope", "cycle").rows() == [
        ("category", "Kitchen", "month", 12),
        ("product", "84077", "month", 12),
        ("shop", "all", "month", 12),
        ("shop", "all", "weekday", 7),
    ]
    assert "data:image/png" in metadata["seasonality_index"]["shop"].value

    write(lake, [{"sale_date": OPEN, "stock_code": "10002"}], Days(OPEN, OPEN + timedelta(days=1)))
    assert made_again(lake) == [False, False, False]
    write(lake, [{"sale_date": LATE, "quantity": 5}], Days(LATE, LATE + timedelta(days=1)))
    assert made_again(lake) == [True, True, True]

    fresh = Lake(tmp_path / "fresh")
    lines = lake.scan(SILVER_SALES).collect().rows(named=True)
    write(fresh, lines, Days(START, date(2011, 2, 28)))
    classify(fresh, "Kitchen")
    run(fresh)
    assert all(left.equals(right) for left, right in zip(content(lake), content(fresh), strict=True))


def test_another_category_makes_the_seasons_again(lake: Lake) -> None:
    run(lake)
    classify(lake, "Dining")
    assert made_again(lake) == [False, False, True]
    assert made_again(lake) == [False, False, False]
    assert "Dining" in content(lake)[2]["item"].to_list()


def test_an_empty_lake_has_empty_tables(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    run(lake)
    assert [frame.height for frame in content(lake)] == [0, 0, 0]
