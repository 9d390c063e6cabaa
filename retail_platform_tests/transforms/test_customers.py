from datetime import date, datetime
from decimal import Decimal
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_platform.contracts import DIM_CUSTOMER
from retail_platform.transforms.customers import (
    customer_dimension,
    customer_months,
    customer_versions,
    score_customers,
)
from retail_platform.transforms.segments import segment_of
from retail_platform_tests.transforms.conftest import Engine
from retail_platform_tests.transforms.frames import customer_month_rows, rows_of, silver_lines

JANUARY, FEBRUARY, MARCH, APRIL = (date(2011, month, 1) for month in (1, 2, 3, 4))


def test_amounts_of_a_month(engine: Engine) -> None:
    lines = silver_lines(
        {"invoice_no": "1", "quantity": 10},
        {"invoice_no": "1", "quantity": 5, "stock_code": "POST", "line_type": "postage"},
        {"invoice_no": "C2", "quantity": -3, "is_cancelled": True, "sale_date": date(2011, 1, 20)},
        {"invoice_no": "3", "customer_id": None, "quantity": 100},
    )
    columns = ["customer_id", "orders", "spent", "net_revenue", "product_revenue", "last_order_date"]

    assert rows_of(customer_months(engine(lines)), columns) == [("13085", 1, 15, 12, 7, date(2011, 1, 10))]


def test_amounts_of_the_first_day(engine: Engine) -> None:
    lines = silver_lines(
        {"invoice_no": "1", "quantity": 10},
        {"invoice_no": "C2", "quantity": -3, "is_cancelled": True},
        {"invoice_no": "3", "quantity": 100, "sale_date": date(2011, 1, 11), "country": "France"},
    )
    columns = ["first_date", "first_orders", "first_spent", "first_net_revenue", "first_country"]

    assert rows_of(customer_months(engine(lines)), columns) == [(date(2011, 1, 10), 1, 10, 7, "United Kingdom")]


def test_a_month_of_cancellations_has_no_order(engine: Engine) -> None:
    lines = silver_lines({"invoice_no": "C1", "quantity": -3, "is_cancelled": True, "line_type": "fee"})
    columns = ["orders", "last_order_date", "spent", "net_revenue", "product_revenue"]

    assert rows_of(customer_months(engine(lines)), columns) == [(0, None, 0, -3, 0)]


@pytest.mark.parametrize(
    ("second", "orders"),
    [
        ({"invoice_no": "1", "invoiced_at": datetime(2011, 1, 10, 13)}, 1),
        ({"invoice_no": "1", "sale_date": date(2011, 1, 11)}, 2),
        ({"invoice_no": "2"}, 2),
    ],
    ids=["one invoice at two times", "one number on two days", "two numbers on one day"],
)
def test_an_order_is_an_invoice_of_a_day(engine: Engine, second: dict[str, Any], orders: int) -> None:
    assert rows_of(customer_months(engine(silver_lines({}, second))), ["orders"]) == [(orders,)]


@pytest.mark.parametrize(
    ("lines", "country"),
    [
        ([{"country": "EIRE", "sale_date": date(2011, 1, 20)}, {"country": "France"}], "EIRE"),
        ([{"country": "EIRE", "invoice_no": "9"}, {"country": "France", "invoice_no": "10"}], "EIRE"),
        ([{"country": None, "sale_date": date(2011, 1, 20)}, {"country": "France"}], "France"),
        ([{"country": "EIRE"}, {"country": "France"}], "France"),
        ([{"country": None}], None),
    ],
    ids=["last by time", "then by number as text", "a null names none", "then by text", "none named"],
)
def test_country_of_a_month(engine: Engine, lines: list[dict[str, Any]], country: str | None) -> None:
    assert rows_of(customer_months(engine(silver_lines(*lines))), ["country"]) == [(country,)]


