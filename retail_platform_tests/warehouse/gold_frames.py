"""Gold frames for the tests of the warehouse: any number of days and rows, the same for the same arguments.

Lives here: frames with the columns of the contracts and keys that hold together. Stays out: what the values mean; the
rules behind them are tested where the transforms are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from retail_platform.contracts import (
    DAY_QUALITY,
    DIM_COUNTRY,
    DIM_CUSTOMER,
    DIM_DATE,
    DIM_INVOICE,
    DIM_PRODUCT,
    FACT_SALE,
    GOLD_TABLES,
    PRODUCT_CATEGORY,
    Table,
)
from retail_platform.transforms.keys import line_ids, surrogate_keys

LINES_PER_INVOICE = 20


@dataclass(frozen=True)
class GoldFrames:
    """One state of gold."""

    dimensions: dict[str, pl.DataFrame]
    invoices: pl.DataFrame
    facts: pl.DataFrame

    @property
    def days(self) -> set[date]:
        """The days that have sales."""
        return set(self.facts["sale_date"].to_list())

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The rows of every gold table; no row was rejected or corrected, analytics and features have none."""
        counts = dict.fromkeys((name for name in DAY_QUALITY.schema if name.endswith("_rows")), pl.lit(0))
        counts |= dict.fromkeys(("delivered_rows", "accepted_rows"), pl.len())
        days = self.facts.group_by("sale_month", "sale_date").agg(
            accepted_amount=pl.col("total_amount").sum(), acceptance_pct=pl.lit(100), **counts
        )
        rows = {"dim_invoice": self.invoices, "fact_sale": self.facts, "day_quality": shaped(DAY_QUALITY, days)}
        return (
            {table.name: table.empty() for table in GOLD_TABLES if not table.name.startswith("dim_")}
            | self.dimensions
            | rows
        )

    def of(self, days: Collection[date]) -> "GoldFrames":
        """The same dimensions, and the rows of some days only."""
        here = pl.col("sale_date").is_in(list(days))
        return GoldFrames(self.dimensions, self.invoices.filter(here), self.facts.filter(here))


def gold_frames(
    first_day: date, days: int, lines_per_day: int, *, products: int = 5, customers: int = 4, countries: int = 3
) -> GoldFrames:
    """Gold of consecutive days; every fifth invoice is a guest's."""
    lines = _lines(first_day, days, lines_per_day)
    dimensions = {
        "dim_date": _dates(first_day, days),
        "dim_country": _countries(countries),
        "dim_product": _products(products, first_day),
        "dim_customer": _customers(customers, first_day),
    }
    dimensions["product_category"] = _categories(dimensions["dim_product"])
    customer = pl.when(pl.col("invoice") % 5 == 0).then(0).otherwise(pl.col("invoice") * 7919 % customers + 1)
    facts = lines.with_columns(
        product_key=_pick(dimensions["dim_product"]["product_key"], pl.col("line") * 104729 % products),
        customer_key=_pick(dimensions["dim_customer"]["customer_key"], customer),
        country_key=_pick(dimensions["dim_country"]["country_key"], pl.col("invoice") * 31 % countries),
    )
    return GoldFrames(dimensions, _invoices(facts), shaped(FACT_SALE, facts))


