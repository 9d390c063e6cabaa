"""Both versioned dimensions on all of the real data, against the design's rules written again in SQL over the lines.

The SQL shares nothing with the code but the table of segments: it judges every customer at every close from the
silver lines themselves, without month summaries.
"""

import os
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_platform.contracts import CUSTOMER_MONTHS, DIM_CUSTOMER, DIM_PRODUCT, PRODUCT_CATEGORY, PRODUCT_MONTHS
from retail_platform.reference import read_country_aliases
from retail_platform.transforms.countries import alias_keys, unmapped_spellings
from retail_platform.transforms.customers import (
    customer_dimension,
    customer_months,
    customer_versions,
    score_customers,
)
from retail_platform.transforms.products import product_dimension, product_months, product_versions
from retail_platform.transforms.segments import segment_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

OPEN_MONTH = date(2011, 12, 1)
FIRST_ROW_OF_SHEET_2 = 525_461

SILVER = f"""
create table silver as
with delivered as (
  select row_number() over () - 1 as i, trim("Invoice") as invoice_no, upper(trim("StockCode")) as stock_code,
    regexp_replace(trim("Description"), '\\s+', ' ', 'g') as description, "Quantity"::integer as quantity,
    "InvoiceDate"::timestamp as invoiced_at, "Price"::decimal(18,4) as unit_price,
    "Customer ID" as customer_id, trim("Country") as country
  from read_parquet($file)
), ranked as (
  select *, invoiced_at::date as sale_date, i >= {FIRST_ROW_OF_SHEET_2} as is_sheet_2,
    bool_or(i >= {FIRST_ROW_OF_SHEET_2}) over (partition by invoice_no, invoiced_at::date) as is_restated
  from delivered
), lines as (
  select * from ranked
  where unit_price > 0 and quantity <> 0 and invoice_no not like 'A%' and stock_code not like 'TEST%'
    and is_sheet_2 = is_restated
  qualify row_number() over (
    partition by is_sheet_2, invoice_no, stock_code, description, quantity, invoiced_at, unit_price, customer_id,
      country order by i) = 1
)
select date_trunc('month', sale_date)::date as sale_month, sale_date, invoiced_at, invoice_no, stock_code,
  description, quantity, unit_price, (quantity * unit_price)::decimal(18,4) as line_amount, customer_id, country,
  case when stock_code in ('POST', 'DOT', 'C2', 'C3', '23444') then 'postage'
    when stock_code in ('BANK CHARGES', 'AMAZONFEE', 'CRUK') then 'fee'
    when stock_code = 'D' then 'discount'
    when stock_code like 'GIFT%' or stock_code = '22016' then 'gift_voucher'
    when stock_code in ('M', 'ADJUST', 'ADJUST2') then 'manual'
    when stock_code = 'S' then 'sample'
    when stock_code = 'B' then 'other'
    when regexp_matches(stock_code, '^[0-9]{{5}}') or stock_code like 'DCGS%' or stock_code in ('SP1002', 'PADS')
      then 'product'
    else 'other' end as line_type,
  invoice_no like 'C%' as is_cancelled
from lines
"""

PRODUCT_VERSIONS = """
with periods as (
  select stock_code, sale_date, sale_month, description, unit_price, is_cancelled, line_type = 'product' as is_product,
    min(sale_date) over (partition by stock_code) as first_date
  from silver
), judgements as (
  select *, first_date as valid_from, true as is_first from periods where sale_date = first_date
  union all
  select *, (sale_month + interval 1 month)::date, false from periods where is_product and sale_month < $open_month
), descriptions as (
  select stock_code, valid_from, description from judgements where description is not null
  group by stock_code, valid_from, description
  qualify row_number() over (partition by stock_code, valid_from order by count(*) desc, description) = 1
), judged as (
  select stock_code, valid_from, any_value(is_first) as is_first, any_value(d.description) as description,
    case when any_value(is_product) then quantile_disc(unit_price, 0.5) filter (not is_cancelled) end as price
  from judgements left join descriptions d using (stock_code, valid_from)
  group by stock_code, valid_from
), compared as (
  select *, last_value(description ignore nulls) over before as last_description,
    last_value(price ignore nulls) over before as last_price
  from judged
  window before as (
    partition by stock_code order by valid_from rows between unbounded preceding and 1 preceding)
), marked as (
  select *, description is not null and description is distinct from last_description as is_renamed,
    price is not null
      and (last_price is null or abs(price - last_price) > last_price * 0.1::decimal(2,1)) as is_repriced
  from compared
), in_force as (
  select stock_code, valid_from, is_first or is_renamed or is_repriced as starts,
    last_value(description ignore nulls) over so_far as description,
    last_value(case when is_repriced then price end ignore nulls) over so_far as recommended_price
  from marked
  window so_far as (
    partition by stock_code order by valid_from rows between unbounded preceding and current row)
)
select stock_code, description, recommended_price, valid_from,
  lead(valid_from) over member as valid_to,
  lead(valid_from) over member is null as is_current,
  (row_number() over member)::integer as version
from in_force where starts
window member as (partition by stock_code order by valid_from)
"""

