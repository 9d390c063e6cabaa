"""The bronze tables: delivered rows as text, with where they came from."""

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Instant, LocalTime, Table


class Origin(Contract):
    """Where a delivered row came from; the last columns of every table with one row per delivered row."""

    delivery_id: pl.String = pa.Field(description="The delivery this row came with (batch or content, and sheet).")
    file_sha256: pl.String = pa.Field(description="SHA-256 of the kept file, hexadecimal.")
    source_file: pl.String = pa.Field(description="Path of the file relative to landing.")
    source_sheet: pl.String = pa.Field(nullable=True, description="Sheet of the workbook; null for other formats.")
    source_row: pl.Int64 = pa.Field(ge=1, description="Number of the data row in the file or sheet, from 1.")
    ingested_at: Instant = pa.Field(description="When the delivery was first registered, UTC.")


class DeliveredRow(Origin):
    """A row as it was delivered, and the day it belongs to."""

    sale_month: pl.Date = pa.Field(nullable=True, description="First day of the month of sale_date; or null.")
    sale_date: pl.Date = pa.Field(
        nullable=True, description="Day of the sale, by the mapping's date formats; null if unusable."
    )
    invoice_no: pl.String = pa.Field(nullable=True, description="Invoice number as delivered.")
    stock_code: pl.String = pa.Field(nullable=True, description="Product code as delivered.")
    description: pl.String = pa.Field(nullable=True, description="Product description as delivered.")
    quantity: pl.String = pa.Field(nullable=True, description="Quantity as delivered.")
    invoice_date: pl.String = pa.Field(nullable=True, description="Date and time of the invoice as delivered.")
    unit_price: pl.String = pa.Field(nullable=True, description="Price per unit as delivered.")
    customer_id: pl.String = pa.Field(nullable=True, description="Customer number as delivered.")
    country: pl.String = pa.Field(nullable=True, description="Customer's country as delivered.")


class DayState(Contract):
    """How much of a day there is, and which state of the ledger that is."""

    sale_month: pl.Date = pa.Field(nullable=True, description="First day of the month of sale_date; or null.")
    sale_date: pl.Date = pa.Field(nullable=True, description="Day of the sale; null for rows without a usable day.")
    rows: pl.Int64 = pa.Field(ge=1, description="Delivered rows of the day.")
    fingerprint: pl.String = pa.Field(description="Hash over the ranked deliveries that hold the day.")


class BronzeSales(DeliveredRow):
    """One row per delivered row, its values as text, unchanged.

    Grain: (delivery_id, file_sha256, source_row).  Source: accepted deliveries.
    Partition: sale_month on disk; sale_date is null where the row has no usable day.
    """

    invoiced_at: LocalTime = pa.Field(
        nullable=True, description="invoice_date as a time, shop's wall clock; null if unreadable."
    )
    rescued: pl.String = pa.Field(nullable=True, description="Columns the mapping does not know, as one JSON object.")


BRONZE_SALES = Table(
    "bronze",
    "sales",
    BronzeSales,
    key=("delivery_id", "file_sha256", "source_row"),
    day="sale_date",
    month="sale_month",
)


class BronzeDays(DayState):
    """One row per day: how much bronze holds of it, and which state of the ledger that is.

    Grain: sale_date (null: the rows without a usable day).  Source: the ledger.
    A day whose fingerprint in the ledger is another one has to be run again.
    """


BRONZE_DAYS = Table(
    "bronze",
    "days",
    BronzeDays,
    key=("sale_date",),
    day="sale_date",
    month="sale_month",
)