def shaped(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with exactly the table's columns and types; columns it lacks are null."""
    present = set(frame.columns)
    return frame.select(
        (pl.col(name) if name in present else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in table.schema.items()
    )


def _pick(values: pl.Series, position: pl.Expr) -> pl.Expr:
    return pl.lit(values).gather(position)


def _lines(first_day: date, days: int, lines_per_day: int) -> pl.DataFrame:
    line = pl.int_range(days * lines_per_day, dtype=pl.Int64)
    day = pl.lit(first_day) + pl.duration(days=line // lines_per_day)
    frame = pl.select(line=line, sale_date=day.cast(pl.Date)).with_columns(
        sale_month=pl.col("sale_date").dt.month_start(),
        date_key=pl.col("sale_date").dt.strftime("%Y%m%d").cast(pl.Int32),
        invoice=pl.col("line") % lines_per_day // LINES_PER_INVOICE + 1000 * (pl.col("line") // lines_per_day),
        quantity=(pl.col("line") % 12 + 1).cast(pl.Int32),
        unit_price=pl.lit(Decimal("0.8500")).cast(pl.Decimal(18, 4)),
        line_type=pl.lit("product"),
        is_cancelled=pl.lit(False),
        created_at=pl.lit(datetime(2026, 1, 2, 3, 4, 5)).dt.replace_time_zone("UTC"),
        batch_id=pl.lit("batch-1"),
    )
    frame = frame.with_columns(
        invoice_no=(pl.col("invoice") + 500_000).cast(pl.String),
        invoiced_at=pl.col("sale_date").cast(pl.Datetime("us")) + timedelta(hours=9),
        total_amount=(pl.col("quantity") * pl.col("unit_price")).cast(pl.Decimal(18, 4)),
    )
    return line_ids(surrogate_keys(frame, ["invoice_no", "sale_date"], "invoice_key"), ["line"], "sale_id")


def _invoices(facts: pl.DataFrame) -> pl.DataFrame:
    grouped = facts.group_by("sale_month", "sale_date", "invoice_key", "invoice_no", maintain_order=True).agg(
        pl.col("invoiced_at").min().alias("invoice_date"),
        pl.col("is_cancelled").any(),
        pl.col("total_amount").sum().alias("invoice_total"),
    )
    return shaped(DIM_INVOICE, grouped)


def _dates(first_day: date, days: int) -> pl.DataFrame:
    day = pl.date_range(date(first_day.year, 1, 1), date((first_day + timedelta(days=days)).year, 12, 31), "1d")
    frame = pl.select(date=day).with_columns(
        date_key=pl.col("date").dt.strftime("%Y%m%d").cast(pl.Int32),
        year=pl.col("date").dt.year(),
        quarter=pl.col("date").dt.quarter(),
        month=pl.col("date").dt.month(),
        month_name=pl.col("date").dt.strftime("%B"),
        week=pl.col("date").dt.week(),
        day_of_month=pl.col("date").dt.day(),
        day_of_week=pl.col("date").dt.weekday(),
        day_name=pl.col("date").dt.strftime("%A"),
        is_weekend=pl.col("date").dt.weekday() > 5,
        is_holiday=pl.lit(False),
        fiscal_year=pl.col("date").dt.year(),
        fiscal_quarter=pl.col("date").dt.quarter(),
    )
    return shaped(DIM_DATE, frame)


def _countries(count: int) -> pl.DataFrame:
    frame = pl.select(country_key=pl.int_range(count) - 1).with_columns(
        country_name=pl.format('Country, "{}"', "country_key"), population=pl.col("country_key") * 1000, latitude=51.5
    )
    return shaped(DIM_COUNTRY, frame)


def _products(count: int, first_day: date) -> pl.DataFrame:
    frame = pl.select(number=pl.int_range(count)).with_columns(
        stock_code=(pl.col("number") + 10_000).cast(pl.String),
        description=pl.format("PRODUCT {}", "number"),
        recommended_price=pl.lit(Decimal("0.8500")),
        valid_from=first_day,
        is_current=True,
        version=1,
    )
    return shaped(DIM_PRODUCT, surrogate_keys(frame, ["stock_code", "valid_from"], "product_key"))


def _categories(products: pl.DataFrame) -> pl.DataFrame:
    told = {"category": pl.lit("unclassified"), "subcategory": pl.lit("unclassified")}
    unique = products.select(pl.col("description").unique().sort())
    return shaped(PRODUCT_CATEGORY, unique.with_columns(**told, category_confidence=1 / 3, is_labelled=False))


def _customers(count: int, first_day: date) -> pl.DataFrame:
    """The guest, then `count` customers."""
    frame = pl.select(number=pl.int_range(count)).with_columns(
        customer_id=(pl.col("number") + 12_000).cast(pl.String),
        customer_segment=pl.lit("New"),
        rfm_segment=pl.lit("New Customers"),
        country=pl.lit("United Kingdom"),
        lifetime_value=pl.lit(Decimal("12.5000")),
        total_orders=pl.lit(1),
        valid_from=first_day,
        is_current=True,
        version=1,
    )
    guest = pl.DataFrame(
        {
            "customer_key": [-1],
            "customer_segment": ["Guest"],
            "rfm_segment": ["Others"],
            "valid_from": [date(1900, 1, 1)],
            "is_current": [True],
            "version": [1],
        }
    )
    keyed = surrogate_keys(frame, ["customer_id", "valid_from"], "customer_key")
    return pl.concat([shaped(DIM_CUSTOMER, guest), shaped(DIM_CUSTOMER, keyed)])