CUSTOMER_VERSIONS = """
with customers as (
  select customer_id, min(sale_date) as registration_date from silver where customer_id is not null group by 1
), closes as (
  select unnest(generate_series(min(sale_month)::timestamp, $open_month::timestamp - interval 1 month,
    interval 1 month))::date as close from silver
), invoices as (
  select customer_id, invoice_no, sale_date, is_cancelled, sum(line_amount) as amount,
    coalesce(sum(line_amount) filter (line_type = 'product'), 0) as product_amount
  from silver where customer_id is not null group by 1, 2, 3, 4
), bought as (
  select close, customer_id, last_day(close) - max(sale_date) filter (not is_cancelled) as recency,
    count(*) filter (not is_cancelled) as frequency, sum(product_amount) as monetary
  from closes join invoices on sale_date > last_day((close - interval 12 month)::date) and sale_date <= last_day(close)
  group by 1, 2 having frequency > 0
), scored as (
  select close, customer_id,
    1 + (5 * (rank() over (partition by close order by recency desc) - 1)) // count(*) over (partition by close) as r,
    1 + (5 * (rank() over (partition by close order by frequency) - 1)) // count(*) over (partition by close) as f,
    1 + (5 * (rank() over (partition by close order by monetary) - 1)) // count(*) over (partition by close) as m
  from bought
), countries as (
  select customer_id, close, arg_max(country, (invoiced_at, invoice_no)) as country
  from closes join silver on sale_date <= last_day(close) where customer_id is not null group by 1, 2
), totals as (
  select customer_id, close, sum(amount) as net, coalesce(sum(amount) filter (not is_cancelled), 0) as spent,
    count(*) filter (not is_cancelled) as orders
  from closes join invoices on sale_date <= last_day(close) group by 1, 2
), judged as (
  select customer_id, registration_date, close, (close + interval 1 month)::date as holds_from, country, r, f, m,
    coalesce(segment, 'Others') as segment, net, spent, orders
  from customers join closes on last_day(close) >= registration_date
    join countries using (customer_id, close) join totals using (customer_id, close)
    left join scored using (customer_id, close) left join segments using (r, f, m)
  union all
  select customer_id, registration_date, null, registration_date,
    arg_max(country, (invoiced_at, s.invoice_no)), null, null, null, 'New Customers',
    sum(line_amount), coalesce(sum(line_amount) filter (not is_cancelled), 0),
    count(distinct s.invoice_no) filter (not is_cancelled)
  from customers join silver s using (customer_id) where sale_date = registration_date group by 1, 2
), marked as (
  select *, (lag(segment) over member, lag(country) over member) is distinct from (segment, country)
    or row_number() over member = 1 as starts
  from judged window member as (partition by customer_id order by holds_from)
), numbered as (
  select *, (count(*) filter (starts) over (partition by customer_id order by holds_from))::integer as version
  from marked
), versions as (
  select customer_id, registration_date, version, min(holds_from) as valid_from, max_by(close, holds_from) as close,
    max_by((r, f, m, segment, country, net, spent, orders), holds_from) as last
  from numbered group by 1, 2, 3
)
select customer_id,
  case when close is null then 'New'
    when last[3] is null then 'Inactive' when last[3] = 5 then 'High Value' when last[3] >= 3 then 'Mid Value'
    else 'Low Value' end as customer_segment,
  registration_date, last[6]::decimal(18,4) as lifetime_value, last[8] as total_orders,
  last[7]::decimal(18,4) as total_spent,
  case when last[8] > 0
    then (((2 * last[7] * 10000 + last[8])::hugeint // (2 * last[8])) * 0.0001::decimal(5,4))::decimal(18,4) end
    as avg_order_value,
  last[1]::smallint as recency_score, last[2]::smallint as frequency_score, last[3]::smallint as monetary_score,
  last[4] as rfm_segment, last[5] as country, valid_from,
  lead(valid_from) over (partition by customer_id order by valid_from) as valid_to,
  lead(valid_from) over (partition by customer_id order by valid_from) is null as is_current, version
from versions
"""


