"""Tables of closed days through the graph: made again only when they must be, and then as a rebuild makes them."""

import random
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from retail_platform.contracts import (
    CUSTOMER_FEATURE,
    CUSTOMER_SEGMENT_MONTH,
    CUSTOMER_VALUE,
    PRODUCT_FEATURE,
    PRODUCT_PAIR,
)
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import differences, gold_of, run_lake, write_csv

pytestmark = pytest.mark.slow

SPAN = Days(date(2011, 1, 1), date(2011, 4, 1))
NAMES = ("visits", "open", "late", "closing", "early", "withdrawn")
STAMPS = {name: f"2011040{number}T000000Z" for number, name in enumerate(NAMES, start=3)}
TABLES = (CUSTOMER_VALUE, PRODUCT_PAIR, CUSTOMER_SEGMENT_MONTH, CUSTOMER_FEATURE, PRODUCT_FEATURE)

Row = tuple[object, ...]


def visit(customer: int, day: date) -> list[Row]:
    """An invoice of two products; a few buy a third."""
    invoice, codes = f"{540_000 + customer + 100 * (day - SPAN.start).days}", ["10001", "10002", "10003"]
    return [
        (invoice, code, "HEART", 1 + customer % 5, f"{day} 10:00:00", "2.50", 13_000 + customer, "EIRE")
        for code in codes[: 2 + (customer % 10 == 0)]
    ]


def visits() -> list[Row]:
    """Seventy customers, each at a rate of its own; after each visit one of ten leaves."""
    drawn, rows = random.Random(1), list[Row]()
    for customer in range(70):
        day, gap = SPAN.start + timedelta(days=customer % 20), drawn.uniform(2, 30)
        while day in SPAN:
            rows += visit(customer, day)
            day += timedelta(days=1 + int(drawn.expovariate(1 / gap)))
            if drawn.random() < 0.1:
                break
    return rows


@pytest.fixture
def platform(tmp_path: Path, database: Database) -> Settings:
    """A platform with all visits in one delivery, run."""
    settings = Settings(home=tmp_path / "home", mappings=None, database_url=database.url())
    deliver(settings, "visits", visits(), SPAN)
    return settings


def deliver(settings: Settings, name: str, rows: list[Row], days: Days) -> None:
    write_csv(settings.landing / f"{name}__{STAMPS[name]}.csv", rows)
    register_arrivals(settings)
    assert run_lake(settings, days).success


def versions(settings: Settings) -> list[int | None]:
    return [Lake(settings.lake).version(table) for table in TABLES]


def rebuilt(settings: Settings, tmp_path: Path, days: Days) -> Settings:
    """The same deliveries on a new platform, in one run."""
    fresh = settings.model_copy(update={"home": tmp_path / f"rebuilt_{days.start}"})
    shutil.copytree(settings.deliveries, fresh.deliveries)
    assert run_lake(fresh, days).success
    return fresh


def test_they_are_made_again_when_a_closed_day_changes_and_equal_a_rebuild(platform: Settings, tmp_path: Path) -> None:
    gold, first = gold_of(platform), versions(platform)
    assert gold["customer_value"]["as_of_date"].unique().to_list() == [date(2011, 2, 28)]
    assert gold["customer_value"]["probability_alive"].null_count() == 0
    assert gold["product_pair"].select("stock_code", "position").rows() == [("10001", None), ("10002", None)]

    deliver(platform, "open", visit(99, date(2011, 3, 30)), one(date(2011, 3, 30)))
    assert versions(platform) == first

    late = date(2011, 2, 27)
    deliver(platform, "late", visit(98, late), one(late))
    second = versions(platform)
    assert different(first, second)
    assert differences(gold_of(platform), gold_of(rebuilt(platform, tmp_path, SPAN))) == []

    deliver(platform, "closing", visit(99, date(2011, 4, 1)), one(date(2011, 4, 1)))
    third = versions(platform)
    assert different(second, third)
    assert gold_of(platform)["product_pair"]["as_of_date"].unique().to_list() == [date(2011, 3, 31)]

    before = date(2010, 12, 31)
    deliver(platform, "early", visit(97, before), one(before))
    fourth = versions(platform)
    assert different(third, fourth)
    withdrawn = [(*row[:3], 0, *row[4:]) for row in visit(97, before)]
    deliver(platform, "withdrawn", withdrawn, one(before))
    assert different(fourth, versions(platform))
    assert (
        differences(gold_of(platform), gold_of(rebuilt(platform, tmp_path, Days(before, SPAN.end + timedelta(days=1)))))
        == []
    )


def one(day: date) -> Days:
    return Days(day, day + timedelta(days=1))


def different(before: list[int | None], after: list[int | None]) -> bool:
    return all(then != now for then, now in zip(before, after, strict=True))