def scores_of(engine: Engine, *months: dict[str, Any], close: date = MARCH) -> dict[str, tuple[int, ...]]:
    """customer_id -> recency, frequency and monetary score at a close."""
    scores = score_customers(engine(customer_month_rows(*months)), close, close)
    columns = ["customer_id", "recency_score", "frequency_score", "monetary_score"]
    return {row[0]: row[1:] for row in rows_of(scores, columns)}


def test_scores_go_from_1_to_5(engine: Engine) -> None:
    months = (
        {
            "customer_id": str(n),
            "sale_month": MARCH,
            "last_order_date": date(2011, 3, n),
            "orders": 6 - n,
            "product_revenue": 10 * n,
        }
        for n in range(1, 6)
    )

    assert scores_of(engine, *months) == {str(n): (n, 6 - n, n) for n in range(1, 6)}


def test_equal_customers_score_the_same_by_their_lowest_rank(engine: Engine) -> None:
    orders = {"a": 1, "b": 1, "c": 1, "d": 7}
    months = ({"customer_id": name, "sale_month": MARCH, "orders": count} for name, count in orders.items())

    assert scores_of(engine, *months) == {"a": (1, 1, 1), "b": (1, 1, 1), "c": (1, 1, 1), "d": (1, 4, 1)}


@pytest.mark.parametrize(
    ("sale_month", "is_scored"),
    [(date(2010, 3, 1), False), (date(2010, 4, 1), True), (MARCH, True), (APRIL, False)],
    ids=["thirteenth month", "twelfth month", "the month itself", "after the close"],
)
def test_a_close_looks_at_the_twelve_months_that_end_with_it(engine: Engine, sale_month: date, is_scored: bool) -> None:
    assert bool(scores_of(engine, {"sale_month": sale_month})) == is_scored


def test_scores_add_up_the_months_of_the_window(engine: Engine) -> None:
    months = [
        {"customer_id": "a", "sale_month": JANUARY, "orders": 2},
        {"customer_id": "a", "sale_month": MARCH, "orders": 0, "last_order_date": None, "product_revenue": -3},
        {"customer_id": "b", "sale_month": FEBRUARY, "orders": 1},
    ]

    assert scores_of(engine, *months) == {"a": (1, 3, 1), "b": (3, 1, 3)}


def test_a_customer_without_an_order_in_the_window_has_no_score(engine: Engine) -> None:
    assert scores_of(engine, {"sale_month": MARCH, "orders": 0, "last_order_date": None}) == {}


def versions_of(engine: Engine, open_month: date, columns: list[str], *months: dict[str, Any]) -> list[Any]:
    return rows_of(customer_versions(engine(customer_month_rows(*months)), open_month), columns)


def dimension_of(months: pl.DataFrame) -> pl.DataFrame:
    frame = customer_dimension(customer_versions(nw.from_native(months.lazy()), APRIL)).collect().to_native()
    return frame.sort("customer_id", "version")


def test_a_customer_is_judged_at_the_first_close(engine: Engine) -> None:
    month = {"sale_month": JANUARY, "first_date": date(2011, 1, 10)}
    found = versions_of(engine, APRIL, ["version", "valid_from", "valid_to", "rfm_segment"], month)

    assert found == [
        (1, date(2011, 1, 10), FEBRUARY, "New Customers"),
        (2, FEBRUARY, None, segment_of(1, 1, 1)),
    ]


def test_the_open_month_judges_nothing(engine: Engine) -> None:
    month = {"sale_month": APRIL, "first_net_revenue": 5, "net_revenue": 9, "first_orders": 1, "orders": 2}
    columns = ["customer_segment", "rfm_segment", "recency_score", "lifetime_value", "total_orders", "valid_to"]

    assert versions_of(engine, APRIL, columns, month) == [("New", "New Customers", None, 5, 1, None)]


