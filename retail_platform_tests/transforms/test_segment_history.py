from datetime import date
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings

from retail_platform.contracts import CUSTOMER_SEGMENT_MONTH
from retail_platform.contracts.gold import SEGMENTS
from retail_platform.transforms.customers import customer_dimension, customer_versions
from retail_platform.transforms.segment_history import (
    NOT_YET,
    days_that_differ,
    every_month_has_its_row,
    history_agrees_with_versions,
    segment_months,
    segment_moves,
    segment_sizes,
)
from retail_platform.transforms.segments import segment_of
from retail_platform_tests.transforms.frames import customer_month_rows
from retail_platform_tests.transforms.test_customers import HISTORIES, MONTHS, history_rows

JANUARY, FEBRUARY, MARCH, APRIL, MAY = (date(2011, month, 1) for month in range(1, 6))
ENDS = [date(2011, 1, 31), date(2011, 2, 28), date(2011, 3, 31), date(2011, 4, 30)]

SHOP = customer_month_rows(
    {"customer_id": "a", "sale_month": JANUARY, "orders": 2, "net_revenue": 9, "product_revenue": 9},
    {"customer_id": "a", "sale_month": MARCH, "orders": 3, "net_revenue": 5, "product_revenue": 5},
    {"customer_id": "b", "sale_month": FEBRUARY, "orders": 0, "last_order_date": None, "net_revenue": -2},
    {"customer_id": "c", "sale_month": APRIL},
)


def history_of(months: pl.DataFrame, open_month: date) -> pl.DataFrame:
    return segment_months(months.lazy(), open_month)


def dimension_of(months: pl.DataFrame, open_month: date) -> pl.DataFrame:
    versions = customer_versions(nw.from_native(months.lazy()), open_month)
    dimension: pl.DataFrame = customer_dimension(versions).collect().to_native()
    return dimension


def test_a_customer_has_a_row_for_every_closed_month_since_its_first() -> None:
    """Alone, `a` scores 1, 1, 1 at every close; `b` only cancelled; `c` came in the open month."""
    history = history_of(SHOP, APRIL)
    columns = ("customer_id", "as_of_date", "rfm_segment", "previous_segment", "order_count", "net_revenue")
    alone = segment_of(1, 1, 1)

    CUSTOMER_SEGMENT_MONTH.contract.validate(history)
    assert history.select(columns).rows() == [
        ("a", ENDS[0], alone, None, 2, 9),
        ("a", ENDS[1], alone, alone, 0, 0),
        ("b", ENDS[1], "Others", None, 0, -2),
        ("a", ENDS[2], alone, alone, 3, 5),
        ("b", ENDS[2], "Others", "Others", 0, 0),
    ]
    assert history["monetary_score"].to_list() == [1, 1, None, 1, None]


def test_a_customer_moves_with_its_rank() -> None:
    """One of two: the later buyer has recency 3, and with more invoices 3, 3, 3; the other falls to 1, 1, 1."""
    months = customer_month_rows(
        {"customer_id": "a", "sale_month": JANUARY, "orders": 2, "product_revenue": 9},
        {"customer_id": "b", "sale_month": FEBRUARY, "orders": 3, "product_revenue": 12},
        {"customer_id": "a", "sale_month": MARCH, "orders": 2, "product_revenue": 9},
    )
    history = history_of(months, APRIL).filter(pl.col("customer_id") == "a")

    assert history.select("recency_score", "frequency_score", "monetary_score").rows() == [
        (1, 1, 1),
        (1, 1, 1),
        (3, 3, 3),
    ]
    assert history.select("previous_segment", "rfm_segment").rows() == [
        (None, "Others"),
        ("Others", "Others"),
        ("Others", "Loyal Customers"),
    ]


def test_after_twelve_months_without_an_order_there_are_no_scores() -> None:
    history = history_of(customer_month_rows({"sale_month": JANUARY}), date(2012, 3, 1))

    assert history.height == 14
    assert history["recency_score"].to_list() == [1] * 12 + [None] * 2


