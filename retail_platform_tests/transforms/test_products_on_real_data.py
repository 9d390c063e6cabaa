"""Classes, returns, elasticities and seasons of the real data, against SQL over the raw lines and statsmodels."""

import os
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from retail_platform.transforms.price_elasticity import elasticities_are_plausible, price_elasticities, product_weeks
from retail_platform.transforms.product_demand import (
    classes_cover_the_revenue,
    product_demand,
    returns_are_of_sales,
)
from retail_platform.transforms.seasonality import product_days, seasonality_indices
from retail_platform_tests.transforms.test_dimensions_on_real_data import SILVER

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

AS_OF, END = date(2011, 11, 30), date(2011, 12, 1)

CLASSES = """
with year as (
  select * from silver where line_type = 'product' and sale_date between '2010-12-01' and '2011-11-30'
), revenue as (
  select stock_code, sum(line_amount) as net_revenue, sum(quantity) filter (quantity > 0) as sold from year group by 1
), ranked as (
  select *, sum(net_revenue) over (order by net_revenue desc, stock_code rows unbounded preceding) as upto,
    upto - net_revenue as before,
    sum(net_revenue) over () as total from revenue
)
select stock_code, net_revenue::decimal(18, 4) as net_revenue, coalesce(sold, 0)::bigint as sold_unit_count,
  case when net_revenue > 0 and before < total * 0.8 then 'A'
    when net_revenue > 0 and before < total * 0.95 then 'B' else 'C' end as abc_class
from ranked order by 1
"""

RETURNS = """
with recursive events as (
  select stock_code, customer_id, quantity, unit_price, sale_month, row_number() over (
      partition by stock_code, customer_id order by invoiced_at, quantity desc, unit_price desc) as n
  from silver semi join (
    select distinct stock_code, customer_id from silver where quantity < 0
      and sale_date between '2010-12-01' and '2011-11-30' and line_type = 'product' and customer_id is not null
  ) using (stock_code, customer_id)
  where sale_date between '2010-12-01' and '2011-11-30' and line_type = 'product'
), walked as (
  select *, greatest(quantity, 0) as balance, 0 as matched from events where n = 1
  union all
  select e.*, greatest(w.balance + e.quantity, 0),
    case when e.quantity < 0 then least(-e.quantity, w.balance) else 0 end
  from walked w join events e on e.stock_code = w.stock_code and e.customer_id = w.customer_id and e.n = w.n + 1
)
select stock_code, sale_month, sum(matched)::bigint as units, sum(matched * unit_price)::decimal(18, 4) as amount
from walked group by all having sum(matched) > 0
"""

VARIATION = """
with units as (
  select stock_code, sale_month, sum(quantity) as units from silver where line_type = 'product' and quantity > 0
    and sale_date between '2010-12-01' and '2011-11-30' group by all
  union all
  select stock_code, sale_month, -units from returns
), firsts as (
  select stock_code, min(sale_month) as first from silver where line_type = 'product' group by 1
), months as (
  select stock_code, month::date as sale_month
  from firsts, generate_series(timestamp '2010-12-01', timestamp '2011-11-01', interval 1 month) as series (month)
  where month >= first
), monthly as (
  select stock_code, sale_month, coalesce(sum(units), 0) as units
  from months left join units using (stock_code, sale_month) group by all
)
select stock_code, count(*) as observed_months, avg(units) as mean,
  case when avg(units) > 0 and count(*) > 1 then stddev_samp(units) / avg(units) end as variation
from monthly semi join (
  select stock_code from silver where line_type = 'product' and sale_date between '2010-12-01' and '2011-11-30'
) using (stock_code) group by 1 order by 1
"""

SEASON = """
with months as (
  select sale_month, sum(line_amount)::double as revenue from silver
  where line_type = 'product' and sale_date < '2011-12-01' group by 1
)
select month(sale_month), avg(100 * revenue / mean) from (
  select *, avg(revenue) over (partition by sale_month >= '2010-12-01') as mean from months
) group by 1 order by 1
"""

WEEKDAYS = """
with days as (
  select isodow(sale_date) as weekday, sale_date >= date '2011-12-01' - 364 as is_newer,
    sum(line_amount)::double as revenue
  from silver where line_type = 'product' and sale_date between date '2011-12-01' - 728 and '2011-11-30' group by all
)
select weekday, sum(700 * revenue / total) / 2 from (
  select *, sum(revenue) over (partition by is_newer) as total from days
) group by 1 order by 1
"""

CARELESS = """
with weeks as (
  select stock_code, date_trunc('week', sale_date) as week, ln(sum(quantity)) as units,
    ln(sum(line_amount)::double / sum(quantity)) as price
  from silver
  where line_type = 'product' and quantity > 0 and sale_date between '2009-12-07' and '2011-11-27' group by all
)
select median(slope) from (
  select regr_slope(units, price) as slope from weeks semi join estimated using (stock_code) group by stock_code)
"""
"""All lines at their mean price, bulk and guests included, without months and trend: of the same products."""

