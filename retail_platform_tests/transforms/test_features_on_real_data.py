"""Features of all of the real data, against SQL over the lines of the raw file; and cut at the day."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_platform.contracts import PRODUCT_CATEGORY, Table
from retail_platform.transforms.feature_checks import features_are_finite, point_in_time_holds
from retail_platform.transforms.features import MAKERS, customer_features, product_features
from retail_platform.transforms.quality import contract_holds, keys_are_unique
from retail_platform_tests.transforms.test_dimensions_on_real_data import SILVER

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

AS_OF = date(2011, 6, 15)
NO_CATEGORIES = PRODUCT_CATEGORY.empty()

CUSTOMERS = """
with known as (select * from silver where customer_id is not null and sale_date <= $day::date),
bought as (
  select * from silver
  where line_type = 'product' and not is_cancelled and quantity > 0 and sale_date <= $day::date
), medians as (select stock_code, quantile_disc(unit_price, 0.5) as usual from bought group by 1),
lines as (
  select b.*, usual from bought b join medians using (stock_code) where customer_id is not null
), orders as (
  select customer_id, invoice_no, sale_date, sum(line_amount) as amount, min(invoiced_at) as first_at,
    count(distinct stock_code) as products from lines group by all
), gaps as (
  select customer_id, sale_date - lag(sale_date) over (partition by customer_id order by sale_date) as gap
  from (select distinct customer_id, sale_date from orders)
), of_orders as (
  select customer_id, count(*) as order_count_all,
    count(*) filter (sale_date > $day::date - 90) as order_count_90d,
    coalesce(sum(amount) filter (sale_date > $day::date - 365), 0) as purchase_amount_365d,
    coalesce(sum(amount) filter (sale_date between $day::date - 179 and $day::date - 90), 0)
      as previous_purchase_amount_90d,
    $day::date - max(sale_date) as days_since_last_order,
    median(amount::double) as median_order_value_all,
    stddev_samp(amount::double) as order_value_sd_all,
    avg(products) as mean_order_products_all,
    avg((isodow(sale_date) = 4)::int) as thursday_order_share_all,
    avg(hour(first_at) + minute(first_at) / 60) as mean_order_hour_all
  from orders group by 1
), of_lines as (
  select customer_id, count(distinct stock_code) as product_count_all,
    count(distinct stock_code) filter (sale_date > $day::date - 30) as product_count_30d,
    avg((unit_price::double / usual::double < 0.95)::int) as discounted_line_share_all,
    avg(unit_price::double / usual::double) as mean_price_level_all
  from lines group by 1
), of_known as (
  select customer_id, sum(line_amount) as net_amount_all,
    coalesce(sum(line_amount) filter (line_type = 'postage'), 0) as postage_amount_all,
    coalesce(sum(-line_amount) filter (line_type = 'product' and quantity < 0), 0) as return_amount_all,
    count(distinct (invoice_no, sale_date)) filter (line_type = 'product' and quantity < 0) as return_count_all
  from known group by 1
), of_gaps as (
  select customer_id, avg(gap) as mean_gap_days_all, max(gap) as max_gap_days_all from gaps group by 1
)
select * from of_orders join of_lines using (customer_id) join of_known using (customer_id)
  join of_gaps using (customer_id) order by customer_id
"""

PRODUCTS = """
with bought as (
  select * from silver
  where line_type = 'product' and not is_cancelled and quantity > 0 and sale_date <= $day::date
), baskets as (
  select invoice_no, sale_date, count(*) as lines, sum(line_amount) as worth from bought group by all
), held as (select distinct stock_code, invoice_no, sale_date from bought),
of_baskets as (
  select stock_code, count(*) as order_count_all, avg(lines) as mean_basket_lines_all,
    sum(worth)::double / count(*) as mean_basket_value_all
  from held join baskets using (invoice_no, sale_date) group by 1
), of_lines as (
  select stock_code, coalesce(sum(quantity) filter (sale_date > $day::date - 90), 0) as unit_count_90d,
    sum(line_amount) as sales_amount_all, count(distinct sale_date) as active_day_count_all,
    count(distinct customer_id) as customer_count_all, quantile_disc(unit_price, 0.5) as median_unit_price_all,
    coalesce(sum(quantity) filter (month(sale_date) >= 10), 0) / sum(quantity) as q4_unit_share_all,
    $day::date - min(sale_date) as days_since_first_sale
  from bought group by 1
)
select * from of_baskets join of_lines using (stock_code) order by stock_code
"""


@pytest.fixture(scope="module")
def silver() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        file = Path(os.environ["RETAIL_REAL_DATA"]) / "online_retail_II.parquet"
        connection.execute(SILVER, {"file": str(file)})
        yield connection


@pytest.fixture(scope="module")
def lines(silver: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    return pl.DataFrame(silver.table("silver").pl())


def test_customers_equal_sql(silver: duckdb.DuckDBPyConnection, lines: pl.DataFrame) -> None:
    assert_equal(customer_features(lines.lazy(), NO_CATEGORIES, AS_OF), silver, CUSTOMERS)


def test_products_equal_sql(silver: duckdb.DuckDBPyConnection, lines: pl.DataFrame) -> None:
    assert_equal(product_features(lines.lazy(), NO_CATEGORIES, AS_OF), silver, PRODUCTS)


@pytest.mark.parametrize("table", MAKERS, ids=str)
def test_features_of_a_day_use_nothing_later(table: Table, lines: pl.DataFrame) -> None:
    cut = lines.filter(pl.col("sale_date") <= AS_OF)
    frame = MAKERS[table](lines.lazy(), NO_CATEGORIES, AS_OF)

    assert frame.equals(MAKERS[table](cut.reverse().lazy(), NO_CATEGORIES, AS_OF))
    for finding in (
        contract_holds(table, frame),
        keys_are_unique(table, frame),
        features_are_finite(table, frame),
        point_in_time_holds(table, frame, [cut]),
    ):
        assert finding.passed, finding


def assert_equal(made: pl.DataFrame, silver: duckdb.DuckDBPyConnection, query: str) -> None:
    """Every column of the query is in the frame, for the same members; money to a hundredth of a penny."""
    expected = silver.sql(query, params={"day": AS_OF}).pl()
    figures = [name for name in expected.columns if expected.schema[name] != pl.String]
    found = made.select(expected.columns).cast(dict.fromkeys(figures, pl.Float64))
    assert made.height > 4_000 * (query == CUSTOMERS)
    assert_frame_equal(found, expected.cast(dict.fromkeys(figures, pl.Float64)), rel_tol=1e-9, abs_tol=1e-4)