def test_nothing_is_closed_in_the_first_month() -> None:
    assert history_of(customer_month_rows({"sale_month": JANUARY}), JANUARY).is_empty()
    assert history_of(customer_month_rows(), JANUARY).is_empty()


def test_moves_and_sizes() -> None:
    history = history_of(SHOP, MARCH)
    moves = {row[0]: dict(zip(SEGMENTS, row[1:], strict=True)) for row in segment_moves(history).rows()}

    assert list(moves) == [*SEGMENTS, NOT_YET]
    assert {(name, to): n for name, row in moves.items() for to, n in row.items() if n} == {
        ("Others", "Others"): 1,
        (NOT_YET, "Others"): 1,
    }
    assert segment_sizes(history).select("as_of_date", "Others", "Champions").rows() == [
        (ENDS[0], 1, 0),
        (ENDS[1], 2, 0),
    ]


def test_days_that_differ() -> None:
    before, after = history_of(SHOP, MARCH), history_of(SHOP, APRIL)
    corrected = after.with_columns(
        net_revenue=pl.when(pl.col("as_of_date") == ENDS[0]).then(7).otherwise(pl.col("net_revenue"))
    ).cast(CUSTOMER_SEGMENT_MONTH.schema)

    assert days_that_differ(after.reverse(), after) == []
    assert days_that_differ(before, after) == [ENDS[2]]
    assert days_that_differ(after, before) == [ENDS[2]]
    assert days_that_differ(before, corrected) == [ENDS[0], ENDS[2]]
    assert days_that_differ(CUSTOMER_SEGMENT_MONTH.empty(), before) == ENDS[:2]


OTHER = {"rfm_segment": pl.lit("Champions")}
HOLED = pl.col("as_of_date") == ENDS[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.filter(~HOLED),
        lambda rows: rows.filter(pl.col("as_of_date") != ENDS[2]),
        lambda rows: rows.filter(pl.col("customer_id") != "b"),
        lambda rows: rows.with_columns(previous_segment=pl.lit("Champions")),
        lambda rows: rows.with_columns(customer_id=pl.col("customer_id").replace({"b": "c"})),
    ],
    ids=["a hole", "the last close", "a customer", "another segment before", "a customer of the open month"],
)
def test_a_missing_month_is_found(change: Any) -> None:
    history = history_of(SHOP, APRIL)

    assert every_month_has_its_row(history, SHOP.lazy(), APRIL).passed
    assert not every_month_has_its_row(change(history), SHOP.lazy(), APRIL).passed


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.with_columns(rfm_segment=pl.when(HOLED).then(pl.lit("Champions")).otherwise("rfm_segment")),
        lambda rows: rows.with_columns(monetary_score=pl.lit(5, pl.Int16)),
        lambda rows: rows.with_columns(customer_id=pl.lit("z")),
    ],
    ids=["a segment", "scores of the last close", "an unknown customer"],
)
def test_what_versions_say_otherwise_is_found(change: Any) -> None:
    history, versions = history_of(SHOP, APRIL), dimension_of(SHOP, APRIL)

    assert history_agrees_with_versions(history, versions).passed
    assert not history_agrees_with_versions(change(history), versions).passed


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_the_history_is_that_of_the_versions(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months = history_rows(history)
    found = history_of(months, MONTHS[-1])

    assert every_month_has_its_row(found, months.lazy(), MONTHS[-1]).passed
    assert history_agrees_with_versions(found, dimension_of(months, MONTHS[-1])).passed
    newest = found.filter(pl.col("as_of_date") == pl.col("as_of_date").max())
    assert sum(segment_moves(found).drop("from_segment").sum().row(0)) == newest.height


@settings(max_examples=15, deadline=None)
@given(HISTORIES)
def test_a_close_stays_as_it_is_when_months_come_after(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months = history_rows(history)
    earlier = history_of(months, MONTHS[10])

    assert history_of(months, MONTHS[-1]).head(earlier.height).equals(earlier)
