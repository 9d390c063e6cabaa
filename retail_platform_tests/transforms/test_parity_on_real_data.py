"""The way from bronze to facts on the real data: two months of it on every engine, all of it on Polars and DuckDB."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from retail_platform.contracts import BRONZE_SALES
from retail_platform_tests.transforms.conftest import Engine
from retail_platform_tests.transforms.test_parity import STEPS, assert_equal_rows, on_one_engine

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

FIRST_ROW_OF_SHEET_2 = 525_461
TWO_MONTHS = (date(2010, 11, 1), date(2010, 12, 31))
"""Both sheets hold days of December 2010, so that the second restates lines of the first."""
ALONG = ("judge_sales", "product_versions", "customer_versions", "country_keys")
WAY = [step for step in STEPS if step.table is not None or step.transformation.__name__ in ALONG]


@pytest.fixture(scope="module")
def bronze(raw_file: Path) -> pl.DataFrame:
    """All delivered rows, one delivery a sheet."""
    delivered = pl.read_parquet(raw_file).with_row_index("n")
    names = {"Invoice": "invoice_no", "StockCode": "stock_code", "Description": "description", "Country": "country"}
    names |= {
        "Quantity": "quantity",
        "Price": "unit_price",
        "InvoiceDate": "invoice_date",
        "Customer ID": "customer_id",
    }
    in_second = pl.col("n") >= FIRST_ROW_OF_SHEET_2
    day = pl.col("InvoiceDate").str.to_datetime(time_unit="us")
    rows = delivered.with_columns(
        invoiced_at=day,
        sale_date=day.dt.date(),
        sale_month=day.dt.date().dt.month_start(),
        delivery_id=pl.when(in_second).then(pl.lit("b#1")).otherwise(pl.lit("a#0")),
        file_sha256=pl.when(in_second).then(pl.lit("b")).otherwise(pl.lit("a")),
        source_file=pl.lit("online_retail_II.xlsx"),
        source_sheet=pl.lit(None, pl.String),
        source_row=pl.col("n").cast(pl.Int64) + 1,
        ingested_at=pl.lit(datetime(2012, 1, 1, tzinfo=UTC)),
        rescued=pl.lit(None, pl.String),
    ).rename(names)
    return rows.select(*BRONZE_SALES.schema).cast(BRONZE_SALES.schema)


def agree(hand: Engine, bronze: pl.DataFrame) -> None:
    expected = on_one_engine(bronze, WAY)
    for step in WAY:
        assert_equal_rows(step, step.run(hand, expected), expected[step.transformation.__name__])


@pytest.mark.filterwarnings("ignore:The behavior of DataFrame concatenation:FutureWarning")
def test_two_months_are_equal_on_every_engine(other_engine: Engine, bronze: pl.DataFrame) -> None:
    agree(other_engine, bronze.filter(pl.col("sale_date").is_between(*TWO_MONTHS)))


def test_all_of_it_is_equal_on_polars_and_duckdb(on_duckdb: Engine, bronze: pl.DataFrame) -> None:
    agree(on_duckdb, bronze)