@pytest.fixture(scope="module")
def silver() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        file = Path(os.environ["RETAIL_REAL_DATA"]) / "online_retail_II.parquet"
        connection.execute(SILVER, {"file": str(file)})
        yield connection


@pytest.fixture(scope="module")
def lines(silver: duckdb.DuckDBPyConnection) -> nw.LazyFrame[Any]:
    frame: nw.LazyFrame[Any] = nw.from_native(silver.table("silver").pl().lazy())
    return frame


def test_the_lines_are_the_known_ones(lines: nw.LazyFrame[Any]) -> None:
    found = lines.to_native().select(pl.len(), pl.col("line_amount").sum()).collect().row(0)

    assert [str(value) for value in found] == ["1027002", "19002944.2780"]


def test_product_versions_are_those_of_the_rules_in_sql(
    silver: duckdb.DuckDBPyConnection, lines: nw.LazyFrame[Any]
) -> None:
    months = product_months(lines).collect().to_native()
    versions = product_versions(nw.from_native(months.lazy()), OPEN_MONTH).collect().to_native()
    expected = silver.sql(PRODUCT_VERSIONS, params={"open_month": OPEN_MONTH}).pl()

    PRODUCT_MONTHS.contract.validate(months)
    frames = (nw.from_native(frame.lazy()) for frame in (versions, months, PRODUCT_CATEGORY.empty()))
    DIM_PRODUCT.contract.validate(product_dimension(*frames).collect().to_native())
    assert expected.height > 15_000
    assert_frame_equal(versions, expected.select(versions.columns), check_row_order=False)


def test_customer_versions_are_those_of_the_rules_in_sql(
    silver: duckdb.DuckDBPyConnection, lines: nw.LazyFrame[Any]
) -> None:
    months = customer_months(lines).collect().to_native()
    versions = customer_versions(nw.from_native(months.lazy()), OPEN_MONTH)
    dimension = customer_dimension(versions).collect().to_native()
    scores = [(r, f, m, segment_of(r, f, m)) for r, f, m in product(range(1, 6), repeat=3)]
    silver.register("segments", pl.DataFrame(scores, schema=["r", "f", "m", "segment"], orient="row").to_arrow())
    expected = silver.sql(CUSTOMER_VERSIONS, params={"open_month": OPEN_MONTH}).pl()

    CUSTOMER_MONTHS.contract.validate(months)
    DIM_CUSTOMER.contract.validate(dimension)
    assert_frame_equal(
        dimension.filter(pl.col("customer_id").is_not_null()).select(expected.columns), expected, check_row_order=False
    )


def test_every_segment_occurs(lines: nw.LazyFrame[Any]) -> None:
    scores = score_customers(customer_months(lines), date(2011, 11, 1), date(2011, 11, 1)).collect().to_native()

    assert scores.height == 4_297
    assert scores.filter(pl.col("frequency_score") == 1).height == 1_538
    assert scores["rfm_segment"].n_unique() == 7


def test_every_spelling_of_a_country_is_mapped(lines: nw.LazyFrame[Any]) -> None:
    spellings = nw.from_native(alias_keys(read_country_aliases()).lazy())

    assert lines.to_native().select("country").unique().collect().height == 43
    assert unmapped_spellings(lines, spellings).collect().is_empty()