def test_a_customer_who_only_cancelled_is_other_from_the_first_close(engine: Engine) -> None:
    month = {"sale_month": JANUARY, "orders": 0, "last_order_date": None}
    found = versions_of(engine, APRIL, ["valid_from", "rfm_segment", "customer_segment", "recency_score"], month)

    assert found == [(JANUARY, "New Customers", "New", None), (FEBRUARY, "Others", "Inactive", None)]


def test_a_customer_lapses_twelve_months_after_the_last_order(engine: Engine) -> None:
    kept = [{"customer_id": "b", "sale_month": date(2011, n, 1), "orders": 3, "product_revenue": 9} for n in (1, 12)]
    months = [{"customer_id": "a", "sale_month": JANUARY, "orders": 50}, *kept]
    versions = customer_versions(engine(customer_month_rows(*months)), date(2012, 4, 1))
    found = rows_of(
        versions.filter((nw.col("customer_id") == "a") & nw.col("is_current")),
        ["valid_from", "rfm_segment", "customer_segment", "recency_score"],
    )

    assert found == [(date(2012, 2, 1), "Others", "Inactive", None)]


def test_a_move_to_another_country_makes_a_version(engine: Engine) -> None:
    months = [
        {"sale_month": JANUARY, "orders": 0, "last_order_date": None},
        {"sale_month": MARCH, "orders": 0, "last_order_date": None, "country": "EIRE"},
    ]
    found = versions_of(engine, date(2011, 6, 1), ["valid_from", "country", "rfm_segment"], *months)

    assert found == [
        (JANUARY, "United Kingdom", "New Customers"),
        (FEBRUARY, "United Kingdom", "Others"),
        (APRIL, "EIRE", "Others"),
    ]


def test_totals_are_of_the_last_close_that_the_version_covers(engine: Engine) -> None:
    months = [
        {"sale_month": start, "orders": orders, "spent": orders, "net_revenue": orders, "first_net_revenue": 1}
        for start, orders in [(JANUARY, 2), (FEBRUARY, 3), (APRIL, 4)]
    ]
    found = versions_of(engine, date(2011, 5, 1), ["valid_from", "lifetime_value", "total_orders"], *months)

    # Alone, a customer scores 1, 1, 1 at every close: the version of February covers the closes of January to April.
    assert found == [(JANUARY, 1, 1), (FEBRUARY, 9, 9)]


def test_a_version_that_changes_nothing_takes_the_totals_of_its_last_close(engine: Engine) -> None:
    months = [
        {"sale_month": JANUARY, "net_revenue": 2},
        {"sale_month": FEBRUARY, "net_revenue": 3},
        {"sale_month": MARCH, "country": "EIRE", "net_revenue": 5},
    ]
    found = versions_of(engine, APRIL, ["valid_from", "lifetime_value"], *months)

    assert found == [(JANUARY, 1), (FEBRUARY, 5), (APRIL, 10)]


@pytest.mark.parametrize(
    ("spent", "orders", "average"),
    [("10", 4, "2.5000"), ("1", 3, "0.3333"), ("2", 3, "0.6667"), ("0.0001", 2, "0.0001"), ("0", 0, None)],
    ids=["exact", "down", "up", "half up", "no order"],
)
def test_average_order_value(spent: str, orders: int, average: str | None) -> None:
    month = customer_month_rows({"sale_month": APRIL, "first_spent": Decimal(spent), "first_orders": orders})
    dimension = dimension_of(month)

    assert dimension["avg_order_value"].to_list() == [None, Decimal(average) if average else None]


def test_the_guest_is_the_first_member_of_the_dimension() -> None:
    months = customer_month_rows({"sale_month": JANUARY}, {"sale_month": FEBRUARY})
    dimension = dimension_of(months)
    guest = dimension.row(0, named=True)

    DIM_CUSTOMER.contract.validate(dimension)
    assert {name: value for name, value in guest.items() if value is not None} == {
        "customer_key": -1,
        "customer_segment": "Guest",
        "rfm_segment": "Others",
        "valid_from": date(1900, 1, 1),
        "is_current": True,
        "version": 1,
    }


