"""Figures of GraphQL, compared with SQL on the raw file."""

import os
from decimal import Decimal

import duckdb
import pytest

from retail_platform.serving.graphql.page import DEFAULT_QUERY
from retail_platform_tests.serving.graphql.asking import data
from retail_platform_tests.serving.served import Served

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]


@pytest.mark.parametrize("granularity", ["DAILY", "WEEKLY", "MONTHLY", "QUARTERLY", "YEARLY"])
def test_sales_analytics_equal_sql_on_the_raw_file(
    real: Served, raw_lines: duckdb.DuckDBPyConnection, granularity: str
) -> None:
    unit = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "QUARTERLY": "quarter", "YEARLY": "year"}[granularity]
    expected = raw_lines.sql(
        f"""
        select date_trunc('{unit}', sold)::date::text, sum(quantity * price)::decimal(18, 4)::text,
            count(distinct customer) filter (where invoice not like 'C%')
        from lines group by 1 order by 1
        """
    ).fetchall()
    rows = data(real, DEFAULT_QUERY, granularity=granularity)["salesAnalytics"]
    assert [tuple(row.values()) for row in rows] == expected


def test_groups_equal_sql_on_the_raw_file(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select date_part('year', sold)::integer, count(*), sum(quantity), sum(quantity * price)::decimal(18, 4),
            count(distinct customer)
        from lines where country = 'Germany' and quantity > 0 group by 1 having count(*) > 10 order by 4 desc
        """
    ).fetchall()
    query = """{
      factSaleAggregate(where: {country: {countryCode: {eq: "DE"}}, quantity: {gt: 0}}, having: {count: {gt: 10}},
                        orderBy: [{function: SUM, field: TOTAL_AMOUNT, direction: DESC}]) {
        group { date { year } } count sum { quantity totalAmount } countDistinct { customer { customerId } }
      }
    }"""
    found = [
        (
            row["group"]["date"]["year"],
            row["count"],
            row["sum"]["quantity"],
            Decimal(row["sum"]["totalAmount"]),
            row["countDistinct"]["customer"]["customerId"],
        )
        for row in data(real, query)["factSaleAggregate"]
    ]
    assert found == expected


def test_a_nested_query_over_all_sales_is_one_statement(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select country, count(*), sum(quantity * price)::decimal(18, 4)::text from lines
        where country in ('France', 'Germany', 'Spain') group by 1 order by 1
        """
    ).fetchall()
    query = """{
      dimCountryConnection(where: {countryCode: {in: ["DE", "ES", "FR"]}}, orderBy: [{field: COUNTRY_NAME}]) {
        nodes {
          countryName
          factSales(first: 5) { totalCount nodes { invoice { invoiceNo } customer { rfmSegment } } }
          factSalesAggregate { sum { totalAmount } }
        }
      }
    }"""
    before = real.statements
    nodes = data(real, query)["dimCountryConnection"]["nodes"]
    assert real.statements == before + 1
    found = [
        (node["countryName"], node["factSales"]["totalCount"], node["factSalesAggregate"][0]["sum"]["totalAmount"])
        for node in nodes
    ]
    assert found == expected
    assert all(len(node["factSales"]["nodes"]) == 5 for node in nodes)
