"""Reports over HTTP, on the small shop."""

import pytest

from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.rest.test_sales import wrong
from retail_platform_tests.serving.served import Served

MART = "/api/v1/datamart"


def test_the_dashboard(shop: Served) -> None:
    before = shop.statements
    overview = shop.json(f"{MART}/dashboard/overview", Role.VIEWER)["data"]
    assert shop.statements == before + 1
    assert overview["freshness"]["newest_sale_date"] == "2011-03-31"
    assert overview["metrics"][0]["period"] == "today"
    figures = {(each["period"], each["metric"]): each["value"] for each in overview["metrics"]}
    assert figures["today", "net_revenue"] == 4.5


def test_sales_over_time(shop: Served) -> None:
    answer = shop.json(f"{MART}/sales/analytics?granularity=monthly")
    assert [(row["period"], row["net_revenue"]) for row in answer["data"]] == [
        ("2010-12-01", 20.1234),
        ("2011-01-01", 6.25),
        ("2011-03-01", 4.5),
    ]
    assert answer["filters_applied"] == {"granularity": "MONTHLY"}
    assert answer == shop.json(f"{MART}/sales/analytics")


@pytest.mark.parametrize(
    ("granularity", "periods"), [("daily", 4), ("WEEKLY", 3), ("monthly", 3), ("quarterly", 2), ("yearly", 2)]
)
def test_granularities(shop: Served, granularity: str, periods: int) -> None:
    assert len(shop.json(f"{MART}/sales/analytics?granularity={granularity}")["data"]) == periods


def test_days_of_a_report_are_inclusive(shop: Served) -> None:
    asked = "granularity=daily&date_from=2011-01-04&date_to=2011-01-05"
    answer = shop.json(f"{MART}/sales/analytics?{asked}")
    assert [row["period"] for row in answer["data"]] == ["2011-01-04", "2011-01-05"]


def test_segments(shop: Served) -> None:
    assert sum(row["customer_count"] for row in shop.json(f"{MART}/customers/segments")["data"]) == 2


def test_products_by_metric(shop: Served) -> None:
    best = shop.json(f"{MART}/products/performance?metric=revenue&top_n=1")
    assert [row["stock_code"] for row in best["data"]] == ["10002"]
    assert best["pagination"]["total"] == 2
    next_best = shop.json(f"{MART}/products/performance?metric=revenue&top_n=1&page=2")
    assert [row["stock_code"] for row in next_best["data"]] == ["10001"]
    returned = shop.json(f"{MART}/products/performance?metric=return_rate&top_n=1")
    assert [row["stock_code"] for row in returned["data"]] == ["10001"]


def test_countries(shop: Served) -> None:
    answer = shop.json(f"{MART}/countries/sales?country=UK")
    assert [(row["sale_month"], row["net_revenue"]) for row in answer["data"]] == [
        ("2010-12-01", 13.0),
        ("2011-01-01", -7.75),
    ]
    assert answer["filters_applied"] == {"country": "UK"}


def test_cohorts(shop: Served) -> None:
    answer = shop.json(f"{MART}/customers/cohorts?max_months=0")
    assert [(row["cohort_month"], row["cohort_size"]) for row in answer["data"]] == [
        ("2010-12-01", 1),
        ("2011-01-01", 1),
    ]


@pytest.mark.parametrize(
    ("asked", "argument"),
    [
        ("sales/analytics?granularity=hourly", "granularity"),
        ("sales/analytics?date_to=yesterday", "date_to"),
        ("products/performance?metric=beauty", "metric"),
        ("products/performance?top_n=1000000", "top_n"),
        ("products/performance?size=2", "size"),
        ("countries/sales?country=' or 1=1", "country"),
        ("customers/segments?segment=Champions", "segment"),
        ("dashboard/overview?day=2011-01-01", "day"),
    ],
)
def test_what_is_wrong_is_named(shop: Served, asked: str, argument: str) -> None:
    assert wrong(shop.get(f"{MART}/{asked}")) == (400, argument)
