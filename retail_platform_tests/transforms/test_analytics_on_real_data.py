"""Pairs and the hold-out on all of the real data, against SQL over the lines of the raw file."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_platform.transforms.baskets import product_baskets, product_pairs
from retail_platform.transforms.customer_value import customer_values, order_days
from retail_platform.transforms.quality import commonest_pairs, holdout_is_calibrated
from retail_platform_tests.transforms.test_dimensions_on_real_data import SILVER

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

AS_OF = date(2011, 11, 30)

PAIR_COUNTS = """
with bought as (
  select distinct invoice_no, sale_date, stock_code from silver
  where line_type = 'product' and not is_cancelled and sale_date between '2010-12-01' and '2011-11-30'
)
select a.stock_code, b.stock_code as other_stock_code, count(*) as pair_count
from bought a join bought b using (invoice_no, sale_date) where a.stock_code <> b.stock_code
group by all order by 3 desc, 1, 2 limit 20
"""

CUSTOMERS = """
with days as (
  select customer_id, sale_date, sum(line_amount) as amount from silver
  where line_type = 'product' and not is_cancelled and customer_id is not null and sale_date <= '2011-11-30'
  group by all having sum(line_amount) > 0
)
select customer_id, count(*) as order_days, min(sale_date) as first_order_date, max(sale_date) as last_order_date,
  sum(amount)::decimal(18, 4) as historical_value,
  case when min(sale_date) <= date '2011-11-30' - 180
    then count(*) filter (sale_date > date '2011-11-30' - 180) end as holdout_order_days,
  case when min(sale_date) <= date '2011-11-30' - 180
    then coalesce(sum(amount) filter (sale_date > date '2011-11-30' - 180), 0)::decimal(18, 4) end as holdout_value
from days group by 1 order by 1
"""


@pytest.fixture(scope="module")
def silver() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        file = Path(os.environ["RETAIL_REAL_DATA"]) / "online_retail_II.parquet"
        connection.execute(SILVER, {"file": str(file)})
        yield connection


def test_the_commonest_pairs_equal_a_self_join(silver: duckdb.DuckDBPyConnection) -> None:
    lines = silver.table("silver").pl().lazy()
    year = lines.filter(pl.col("sale_date").is_between(date(2010, 12, 1), AS_OF))
    pairs = product_pairs([product_baskets(year).collect()], AS_OF)
    found = commonest_pairs(pairs).select("stock_code", "other_stock_code", "pair_count")

    assert found.rows() == silver.sql(PAIR_COUNTS).fetchall()


def test_histories_equal_sql_and_the_hold_out_is_within_its_bound(silver: duckdb.DuckDBPyConnection) -> None:
    lines = silver.table("silver").pl().lazy()
    orders = order_days(lines.filter(pl.col("sale_date") <= AS_OF)).collect()
    values, _ = customer_values(orders, AS_OF)
    expected = silver.sql(CUSTOMERS).fetchall()
    columns = ("order_days", "first_order_date", "last_order_date", "historical_value")
    finding = holdout_is_calibrated(values)
    print(finding.description, finding.evidence["measures"], finding.evidence["deciles"], sep="\n")

    assert values.select("customer_id", *columns, "holdout_order_days", "holdout_value").rows() == expected
    assert finding.passed
    off = {name: expected / came - 1 for name, expected, came, *_ in finding.evidence["measures"].iter_rows()}
    assert abs(off["order_days"]) < 0.01
    assert abs(off["silent_share"]) < 0.01
    assert -0.15 < off["value"] < 0
    assert finding.evidence["churn_auc"] > 0.8
    deciles = finding.evidence["deciles"]
    assert ((deciles["expected"] - deciles["came"]).abs() / deciles["came"]).max() < 0.3
