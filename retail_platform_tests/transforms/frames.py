"""Small frames for tests, written as rows that name only what matters, and results as rows that can be compared."""

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any

import narwhals as nw
import polars as pl

from retail_platform.contracts import CUSTOMER_MONTHS, PRODUCT_MONTHS, SILVER_SALES, Table

LINE: dict[str, Any] = {
    "sale_date": date(2011, 1, 10),
    "invoice_no": "1",
    "stock_code": "84077",
    "description": None,
    "quantity": 1,
    "unit_price": 1,
    "customer_id": "13085",
    "country": "United Kingdom",
    "line_type": "product",
    "is_cancelled": False,
}
PRODUCT_MONTH: dict[str, Any] = {"stock_code": "84077", "line_type": "product"}
CUSTOMER_MONTH: dict[str, Any] = {
    "customer_id": "13085",
    "country": "United Kingdom",
    "orders": 1,
    "spent": 1,
    "net_revenue": 1,
    "product_revenue": 1,
    "first_country": "United Kingdom",
    "first_orders": 1,
    "first_spent": 1,
    "first_net_revenue": 1,
}


def silver_lines(*rows: dict[str, Any]) -> pl.DataFrame:
    """Silver lines; what a row does not say is as in LINE, months, times and amounts follow from the rest."""
    return _frame(SILVER_SALES, [_line(LINE | row) for row in rows])


def product_month_rows(*rows: dict[str, Any]) -> pl.DataFrame:
    """Product months; first_date is the first of the month unless said."""
    return _frame(PRODUCT_MONTHS, [PRODUCT_MONTH | {"first_date": row["sale_month"]} | row for row in rows])


def customer_month_rows(*rows: dict[str, Any]) -> pl.DataFrame:
    """Customer months; first_date is the first of the month and last_order_date too unless said."""
    days = ("first_date", "last_order_date")
    return _frame(CUSTOMER_MONTHS, [CUSTOMER_MONTH | dict.fromkeys(days, row["sale_month"]) | row for row in rows])


def rows_of(frame: nw.LazyFrame[Any], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The columns of a result as sorted rows."""
    return sorted(frame.select(*columns).collect("polars").to_native().rows(), key=str)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    derived = {
        "sale_month": row["sale_date"].replace(day=1),
        "invoiced_at": datetime.combine(row["sale_date"], time(12)),
        "line_amount": row["quantity"] * row["unit_price"],
    }
    return derived | row


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in table.schema} for row in rows], schema=table.schema)
