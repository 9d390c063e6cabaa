"""Classes and returns of products: months and customers few enough to count by hand."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_platform.contracts import PRODUCT_DEMAND
from retail_platform.transforms.product_demand import (
    classes_cover_the_revenue,
    product_demand,
    returns_are_of_sales,
    with_matched_units,
)
from retail_platform.transforms.quality import contract_holds
from retail_platform_tests.transforms.frames import silver_lines

AS_OF = date(2011, 12, 31)


def made(*rows: dict[str, Any], first: date = date(2011, 1, 1)) -> pl.DataFrame:
    lines = silver_lines(*rows)
    firsts = lines.select(pl.col("stock_code").unique()).with_columns(first_month=pl.lit(first))
    demand = product_demand(lines.lazy(), firsts, AS_OF)
    assert contract_holds(PRODUCT_DEMAND, demand).passed
    assert classes_cover_the_revenue(demand, Decimal(lines["line_amount"].sum() or 0)).passed
    return demand


def event(minute: int, quantity: int, customer: str | None = "1", price: int = 1) -> dict[str, Any]:
    return {
        "invoiced_at": datetime(2011, 1, 10, 12, minute),
        "quantity": quantity,
        "customer_id": customer,
        "unit_price": price,
    }


@pytest.mark.parametrize(
    ("events", "matched"),
    [
        ([event(0, 5), event(1, -3)], [3]),
        ([event(0, -3), event(1, 5)], [0]),
        ([event(0, 5), event(0, -5)], [5]),
        ([event(0, 5), event(1, -3), event(2, -4), event(3, 2), event(4, -2)], [3, 2, 2]),
        ([event(0, 5, "1"), event(1, -3, "2")], [0]),
        ([event(0, 5, None), event(1, -3, None)], [0]),
    ],
    ids=["sold before", "sold after", "at one time", "balance", "another customer", "guest"],
)
def test_a_return_takes_from_what_its_customer_bought_before(events: list[dict[str, Any]], matched: list[int]) -> None:
    found = with_matched_units(silver_lines(*events).lazy()).sort("invoiced_at")
    assert found["matched_units"].to_list() == matched


@given(st.lists(st.tuples(st.sampled_from("12"), st.integers(-5, 5).filter(bool)), min_size=1, max_size=12))
def test_matched_units_are_what_a_balance_gives(events: list[tuple[str, int]]) -> None:
    balance, expected = {"1": 0, "2": 0}, []
    for customer, quantity in events:
        if quantity < 0:
            expected.append(min(-quantity, balance[customer]))
        balance[customer] = max(balance[customer] + quantity, 0)
    lines = silver_lines(*(event(minute, quantity, who) for minute, (who, quantity) in enumerate(events)))

    assert with_matched_units(lines.lazy()).sort("invoiced_at")["matched_units"].to_list() == expected


def test_rates_in_units_and_in_amount() -> None:
    """Ten bought at 1, four of them come back at 2; three more come back that nobody bought."""
    demand = made(event(0, 10), event(1, -4, price=2), event(2, -3, None))

    assert demand.select("^(sold|returned|unmatched)_.*(count|amount)$", "^.*rate_pct$", "net_revenue").rows() == [
        (10, 10, 4, 8, 3, 3, 40.0, 80.0, -1)
    ]


def test_classes_by_revenue_end_at_80_and_95() -> None:
    amounts = {"10": 60, "12": 20, "11": 20, "13": 5, "14": -5}
    demand = made(
        *(
            {"stock_code": code, "quantity": 1 if amount > 0 else -1, "unit_price": abs(amount)}
            for code, amount in amounts.items()
        )
    )
    columns = ("stock_code", "revenue_rank", "revenue_share_pct", "abc_class")

    assert demand.select(columns).sort("revenue_rank").rows() == [
        ("10", 1, 60.0, "A"),
        ("11", 2, 20.0, "A"),
        ("12", 3, 20.0, "B"),
        ("13", 4, 5.0, "C"),
        ("14", 5, -5.0, "C"),
    ]


@pytest.mark.parametrize(
    ("units", "first", "observed", "mean", "variation", "xyz"),
    [
        ([2] * 12, date(2009, 1, 1), 12, 2.0, 0.0, "X"),
        ([1, 3] * 6, date(2011, 1, 1), 12, 2.0, 0.522233, "Y"),
        ([0] * 6 + [1, 3] * 3, date(2011, 7, 1), 6, 2.0, 0.547723, "Y"),
        ([12] + [0] * 11, date(2011, 1, 1), 12, 1.0, 3.464102, "Z"),
        ([0] * 7 + [2] * 5, date(2011, 8, 1), 5, 2.0, 0.0, "N"),
        ([0] * 11 + [2], date(2011, 12, 1), 1, 2.0, None, "N"),
    ],
)
def test_classes_by_variability(
    units: list[int], first: date, observed: int, mean: float, variation: float | None, xyz: str
) -> None:
    """Months without a line count as 0 from the product's first month on; 3.464 is the square root of 12."""
    rows = ({"sale_date": date(2011, month, 10), "quantity": sold} for month, sold in enumerate(units, 1) if sold)
    columns = ("observed_months", "mean_monthly_units", "unit_variation", "xyz_class")

    assert made(*rows, first=first).select(columns).rows() == [(observed, mean, variation, xyz)]


def test_an_order_withdrawn_is_no_demand() -> None:
    rows = [{"sale_date": date(2011, month, 10), "quantity": 2, "customer_id": "2"} for month in range(1, 13)]
    rows += [event(0, 80_000), event(1, -80_000)]

    assert made(*rows).select("mean_monthly_units", "unit_variation", "xyz_class").rows() == [(2.0, 0.0, "X")]


def test_without_a_line_there_is_no_product() -> None:
    assert made().is_empty()
    assert returns_are_of_sales(made()).passed


def test_wrong_revenue_and_too_many_returns_are_found() -> None:
    demand = made(event(0, 10), event(1, -4))
    assert not classes_cover_the_revenue(demand, Decimal(7)).passed
    assert not classes_cover_the_revenue(demand.with_columns(pl.col("sold_amount") + 1), Decimal(6)).passed
    assert not classes_cover_the_revenue(demand.with_columns(revenue_share_pct=90.0), Decimal(6)).passed
    assert returns_are_of_sales(demand).passed
    assert not returns_are_of_sales(made(event(0, 10), event(1, -4, price=3))).passed
    assert not returns_are_of_sales(made(event(0, 10), event(1, -4), event(2, -2, None))).passed
