"""The sales facts and invoices: silver lines keyed to the dimension versions of their day.

A version never changes within a calendar month but at a member's first day, so a member has one key per month and the
versioned join is an equality on (member, month).
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import narwhals as nw
import polars as pl

from retail_platform.contracts import DIM_INVOICE, FACT_SALE
from retail_platform.lakehouse.days import Days, next_month
from retail_platform.transforms.currencies import add_amounts
from retail_platform.transforms.keys import UNKNOWN_KEY, line_ids, surrogate_keys
from retail_platform.transforms.sales import LINE_VALUES
from retail_platform.transforms.versions import months_later, with_missing

INVOICE = ("invoice_no", "sale_date")
NO_END = date(9999, 12, 31)


def fact_sales(
    lines: nw.LazyFrame[Any],
    products: nw.LazyFrame[Any],
    customers: nw.LazyFrame[Any],
    country_keys: nw.LazyFrame[Any],
    rates: nw.LazyFrame[Any],
    shop_currency: str = "GBP",
) -> nw.LazyFrame[Any]:
    """Key silver lines to the dimensions; all frames are of one engine.

    Args:
        lines: silver lines of whole days (contract `SilverSales`).
        products: every version of every product (contract `DimProduct`).
        customers: every version of every customer, the guest included (contract `DimCustomer`).
        country_keys: one row per spelling: country, country_key; others are the unknown member.
        rates: the rates of those days (contract `ExchangeRates`); other days are left out.
        shop_currency: the currency of the amounts.

    Returns:
        One row per line (contract `FactSale`), in no order. Cost, tax and discount have no basis in the source: null.
    """
    months = lines.select("sale_month").unique()
    by_product = monthly_keys(products, months, "stock_code", "product_key")
    by_customer = monthly_keys(customers, months, "customer_id", "customer_key")
    day = nw.col("sale_date").dt
    keyed = (
        surrogate_keys(lines, INVOICE, "invoice_key")
        .join(by_product, on=["stock_code", "sale_month"], how="left")
        .join(by_customer, on=["customer_id", "sale_month"], how="left")
        .join(country_keys, on="country", how="left")
        .with_columns(
            nw.col("country_key").fill_null(UNKNOWN_KEY),
            customer_key=nw.when(nw.col("customer_id").is_null())
            .then(nw.lit(UNKNOWN_KEY))
            .otherwise(nw.col("customer_key"))
            .cast(nw.Int64),
            date_key=(day.year().cast(nw.Int32) * 10_000 + day.month().cast(nw.Int32) * 100 + day.day()).cast(nw.Int32),
            repeat=nw.when(nw.col("repeat_no") > 1).then(nw.col("repeat_no")),
            total_amount=nw.col("line_amount"),
            created_at=nw.col("ingested_at"),
            batch_id=nw.col("delivery_id"),
        )
    )
    converted = add_amounts(keyed, rates, shop_currency=shop_currency)
    return with_missing(line_ids(converted, (*LINE_VALUES, "repeat"), "sale_id"), FACT_SALE.schema)


def invoices(lines: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """One row per invoice and day.

    Args:
        lines: silver lines of whole days (contract `SilverSales`).

    Returns:
        Rows of contract `DimInvoice`, in no order. What the source does not say is null.
    """
    grouped = lines.group_by("sale_month", *INVOICE).agg(
        nw.col("invoiced_at").min().alias("invoice_date"),
        nw.col("is_cancelled").any(),
        nw.col("line_amount").sum().alias("invoice_total"),
    )
    summed = grouped.with_columns(nw.col("invoice_total").cast(nw.Decimal(18, 4)))
    return with_missing(surrogate_keys(summed, INVOICE, "invoice_key"), DIM_INVOICE.schema)


def monthly_keys(versions: nw.LazyFrame[Any], months: nw.LazyFrame[Any], member: str, key: str) -> nw.LazyFrame[Any]:
    """The key of each member in each month.

    Args:
        versions: a versioned dimension with half-open [valid_from, valid_to).
        months: sale_month, first days of months, each once; on the same engine.
        member: the natural key of the dimension, for example stock_code.
        key: its surrogate key, for example product_key.

    Returns:
        (member, sale_month, key), one row per member and month in which a version holds.
    """
    spans = months.with_columns(month_end=months_later("sale_month", 1))
    known = versions.filter(~nw.col(member).is_null()).select(
        member, key, "valid_from", until=nw.col("valid_to").fill_null(NO_END)
    )
    holds = (nw.col("valid_from") < nw.col("month_end")) & (nw.col("until") > nw.col("sale_month"))
    return known.join(spans, how="cross").filter(holds).select(member, "sale_month", key)


def rekeyed_months(
    before: pl.DataFrame, after: pl.DataFrame, member: str, key: str, months: Sequence[date]
) -> list[Days]:
    """The months in which a member that had a key has another one now: their facts have to be keyed again.

    Args:
        before: the dimension as it was.
        after: the dimension as it is.
        member: its natural key.
        key: its surrogate key.
        months: the months that hold facts.

    Returns:
        The months as day ranges, in order.
    """
    spans = nw.from_native(pl.LazyFrame({"sale_month": list(months)}, schema={"sale_month": pl.Date}))
    old, new = (
        monthly_keys(nw.from_native(frame.lazy()), spans, member, key).to_native().collect()
        for frame in (before, after)
    )
    moved = old.join(new, on=[member, "sale_month"], how="left", suffix="_now").filter(
        pl.col(key).ne_missing(pl.col(f"{key}_now"))
    )
    return [Days(month, next_month(month)) for month in moved["sale_month"].unique().sort().to_list()]
