"""A gold small enough to be worked out by hand, loaded the way the platform loads it."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import NamedTuple

import polars as pl

from retail_platform.contracts import (
    CUSTOMER_SEGMENT_MONTH,
    DAY_QUALITY,
    DIM_COUNTRY,
    DIM_CUSTOMER,
    DIM_INVOICE,
    DIM_PRODUCT,
    FACT_SALE,
    GOLD_TABLES,
    Table,
)
from retail_platform.transforms.calendar import date_dimension
from retail_platform.transforms.keys import UNKNOWN_KEY, line_ids, surrogate_keys
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.load import load_gold
from retail_platform.warehouse.tables import prepare_warehouse

BRITAIN, FRANCE = 1, 2
CLOSES = [date(2010, 12, 31), date(2011, 1, 31), date(2011, 2, 28)]
NEW_YEAR = date(2011, 1, 1)
UNRATED = date(2011, 1, 4)
"""A euro is half a pound and a dollar a third on every day, but this one has no rate of the dollar."""

COUNTRIES = [
    {"country_key": BRITAIN, "country_code": "GB", "country_name": "United Kingdom"},
    {"country_key": FRANCE, "country_code": "FR", "country_name": "France"},
]
CUTLERY = {"category": "Dining", "subcategory": "Cutlery & Servers"}
PRODUCTS = [
    {"product_key": 101, "stock_code": "10001", "description": "OLD MUG", "valid_to": NEW_YEAR},
    {"product_key": 102, "stock_code": "10001", "description": "MUG", "valid_from": NEW_YEAR, "version": 2},
    {"product_key": 201, "stock_code": "10002", "description": "LAMP", **CUTLERY},
    {"product_key": 301, "stock_code": "POST", "description": "POSTAGE"},
    {"product_key": 401, "stock_code": "D", "description": "Discount"},
]
CUSTOMERS = [
    {"customer_key": UNKNOWN_KEY, "customer_segment": "Guest", "rfm_segment": "Others"},
    {"customer_key": 11, "customer_id": "1", "rfm_segment": "New Customers", "valid_to": NEW_YEAR},
    {"customer_key": 12, "customer_id": "1", "rfm_segment": "Champions", "valid_from": NEW_YEAR, "version": 2},
    {"customer_key": 21, "customer_id": "2", "rfm_segment": "Others"},
]


class Line(NamedTuple):
    """One sale line; an invoice number that starts with C is a cancellation, no customer is a guest."""

    sale_date: date
    invoice_no: str
    customer_id: str | None
    country_key: int
    stock_code: str
    quantity: int
    unit_price: str


LINES = [
    Line(date(2010, 12, 30), "1001", "1", BRITAIN, "10001", 4, "2.50"),
    Line(date(2010, 12, 30), "1001", "1", BRITAIN, "POST", 1, "3.00"),
    Line(date(2010, 12, 30), "1002", None, FRANCE, "10002", 1, "7.1234"),
    Line(date(2011, 1, 4), "C1003", "1", BRITAIN, "10001", -4, "2.50"),
    Line(date(2011, 1, 5), "1004", "2", FRANCE, "10002", 10, "1.00"),
    Line(date(2011, 1, 5), "1004", "2", FRANCE, "10001", 2, "2.00"),
    Line(date(2011, 1, 5), "1005", "1", BRITAIN, "10001", 1, "2.25"),
    Line(date(2011, 3, 31), "1006", "2", BRITAIN, "10002", 3, "1.50"),
    Line(date(2011, 3, 31), "1006", "2", BRITAIN, "D", -1, "0.50"),
]


def load(database: Database, lines: Sequence[Line], days: Collection[date]) -> None:
    """Load the dimensions, and the lines of `days` in place of what those days held.

    Args:
        database: the warehouse.
        lines: all lines there are.
        days: the days to replace; one without lines is emptied.
    """
    facts, invoices = _facts([line for line in lines if line.sale_date in days])
    dimensions = {
        "dim_date": date_dimension(2009, 2011, 4),
        "dim_country": _shaped(DIM_COUNTRY, pl.DataFrame(COUNTRIES)),
        "dim_product": _versions(DIM_PRODUCT, PRODUCTS),
        "dim_customer": _versions(DIM_CUSTOMER, CUSTOMERS),
    }
    with database.connect() as connection:
        prepare_warehouse(connection)
        load_gold(
            connection,
            tables={
                **{table.name: table.empty() for table in GOLD_TABLES},
                **dimensions,
                "dim_invoice": invoices,
                "fact_sale": facts,
                "customer_segment_month": _segment_months(lines),
                "day_quality": _day_quality(facts),
            },
            days={*days, *CLOSES},
            consumed={},
            run_id="test",
        )


def _day_quality(facts: pl.DataFrame) -> pl.DataFrame:
    """The accepted lines of each day and what they add up to; nothing was rejected."""
    counts = dict.fromkeys((name for name in DAY_QUALITY.schema if name.endswith("_rows")), pl.lit(0))
    counts |= dict.fromkeys(("delivered_rows", "accepted_rows"), pl.len())
    amounts = {
        "accepted_amount": pl.col("total_amount").sum(),
        "rejected_amount": pl.lit(0),
        "acceptance_pct": pl.lit(100),
    }
    return _shaped(DAY_QUALITY, facts.group_by("sale_month", "sale_date").agg(**counts, **amounts))


def _facts(lines: Sequence[Line]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of fact_sale and dim_invoice that the lines make."""
    rows = [
        {
            **line._asdict(),
            "product_key": _version(PRODUCTS, "product_key", "stock_code", line.stock_code, line.sale_date),
            "customer_key": _version(CUSTOMERS, "customer_key", "customer_id", line.customer_id, line.sale_date),
            "date_key": int(f"{line.sale_date:%Y%m%d}"),
            "sale_month": line.sale_date.replace(day=1),
            "total_amount": line.quantity * Decimal(line.unit_price),
            "total_amount_eur": 2 * line.quantity * Decimal(line.unit_price),
            "total_amount_usd": None if line.sale_date == UNRATED else 3 * line.quantity * Decimal(line.unit_price),
            "line_type": {"POST": "postage", "D": "discount"}.get(line.stock_code, "product"),
            "is_cancelled": line.invoice_no.startswith("C"),
            "invoiced_at": datetime.combine(line.sale_date, time(9)),
            "created_at": datetime(2011, 12, 31),
            "batch_id": "test",
        }
        for line in lines
    ]
    amounts = dict.fromkeys(("total_amount", "total_amount_eur", "total_amount_usd"), pl.Decimal(18, 4))
    frame = pl.DataFrame(rows, schema_overrides=amounts, infer_schema_length=None)
    if frame.is_empty():
        return FACT_SALE.empty(), DIM_INVOICE.empty()
    frame = surrogate_keys(frame, ("invoice_no", "sale_date"), "invoice_key")
    invoices = frame.group_by("invoice_key").agg(
        pl.col("sale_month", "sale_date", "invoice_no", "is_cancelled").first(),
        invoice_date=pl.col("invoiced_at").min(),
        invoice_total=pl.col("total_amount").sum(),
    )
    ids = line_ids(frame, Line._fields, "sale_id")
    return _shaped(FACT_SALE, ids), _shaped(DIM_INVOICE, invoices)


