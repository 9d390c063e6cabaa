"""Seasons of a shop whose months and weekdays are simple numbers."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from retail_platform.contracts import SEASONALITY_INDEX
from retail_platform.lakehouse.days import Days
from retail_platform.transforms.quality import contract_holds, keys_are_unique
from retail_platform.transforms.seasonality import (
    indices_average_100,
    product_days,
    seasonality_indices,
    shop_has_all_revenue,
    whole_years,
    years_of,
)
from retail_platform_tests.transforms.frames import silver_lines

END = date(2011, 12, 1)
CATEGORIES = pl.DataFrame({"stock_code": ["A"], "category": ["kitchen"]})

SOLD: dict[str, Any] = {
    "sale_date": pl.Date,
    "stock_code": pl.String,
    "net_revenue": pl.Decimal(38, 4),
    "unit_count": pl.Int64,
}

Sale = tuple[date, str, int, int]


def sold(*sales: Sale) -> pl.DataFrame:
    frame = pl.DataFrame(sales, schema=["sale_date", "stock_code", "net_revenue", "unit_count"], orient="row")
    return frame.cast(SOLD)


def monthly(code: str, amount: int, start: int = 0, months: int = 24, november: int = 1) -> list[Sale]:
    """One sale a month from December 2009 on; November brings a multiple, and the second year the double of all."""
    firsts = [date(2009 + (number + 11) // 12, (number + 11) % 12 + 1, 5) for number in range(start, start + months)]
    return [
        (day, code, amount * (1 + (day >= date(2010, 12, 1))) * (november if day.month == 11 else 1), 1)
        for day in firsts
    ]


def made(*sales: Sale) -> pl.DataFrame:
    frame = seasonality_indices(sold(*sales), CATEGORIES, END)
    assert contract_holds(SEASONALITY_INDEX, frame).passed
    assert keys_are_unique(SEASONALITY_INDEX, frame).passed
    assert indices_average_100(frame).passed
    return frame


def test_growth_is_no_season_and_november_is() -> None:
    """Eleven months of 10 and one of 130 are a mean of 20: indices 50 and 650, in both years."""
    frame = made(*monthly("A", 10, november=13))
    months = frame.filter((pl.col("scope") == "shop") & (pl.col("cycle") == "month"))

    assert months["revenue_index"].to_list() == [50.0] * 10 + [650.0, 50.0]
    assert months["lowest_index"].equals(months["highest_index"].rename("lowest_index"))
    assert months["unit_index"].to_list() == [100.0] * 12
    assert months["net_revenue"][10] == 130 + 260
    assert months.select("as_of_date", "year_count").unique().rows() == [(date(2011, 11, 30), 2)]


def test_shop_categories_and_products() -> None:
    """A sells evenly; B, without a category, sold in one year only and has no index of its own."""
    frame = made(*monthly("A", 10), *monthly("B", 10, start=12, months=12, november=3))
    index = pl.col("revenue_index").filter(pl.col("position") == 11).first()
    by_item = frame.filter(pl.col("cycle") == "month").group_by("scope", "item").agg(index.round(3)).sort("scope")

    assert by_item.rows() == [
        ("category", "kitchen", 100.0),
        ("product", "A", 100.0),
        ("shop", "all", round((100 + 100 * 80 / (520 / 12)) / 2, 3)),
    ]


def test_a_product_that_starts_late_has_no_index() -> None:
    frame = made(*monthly("A", 10), *monthly("B", 10, start=2, months=22), *monthly("C", 10, start=3, months=21))

    assert frame.filter(pl.col("scope") == "product")["item"].unique().sort().to_list() == ["A", "B"]


def test_weekdays_of_whole_weeks() -> None:
    """100 on Mondays, 40 on Tuesdays, in 52 weeks; the day before those weeks is not counted."""
    start = END - timedelta(days=364)
    mondays = [END - timedelta(days=number) for number in range(1, 365)]
    sales = [(day, "A", {1: 100, 2: 40}[day.isoweekday()], 1) for day in mondays if day.isoweekday() in (1, 2)]
    frame = made(*sales, (start - timedelta(days=1), "A", 10_000, 1), (date(2010, 11, 30), "A", 1, 1))
    weekdays = frame.filter(pl.col("cycle") == "weekday")

    assert weekdays["revenue_index"].to_list() == [500.0, 200.0, 0, 0, 0, 0, 0]
    assert weekdays["net_revenue"].to_list() == [5200, 2080, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("first", "start"),
    [
        (date(2009, 12, 1), date(2009, 12, 1)),
        (date(2009, 12, 7), date(2009, 12, 1)),
        (date(2009, 12, 8), date(2010, 12, 1)),
        (date(2009, 11, 1), date(2009, 12, 1)),
        (date(2010, 12, 8), END),
    ],
)
def test_years_are_of_whole_months(first: date, start: date) -> None:
    assert whole_years(sold((first, "A", 1, 1), (date(2011, 11, 3), "A", 1, 1)), END) == Days(start, END)


def test_less_than_a_year_has_no_season() -> None:
    assert made().is_empty()
    assert years_of(made()) is None
    assert made(*monthly("A", 10, start=13, months=11)).is_empty()


def test_days_of_products_deduct_cancellations() -> None:
    lines = silver_lines({"quantity": 5}, {"quantity": -2, "is_cancelled": True}, {"line_type": "postage"})

    assert product_days(lines.lazy()).collect().rows() == [(date(2011, 1, 10), "84077", Decimal(3), 3)]


def test_a_wrong_index_and_missing_revenue_are_found() -> None:
    frame = made(*monthly("A", 10))
    assert years_of(frame) == Days(date(2009, 12, 1), END)
    assert shop_has_all_revenue(frame, Decimal(360)).passed
    assert not shop_has_all_revenue(frame, Decimal(361)).passed
    assert not indices_average_100(frame.with_columns(pl.col("unit_index") + 1)).passed
    assert not indices_average_100(frame.with_columns(pl.col("highest_index") - 1)).passed
    assert not indices_average_100(frame.filter(pl.col("position") != 3)).passed
