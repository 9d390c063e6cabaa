"""The silver tables: typed lines, rejected rows with their reason, and month summaries that look across days."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, LocalTime, Money, Table
from retail_platform.contracts.bronze import DayState, DeliveredRow, Origin
from retail_platform.contracts.rules import rules_that

LINE_TYPES = ("product", "postage", "fee", "discount", "gift_voucher", "manual", "sample", "test", "other")

REJECT_REASONS = tuple(rule.name for rule in rules_that("drop"))
"""In the order of judgement: the first that applies is the row's reason."""


class SilverSales(Origin):
    """One row per accepted sale line, typed, cleaned and without repeats.

    Grain: (delivery_id, file_sha256, source_row).  Source: bronze/sales.
    Units: amounts in the shop's currency, 4 decimal places.
    Partition: sale_month on disk.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month of sale_date.")
    sale_date: pl.Date = pa.Field(description="Day of the sale.")
    invoiced_at: LocalTime = pa.Field(description="Time of the invoice, shop's wall clock.")
    invoice_no: pl.String = pa.Field(str_length={"min_value": 1}, description="Invoice number, trimmed.")
    stock_code: pl.String = pa.Field(str_length={"min_value": 1}, description="Product code, trimmed, upper case.")
    description: pl.String = pa.Field(nullable=True, description="Product description, trimmed, single spaces.")
    quantity: pl.Int32 = pa.Field(ne=0, description="Units sold; negative for returns.")
    unit_price: Money = pa.Field(gt=0, description="Price per unit.")
    line_amount: Money = pa.Field(description="quantity x unit_price, exact.")
    customer_id: pl.String = pa.Field(nullable=True, description="Customer number; null for a guest.")
    country: pl.String = pa.Field(nullable=True, description="Customer's country as the shop spells it.")
    line_type: pl.String = pa.Field(
        isin=LINE_TYPES, description="What the line sells, by the mapping's table of codes."
    )
    is_cancelled: pl.Boolean = pa.Field(description="Whether the invoice is a cancellation.")
    repeat_no: pl.Int32 = pa.Field(
        ge=1,
        description="Ordinal among equal lines of a delivery; 1 unless the mapping keeps repeats or one was released.",
    )


SILVER_SALES = Table(
    "silver",
    "sales",
    SilverSales,
    key=("delivery_id", "file_sha256", "source_row"),
    day="sale_date",
    month="sale_month",
)


class SilverRejects(DeliveredRow):
    """One row per delivered row that is not a sale line, as delivered, with the reason.

    Grain: (delivery_id, file_sha256, source_row).  Source: bronze/sales.
    Partition: sale_month on disk; null for rows without a usable day.
    """

    reason: pl.String = pa.Field(
        isin=REJECT_REASONS, description="Why the row is left out: the first reason that applies."
    )
    line_amount: Money = pa.Field(nullable=True, description="quantity x unit_price where both could be read.")


SILVER_REJECTS = Table(
    "silver",
    "rejects",
    SilverRejects,
    key=("delivery_id", "file_sha256", "source_row"),
    day="sale_date",
    month="sale_month",
)


class SilverDays(DayState):
    """One row per day: which state of bronze the lines and rejects of silver were made from.

    Grain: sale_date (null: the rows without a usable day).  Source: bronze/days.
    Published with the marts; a day whose fingerprint in the ledger is another one has to be run again.
    """


SILVER_DAYS = Table(
    "silver",
    "days",
    SilverDays,
    key=("sale_date",),
    day="sale_date",
    month="sale_month",
)


class ProductMonths(Contract):
    """What was sold of a product in a month, as far as its versions need it.

    Grain: (sale_month, stock_code).  Source: silver/sales; only touched months are recomputed.
    Units: prices in the shop's currency.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month.")
    stock_code: pl.String = pa.Field(description="Product code.")
    line_type: pl.String = pa.Field(isin=LINE_TYPES, description="What the code sells.")
    description: pl.String = pa.Field(
        nullable=True, description="Most frequent description of the month, ties by text."
    )
    median_price: Money = pa.Field(
        nullable=True, description="Lower median unit price of the month's uncancelled lines."
    )
    first_date: pl.Date = pa.Field(description="First silver day of the product in the month.")
    first_description: pl.String = pa.Field(nullable=True, description="Most frequent description of that first day.")
    first_price: Money = pa.Field(
        nullable=True, description="Lower median price of that first day's uncancelled lines."
    )


PRODUCT_MONTHS = Table(
    "silver",
    "product_months",
    ProductMonths,
    key=("sale_month", "stock_code"),
    month="sale_month",
)


class CustomerMonths(Contract):
    """What a customer bought in a month, as far as its versions need it.

    Grain: (sale_month, customer_id).  Source: silver/sales; only touched months are recomputed.
    Units: amounts in the shop's currency.
    """

    sale_month: pl.Date = pa.Field(description="First day of the month.")
    customer_id: pl.String = pa.Field(description="Customer number.")
    country: pl.String = pa.Field(
        nullable=True, description="Country of the month's last line that names one, by invoiced_at, invoice_no."
    )
    orders: pl.Int64 = pa.Field(ge=0, description="Uncancelled invoices (invoice_no, sale_date).")
    last_order_date: pl.Date = pa.Field(nullable=True, description="Day of the last uncancelled invoice; null if none.")
    spent: Money = pa.Field(description="Amount of uncancelled lines, all line types.")
    net_revenue: Money = pa.Field(description="Amount of all lines, cancellations included.")
    product_revenue: Money = pa.Field(description="Amount of product lines, cancellations included.")
    first_date: pl.Date = pa.Field(description="First silver day of the customer in the month.")
    first_country: pl.String = pa.Field(nullable=True, description="Country of that day's last line that names one.")
    first_orders: pl.Int64 = pa.Field(ge=0, description="Uncancelled invoices of that first day.")
    first_spent: Money = pa.Field(description="Amount of uncancelled lines of that first day.")
    first_net_revenue: Money = pa.Field(description="Amount of all lines of that first day.")


CUSTOMER_MONTHS = Table(
    "silver",
    "customer_months",
    CustomerMonths,
    key=("sale_month", "customer_id"),
    month="sale_month",
)