def _segment_months(lines: Sequence[Line]) -> pl.DataFrame:
    """Everyone is a new customer at the first close, and of the others from then on."""
    newest, rows = max(line.sale_date for line in lines), []
    for customer in sorted({line.customer_id for line in lines if line.customer_id}):
        bought = [line for line in lines if line.customer_id == customer]
        closes = [close for close in CLOSES if min(line.sale_date for line in bought) <= close < newest.replace(day=1)]
        for close in closes:
            here = [line for line in bought if line.sale_date.replace(day=1) == close.replace(day=1)]
            row = {
                "sale_month": close.replace(day=1),
                "as_of_date": close,
                "customer_id": customer,
                "rfm_segment": "New Customers" if close == closes[0] else "Others",
                "previous_segment": {0: None, 1: "New Customers"}.get(closes.index(close), "Others"),
                "order_count": len({line.invoice_no for line in here if not line.invoice_no.startswith("C")}),
                "net_revenue": sum((line.quantity * Decimal(line.unit_price) for line in here), Decimal(0)),
            }
            rows.append(row)
    return _shaped(CUSTOMER_SEGMENT_MONTH, pl.DataFrame(rows, infer_schema_length=None))


def _version(members: list[dict[str, object]], key: str, column: str, value: str | None, day: date) -> object:
    """The key of the member's version of a day, of two versions at most."""
    versions = [member for member in members if member.get(column) == value]
    return versions[-1 if day >= NEW_YEAR else 0][key]


def _versions(table: Table, members: list[dict[str, object]]) -> pl.DataFrame:
    frame = pl.DataFrame(members, infer_schema_length=None)
    return _shaped(table, frame).with_columns(
        pl.col("valid_from").fill_null(date(2009, 12, 1)),
        pl.col("version").fill_null(1),
        is_current=pl.col("valid_to").is_null(),
        **({"customer_segment": pl.col("customer_segment").fill_null("Mid Value")} if table is DIM_CUSTOMER else {}),
    )


def _shaped(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the table's columns and types; columns it lacks are null."""
    lacking = [pl.lit(None).alias(name) for name in table.schema if name not in frame.columns]
    return frame.with_columns(lacking).select(pl.col(name).cast(dtype) for name, dtype in table.schema.items())
