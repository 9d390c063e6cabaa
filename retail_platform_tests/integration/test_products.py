"""Elasticities, seasons and classes through the graph: made again only when they must be, and then as a rebuild."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from retail_platform.contracts import PRICE_ELASTICITY, PRODUCT_DEMAND, SEASONALITY_INDEX
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import differences, gold_of, run_lake, write_csv

pytestmark = pytest.mark.slow

SPAN = Days(date(2010, 2, 1), date(2011, 2, 12))
PRICES = ("2.00", "2.00", "2.50", "1.60", "2.00")
TABLES = (PRODUCT_DEMAND, PRICE_ELASTICITY, SEASONALITY_INDEX)

Row = tuple[object, ...]


def sale(number: int, day: date, code: str = "10001", units: int = 1, price: str = "2.00") -> Row:
    return (f"{540_000 + number}", code, "WHITE HEART", units, f"{day} 10:00:00", price, 13_000, "EIRE")


def deliver(settings: Settings, name: str, rows: list[Row], days: Days) -> None:
    write_csv(settings.landing / f"{name}.csv", rows)
    register_arrivals(settings)
    assert run_lake(settings, days).success


def versions(settings: Settings) -> list[int | None]:
    return [Lake(settings.lake).version(table) for table in TABLES]


def test_they_are_made_again_when_a_closed_day_changes_and_equal_a_rebuild(tmp_path: Path, database: Database) -> None:
    settings = Settings(home=tmp_path / "home", mappings=None, database_url=database.url())
    weeks = [SPAN.start + timedelta(weeks=number) for number in range(54)]
    rows = [
        sale(number, day, units=10 + number % 7, price=PRICES[number % len(PRICES)]) for number, day in enumerate(weeks)
    ]
    deliver(settings, "weeks__20110212T000000Z", rows, SPAN)
    first, gold = versions(settings), gold_of(settings)
    assert gold["product_demand"].select("stock_code", "observed_months").rows() == [("10001", 12)]
    assert gold["price_elasticity"].select("stock_code", "week_count").rows() == [("10001", 52)]
    assert gold["seasonality_index"].group_by("scope", "cycle").len().sort("scope", "cycle").rows() == [
        ("category", "month", 12),
        ("product", "month", 12),
        ("shop", "month", 12),
        ("shop", "weekday", 7),
    ]

    opened = date(2011, 2, 10)
    deliver(settings, "open__20110213T000000Z", [sale(100, opened, "10002")], one(opened))
    assert versions(settings) == first

    late = date(2010, 6, 1)
    deliver(settings, "late__20110214T000000Z", [sale(101, late, units=5)], one(late))
    assert all(then != now for then, now in zip(first, versions(settings), strict=True))
    fresh = settings.model_copy(update={"home": tmp_path / "rebuilt"})
    shutil.copytree(settings.deliveries, fresh.deliveries)
    assert run_lake(fresh, SPAN).success
    assert differences(gold_of(settings), gold_of(fresh)) == []


def one(day: date) -> Days:
    return Days(day, day + timedelta(days=1))