MONTHS = [date(2010 + n // 12, n % 12 + 1, 1) for n in range(16)]
BOUGHT = st.fixed_dictionaries(
    {
        "orders": st.integers(0, 3),
        "product_revenue": st.integers(-5, 50),
        "country": st.sampled_from(["EIRE", "France", None]),
    }
)
HISTORIES = st.dictionaries(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from(MONTHS)), BOUGHT, min_size=1)


def history_rows(history: dict[tuple[str, date], dict[str, Any]]) -> pl.DataFrame:
    return customer_month_rows(
        *(
            values
            | {"customer_id": name, "sale_month": start, "first_date": start.replace(day=5)}
            | {"last_order_date": start.replace(day=9) if values["orders"] else None}
            | {"first_country": values["country"], "net_revenue": values["product_revenue"]}
            for (name, start), values in history.items()
        )
    )


def versions_at(months: pl.DataFrame, open_month: date) -> pl.DataFrame:
    frame: pl.DataFrame = customer_versions(nw.from_native(months.lazy()), open_month).collect().to_native()
    return frame


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_intervals_neither_overlap_nor_leave_holes(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months = history_rows(history)
    versions = versions_at(months, MONTHS[-1])

    for (name,), rows in versions.sort("valid_from").group_by("customer_id", maintain_order=True):
        assert rows["valid_from"][0] == months.filter(pl.col("customer_id") == name)["first_date"].min()
        assert rows["valid_to"].to_list() == [*rows["valid_from"].to_list()[1:], None]
        assert rows["valid_from"].is_unique().all()
        assert rows["is_current"].to_list() == [False] * (rows.height - 1) + [True]
        assert rows["version"].to_list() == list(range(1, rows.height + 1))
    assert set(versions["customer_id"]) == set(months["customer_id"])


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_scores_and_segment_of_a_version_agree(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    for row in versions_at(history_rows(history), MONTHS[-1]).rows(named=True):
        scores = (row["recency_score"], row["frequency_score"], row["monetary_score"])
        unscored = "New Customers" if row["customer_segment"] == "New" else "Others"
        assert row["rfm_segment"] == (unscored if None in scores else segment_of(*scores))


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_totals_of_the_current_version_are_those_of_all_closed_months(
    history: dict[tuple[str, date], dict[str, Any]],
) -> None:
    months = history_rows(history)
    expected = (
        months.filter(pl.col("sale_month") < MONTHS[-1])
        .group_by("customer_id")
        .agg(pl.col("net_revenue").sum(), pl.col("orders").sum())
    )
    current = versions_at(months, MONTHS[-1]).filter("is_current").join(expected, on="customer_id")

    assert current["lifetime_value"].to_list() == current["net_revenue"].to_list()
    assert current["total_orders"].to_list() == current["orders"].to_list()


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_the_open_month_changes_no_version(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months = history_rows(history)
    closed = months.filter(pl.col("sale_month") < MONTHS[-1])
    after = versions_at(months, MONTHS[-1])

    known = after.join(closed.select("customer_id").unique(), on="customer_id", how="semi")
    assert_frame_equal(known, versions_at(closed, MONTHS[-1]), check_row_order=False)


@settings(max_examples=15, deadline=None)
@given(HISTORIES)
def test_scoring_one_close_needs_only_its_twelve_months(history: dict[tuple[str, date], dict[str, Any]]) -> None:
    months, close = history_rows(history), MONTHS[13]
    window = months.filter(pl.col("sale_month").is_between(MONTHS[2], close))
    frames = (nw.from_native(frame.lazy()) for frame in (months, window))
    every, one = (
        score_customers(frame, first, close).filter(nw.col("close") == close).collect().to_native()
        for frame, first in zip(frames, (MONTHS[0], close), strict=True)
    )

    assert_frame_equal(every, one, check_row_order=False)
