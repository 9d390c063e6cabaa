"""REST on the real data, compared with SQL of its own on the raw file."""

import json
import os
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.served import Served

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

UK_2011 = "country = 'United Kingdom' and sold >= date '2011-01-01'"


def exact(served: Served, path: str) -> Any:
    """The answer with every decimal place."""
    response = served.get(path)
    assert response.status_code == 200, response.text
    return json.loads(response.content, parse_float=Decimal)


def test_sales_of_a_country_the_largest_first(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    answer = exact(real, "/api/v1/sales?page=1&size=50&country=UK&date_from=2011-01-01&sort=total_amount:desc")
    expected = raw_lines.sql(
        f"""
        select invoice, code, quantity, (quantity * price)::decimal(18, 4) from lines where {UK_2011}
        order by quantity * price desc limit 50
        """
    ).fetchall()
    columns = ("invoice_no", "stock_code", "quantity", "total_amount")
    found = [tuple(row[name] for name in columns) for row in answer["data"]]
    assert [row[-1] for row in found] == [row[-1] for row in expected]
    # Of equal amounts at the end of the page, either may be on it.
    assert set(found[:40]) <= set(expected)
    (total,) = raw_lines.sql(f"select count(*) from lines where {UK_2011}").fetchall()[0]
    assert answer["pagination"] == {
        "page": 1,
        "size": 50,
        "total": total,
        "pages": -(-total // 50),
        "has_next": True,
        "has_prev": False,
    }


def test_monthly_analytics(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select strftime(sold, '%Y-%m-01'), sum(quantity * price)::decimal(18, 4),
            count(distinct invoice) filter (where invoice not like 'C%'),
            count(distinct customer) filter (where invoice not like 'C%'), sum(quantity)::bigint
        from lines group by 1 order by 1
        """
    ).fetchall()
    columns = ("period", "net_revenue", "order_count", "customer_count", "unit_count")
    answer = exact(real, "/api/v1/datamart/sales/analytics?granularity=monthly")
    assert [tuple(row[name] for name in columns) for row in answer["data"]] == expected


def test_the_best_products(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select code, sum(quantity * price)::decimal(18, 4) from lines
        where regexp_matches(code, '^[0-9]{5}') and code not in ('23444', '22016')
        group by 1 order by 2 desc limit 20
        """
    ).fetchall()
    answer = exact(real, "/api/v1/datamart/products/performance?metric=revenue&top_n=20")
    assert [(row["stock_code"], row["net_revenue"]) for row in answer["data"]] == expected


def test_cursors_walk_a_month_and_find_every_line_once(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    month = "date_from=2011-11-01&date_to=2011-11-30"
    cursor, found, before, pages = "", [], real.statements, 0
    while cursor is not None:
        answer = exact(real, f"/api/v2/sales?{month}&size=1000&sort=total_amount:desc&cursor={cursor}")
        found += answer["data"]
        cursor, pages = answer["pagination"]["next_cursor"], pages + 1
    assert real.statements == before + pages
    assert len({row["sale_id"] for row in found}) == len(found)
    columns = ("invoice_no", "stock_code", "description", "quantity", "unit_price", "invoiced_at")
    expected = raw_lines.sql(
        """
        select invoice, code, description, quantity, price, strftime(invoiced, '%Y-%m-%dT%H:%M:%S') from lines
        where sold between date '2011-11-01' and date '2011-11-30'
        """
    ).fetchall()
    # The product's description is of its version; all else is the line's own.
    ours = sorted(tuple(row[name] for name in columns if name != "description") for row in found)
    assert ours == sorted((*row[:2], *row[3:]) for row in expected)


def test_aggregations_and_the_quality_of_days(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    asked = "date_from=2010-11-01&date_to=2010-12-09&countries=UK,EIRE&include_aggregations=true&size=1"
    answer = exact(real, f"/api/v2/sales?{asked}")
    days = "between date '2010-11-01' and date '2010-12-09'"
    expected = raw_lines.sql(
        f"""
        select count(*) as line_count, sum(quantity * price)::decimal(18, 4) as net_revenue,
            sum(quantity)::bigint as unit_count, round(sum(quantity * price)::decimal(18, 4) / count(*), 4) as avg,
            count(distinct invoice) filter (where invoice not like 'C%') as order_count,
            count(distinct customer) filter (where invoice not like 'C%') as customer_count
        from lines where country in ('United Kingdom', 'EIRE') and sold {days}
        """
    ).fetchall()[0]
    found = list(answer["aggregations"].values())
    assert found[3] == pytest.approx(Decimal(str(expected[3])), abs=Decimal("0.0001"))
    assert found[:3] + found[4:] == [*expected[:3], *expected[4:]]
    counts = raw_lines.sql(
        f"""
        select (select count(*) from numbered where InvoiceDate::date {days}),
            (select count(*) from lines where sold {days})
        """
    ).fetchall()[0]
    quality = answer["data_quality"]
    assert (quality["delivered_rows"], quality["accepted_rows"]) == counts
    assert quality["delivered_rows"] == quality["accepted_rows"] + quality["rejected_rows"]
    assert quality["superseded_rows"] > 0


def test_groups_of_sales(real: Served, raw_lines: duckdb.DuckDBPyConnection) -> None:
    expected = raw_lines.sql(
        """
        select strftime(sold, '%B'), sum(quantity * price)::decimal(18, 4), count(*), count(distinct customer)
        from lines where country = 'EIRE' group by 1 having count(*) > 1000 order by 2 desc
        """
    ).fetchall()
    asked = {
        "group_by": ["date.month_name"],
        "measures": ["sum:total_amount", "count", "count_distinct:customer_id"],
        "filters": {"country": "EIRE"},
        "having": {"count": {"gt": 1000}},
        "sort": ["sum:total_amount:desc"],
    }
    response = real.clients[Role.ANALYST].post("/api/v2/sales/analytics", json=asked)
    assert response.status_code == 200, response.text
    answer = json.loads(response.content, parse_float=Decimal)
    assert [tuple(row.values()) for row in answer["data"]] == expected


def test_a_viewer_counts_many_customers_and_not_few(real: Served) -> None:
    asked = {"group_by": ["country_name"], "measures": ["count_distinct:customer_id"]}
    answers = [
        real.clients[role].post("/api/v2/sales/analytics", json=asked).json() for role in (Role.ANALYST, Role.VIEWER)
    ]
    exact, shown = (
        {row["country_name"]: row["count_distinct_customer_id"] for row in answer["data"]} for answer in answers
    )
    assert shown == {name: count if count >= 5 else None for name, count in exact.items()}
    assert shown["United Kingdom"] > 1000
    assert None in shown.values()


def test_a_page_of_a_million_rows_is_refused(real: Served) -> None:
    for path in ("/api/v1/sales", "/api/v2/sales", "/api/v1/gold/fact_sale"):
        response = real.get(f"{path}?size=1000000")
        assert response.status_code == 400
        assert "/api/v2/sales/export" in response.json()["detail"]
