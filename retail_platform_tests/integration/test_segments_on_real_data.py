"""Segments over time and cohorts of the real data, against the rules of docs/segments.md in SQL on the raw lines."""

import os
from datetime import date
from typing import Any

import duckdb
import pytest

from retail_platform.settings import Settings
from retail_platform.warehouse.query import query_warehouse
from retail_platform.warehouse.server import warehouse_database

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

CLOSES = [date(2010, 3, 31), date(2011, 10, 31), date(2011, 11, 30)]

JUDGED = """
with closes as (
    select unnest(['2010-03-31', '2011-10-31', '2011-11-30'])::date as as_of_date
), invoices as (
    select customer, invoice, sold, invoice like 'C%' as is_cancelled, sum(quantity * price) as net,
        coalesce(sum(quantity * price) filter (
            (regexp_matches(code, '^[0-9]{5}') and code not in ('23444', '22016'))
            or code like 'DCGS%' or code in ('SP1002', 'PADS')), 0) as products
    from lines where customer is not null group by all
), known as (
    select as_of_date, customer,
        count(*) filter (not is_cancelled and sold > as_of_year) as frequency,
        as_of_date - max(sold) filter (not is_cancelled and sold > as_of_year) as recency,
        sum(products) filter (sold > as_of_year) as monetary,
        count(*) filter (not is_cancelled and sold >= date_trunc('month', as_of_date)) as order_count,
        coalesce(sum(net) filter (sold >= date_trunc('month', as_of_date)), 0)::decimal(18, 4) as net_revenue
    from (select *, last_day((as_of_date - interval 12 month)::date) as as_of_year from closes)
    join invoices on sold <= as_of_date group by as_of_date, as_of_year, customer
), ranked as (
    select *, count(*) over close as n, rank() over (close order by recency desc) as by_recency,
        rank() over (close order by frequency) as by_frequency, rank() over (close order by monetary) as by_monetary
    from known where frequency > 0 window close as (partition by as_of_date)
), scored as (
    select as_of_date, customer, 1 + 5 * (by_recency - 1) // n as r, 1 + 5 * (by_frequency - 1) // n as f,
        1 + 5 * (by_monetary - 1) // n as m
    from ranked
)
select as_of_date, customer as customer_id, case
        when r is null then 'Others'
        when r >= 4 and f >= 4 and m >= 4 then 'Champions'
        when r <= 2 and f >= 4 and m >= 4 then 'Cannot Lose Them'
        when r <= 2 and (f >= 3 or m >= 4) then 'At Risk'
        when r >= 3 and f >= 3 then 'Loyal Customers'
        when r >= 3 and m >= 4 then 'Big Spenders'
        when r >= 4 and f = 1 then 'New Customers'
        else 'Others' end as rfm_segment, r, f, m, order_count, net_revenue
from known left join scored using (as_of_date, customer) order by 1, 2
"""

TRANSITIONS = """
select coalesce(b.rfm_segment, 'Not Yet a Customer'), a.rfm_segment, count(*), sum(a.net_revenue)::decimal(18, 4)
from judged a left join judged b on a.customer_id = b.customer_id and b.as_of_date = '2011-10-31'
where a.as_of_date = '2011-11-30' group by all order by 1, 2
"""

COHORTS = """
with firsts as (
    select customer, date_trunc('month', min(sold))::date as cohort from lines
    where customer is not null and invoice not like 'C%' group by 1
), sizes as (
    select cohort, count(*) as customers from firsts group by 1
), months as (
    select cohort, date_trunc('month', sold)::date as month, sum(quantity * price)::decimal(18, 4) as revenue,
        count(distinct customer) filter (invoice not like 'C%') as active
    from lines join firsts using (customer) where sold >= cohort group by all
)
select cohort, datediff('month', cohort, month), customers, active, revenue,
    sum(revenue) over (partition by cohort order by month)::decimal(18, 4)
from months join sizes using (cohort) where active > 0 or revenue <> 0 order by 1, 2
"""


@pytest.fixture(scope="module")
def judged(raw_lines: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The raw lines, with a table of every customer's segment at three closes."""
    raw_lines.execute(f"create table judged as {JUDGED}")
    return raw_lines


def ask(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    return list(query_warehouse(warehouse_database(settings), query).rows)


def test_three_closes_equal_the_rules_in_sql(real_platform: Settings, judged: duckdb.DuckDBPyConnection) -> None:
    listed = ", ".join(f"'{close}'" for close in CLOSES)
    found = ask(
        real_platform,
        "select as_of_date, customer_id, rfm_segment, recency_score, frequency_score, monetary_score, order_count,"
        f" net_revenue from gold.customer_segment_month where as_of_date in ({listed})",
    )
    expected = judged.table("judged").fetchall()
    assert len(expected) > 10_000
    assert sorted(found) == expected


def test_moves_of_a_month_equal_sql(real_platform: Settings, judged: duckdb.DuckDBPyConnection) -> None:
    found = ask(
        real_platform,
        "select from_segment, to_segment, customer_count, net_revenue from marts.segment_transitions"
        " where sale_month = '2011-11-01'",
    )
    assert sorted(found) == judged.sql(TRANSITIONS).fetchall()


def test_cohorts_equal_sql(real_platform: Settings, raw_lines: duckdb.DuckDBPyConnection) -> None:
    found = ask(
        real_platform,
        "select cohort_month, month_number, cohort_size, active_customer_count, net_revenue, cumulative_net_revenue"
        " from marts.cohort_retention where active_customer_count > 0 or net_revenue <> 0 order by 1, 2",
    )
    assert found == raw_lines.sql(COHORTS).fetchall()