WEEKS = """
with bought as (
  select stock_code, date_trunc('week', sale_date)::date as week, quantity, unit_price from silver
  where line_type = 'product' and quantity > 0 and customer_id is not null
    and sale_date between '2009-12-07' and '2011-11-27' and stock_code = $code
), small as (select week, quantile_disc(unit_price, 0.5) as price from bought
  where quantity <= (select quantile_disc(quantity, 0.5) from bought) group by 1)
select week, sum(quantity)::bigint as units, any_value(price)::double as price
from bought join small using (week) group by 1 order by 1
"""


@pytest.fixture(scope="module")
def silver() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        file = Path(os.environ["RETAIL_REAL_DATA"]) / "online_retail_II.parquet"
        connection.execute(SILVER, {"file": str(file)})
        yield connection


@pytest.fixture(scope="module")
def lines(silver: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    products = silver.sql("select * from silver where line_type = 'product' and sale_date <= '2011-11-30'").pl()
    return products.with_columns(sale_month=pl.col("sale_date").dt.month_start())


def test_classes_and_returns_equal_sql(silver: duckdb.DuckDBPyConnection, lines: pl.DataFrame) -> None:
    firsts = lines.group_by("stock_code").agg(first_month=pl.col("sale_month").min())
    demand = product_demand(lines.lazy().filter(pl.col("sale_date") >= date(2010, 12, 1)), firsts, AS_OF)
    revenue = Decimal(demand["net_revenue"].sum())
    print(*(check.description for check in (classes_cover_the_revenue(demand, revenue), returns_are_of_sales(demand))))
    columns = ("stock_code", "net_revenue", "sold_unit_count", "abc_class")
    assert demand.select(columns).rows() == silver.sql(CLASSES).fetchall()

    silver.execute(f"create table returns as {RETURNS}")
    matched = silver.sql(
        "select stock_code, sum(units)::bigint, sum(amount) from returns group by 1 order by 1"
    ).fetchall()
    returned = demand.filter(pl.col("returned_unit_count") > 0)
    assert returned.select("stock_code", "returned_unit_count", "returned_amount").rows() == matched
    expected = silver.sql(VARIATION).pl()
    assert demand["observed_months"].to_list() == expected["observed_months"].to_list()
    measured = demand.select("mean_monthly_units", pl.col("unit_variation").fill_null(-1)).to_numpy()
    assert measured == pytest.approx(expected.select("mean", pl.col("variation").fill_null(-1)).to_numpy(), abs=1e-5)


def test_elasticities_equal_statsmodels(silver: duckdb.DuckDBPyConnection, lines: pl.DataFrame) -> None:
    import statsmodels.api as sm

    frame = price_elasticities(product_weeks(lines.lazy(), AS_OF), AS_OF)
    print(elasticities_are_plausible(frame).description, frame["elasticity"].median())
    silver.register("estimated", frame.select("stock_code").to_arrow())
    careless = silver.sql(CARELESS).fetchall()[0][0]
    print(f"Median elasticity of the same products from all lines, without months and trend: {careless:.2f}")
    assert careless < frame["elasticity"].median()
    for row in frame.sort("unit_count", descending=True)[:: frame.height // 12].iter_rows(named=True):
        weeks = silver.sql(WEEKS, params={"code": row["stock_code"]}).pl()
        months = weeks["week"].dt.month().to_dummies().to_numpy().astype(float)
        trend = weeks["week"].to_physical().to_numpy().astype(float) / 7_000
        factors = np.column_stack([weeks["price"].log().to_numpy(), trend, months])
        fit = sm.OLS(weeks["units"].log().to_numpy(), factors).fit(cov_type="HC1", use_t=True)
        names = ("week_count", "elasticity", "standard_error", "elasticity_low", "elasticity_high", "r_squared")
        expected = [weeks.height, fit.params[0], fit.bse[0], *fit.conf_int()[0], fit.rsquared]
        assert [row[name] for name in names] == pytest.approx(expected, abs=2e-5), row["stock_code"]


def test_seasons_equal_sql(silver: duckdb.DuckDBPyConnection, lines: pl.DataFrame) -> None:
    sold = product_days(lines.lazy()).collect()
    indices = seasonality_indices(sold, pl.DataFrame(schema={"stock_code": pl.String, "category": pl.String}), END)
    shop = indices.filter(pl.col("scope") == "shop")
    for cycle, query in (("month", SEASON), ("weekday", WEEKDAYS)):
        found = shop.filter(pl.col("cycle") == cycle)["revenue_index"].to_list()
        assert found == pytest.approx([index for _, index in silver.sql(query).fetchall()], abs=1e-5)
    assert shop["year_count"].unique().to_list() == [2]
