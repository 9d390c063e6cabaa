"""The sales facts and invoices: silver lines keyed to the dimension versions of their day.

A version never changes within a calendar month but at a member's first day, so a member has one key per month and the
versioned join is an equality on (member, month).
"""

from collections.abc import Sequence
from datetime import date

import narwhals as nw
import polars as pl

from retail_platform.contracts import DIM_INVOICE, FACT_SALE
from retail_platform.lakehouse.days import Days, next_month
from retail_platform.transforms.currencies import add_amounts
from retail_platform.transforms.keys import UNKNOWN_KEY, line_ids, surrogate_keys
from retail_platform.transforms.sales import LINE_VALUES

INVOICE = ("invoice_no", "sale_date")


def fact_sales(
    lines: pl.DataFrame,
    products: pl.DataFrame,
    customers: pl.DataFrame,
    country_keys: pl.DataFrame,
    rates: pl.DataFrame,
    shop_currency: str = "GBP",
) -> pl.DataFrame:
    """Key silver lines to the dimensions.

    Args:
        lines: silver lines of whole days (contract `SilverSales`).
        products: every version of every product (contract `DimProduct`).
        customers: every version of every customer, the guest included (contract `DimCustomer`).
        country_keys: one row per spelling: country, country_key; others are the unknown member.
        rates: the rates of those days (contract `ExchangeRates`); other days are left out.
        shop_currency: the currency of the amounts.

    Returns:
        One row per line (contract `FactSale`), ordered by day and sale_id. Cost, tax and discount have no basis in
        the source: null.
    """
    months = lines["sale_month"].unique().to_list()
    invoices = surrogate_keys(lines.select(INVOICE).unique(), INVOICE, "invoice_key")
    keyed = (
        lines.join(invoices, on=INVOICE, how="left")
        .join(monthly_keys(products, "stock_code", "product_key", months), on=["stock_code", "sale_month"], how="left")
        .join(
            monthly_keys(customers, "customer_id", "customer_key", months), on=["customer_id", "sale_month"], how="left"
        )
        .join(country_keys, on="country", how="left")
        .with_columns(repeat=pl.when(pl.col("repeat_no") > 1).then(pl.col("repeat_no")), total_amount="line_amount")
    )
    converted = add_amounts(nw.from_native(keyed.lazy()), nw.from_native(rates.lazy()), shop_currency=shop_currency)
    return (
        line_ids(converted.to_native().collect(), (*LINE_VALUES, "repeat"), "sale_id")
        .with_columns(
            customer_key=pl.when(pl.col("customer_id").is_null()).then(UNKNOWN_KEY).otherwise("customer_key"),
            country_key=pl.col("country_key").fill_null(UNKNOWN_KEY),
            date_key=pl.col("sale_date").dt.strftime("%Y%m%d").cast(pl.Int32),
            discount_amount=_no_basis("discount_amount"),
            tax_amount=_no_basis("tax_amount"),
            profit_amount=_no_basis("profit_amount"),
            margin_percentage=_no_basis("margin_percentage"),
            created_at="ingested_at",
            batch_id="delivery_id",
        )
        .select(list(FACT_SALE.schema))
        .sort("sale_date", "sale_id")
    )


def invoices(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per invoice and day.

    Args:
        lines: silver lines of whole days (contract `SilverSales`).

    Returns:
        Rows of contract `DimInvoice`, ordered by day and number. What the source does not say is null.
    """
    grouped = lines.group_by("sale_month", *INVOICE).agg(
        invoice_date=pl.col("invoiced_at").min(),
        is_cancelled=pl.col("is_cancelled").any(),
        invoice_total=pl.col("line_amount").sum().cast(pl.Decimal(18, 4)),
    )
    unsaid = [name for name in DIM_INVOICE.schema if name not in grouped.columns and name != "invoice_key"]
    return (
        surrogate_keys(grouped, INVOICE, "invoice_key")
        .with_columns(pl.lit(None, dtype=DIM_INVOICE.schema[name]).alias(name) for name in unsaid)
        .select(list(DIM_INVOICE.schema))
        .sort(INVOICE[::-1])
    )


def monthly_keys(versions: pl.DataFrame, member: str, key: str, months: Sequence[date]) -> pl.DataFrame:
    """The key of each member in each month.

    Args:
        versions: a versioned dimension with half-open [valid_from, valid_to).
        member: its natural key, for example stock_code.
        key: its surrogate key, for example product_key.
        months: first days of months.

    Returns:
        (member, sale_month, key), one row per member and month in which a version holds.
    """
    spans = pl.DataFrame(
        {"sale_month": list(months), "month_end": [next_month(month) for month in months]},
        schema={"sale_month": pl.Date, "month_end": pl.Date},
    )
    holds = (pl.col("valid_from") < pl.col("month_end")) & (
        pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("sale_month"))
    )
    return versions.filter(pl.col(member).is_not_null()).join_where(spans, holds).select(member, "sale_month", key)


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
    old = monthly_keys(before, member, key, months)
    new = monthly_keys(after, member, key, months)
    moved = old.join(new, on=[member, "sale_month"], how="left", suffix="_now").filter(
        pl.col(key).ne_missing(pl.col(f"{key}_now"))
    )
    return [Days(month, next_month(month)) for month in moved["sale_month"].unique().sort().to_list()]


def _no_basis(column: str) -> pl.Expr:
    return pl.lit(None, dtype=FACT_SALE.schema[column])
