"""Sales over HTTP, on a shop small enough to be worked out by hand."""

from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.served import Served

ISSUE = "/api/v1/sales?page=1&size=50&country=UK&date_from=2011-01-01&sort=total_amount:desc"


def amounts(answer: dict[str, list[dict[str, float]]]) -> list[float]:
    return [row["total_amount"] for row in answer["data"]]


def wrong(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    return response.status_code, problem["errors"][0]["argument"]


def test_a_page_as_the_documentation_has_it(shop: Served) -> None:
    answer = shop.json(ISSUE)
    assert amounts(answer) == [2.25, -10]
    assert answer["pagination"] == {
        "page": 1,
        "size": 50,
        "total": 2,
        "pages": 1,
        "has_next": False,
        "has_prev": False,
    }
    assert answer["filters_applied"] == {"date_from": "2011-01-01", "country": "UK", "country_code": "GB"}
    row = answer["data"][1]
    assert row.pop("sale_id")
    assert row == {
        "sale_date": "2011-01-04",
        "invoiced_at": "2011-01-04T10:00:00",
        "invoice_no": "C500003",
        "stock_code": "10001",
        "description": "RED MUG",
        "country_code": "GB",
        "country_name": "United Kingdom",
        "customer_id": "12001",
        "quantity": -4,
        "unit_price": 2.5,
        "total_amount": -10,
        "total_amount_eur": -11.6448,
        "total_amount_usd": -15.6285,
        "line_type": "product",
        "is_cancelled": True,
    }


def test_amounts_are_exact_numbers(shop: Served) -> None:
    assert b'"total_amount":7.1234,' in shop.get("/api/v1/sales?country=Ireland").content


@pytest.mark.parametrize(
    ("filters", "total"),
    [
        ("", 8),
        ("date_from=2011-01-05&date_to=2011-01-05", 3),
        ("country=EIRE", 1),
        ("country=gb", 4),
        ("countries=USA,France", 3),
        ("stock_code=10002", 3),
        ("invoice_no=500001", 2),
        ("customer_id=12002", 3),
        ("line_type=postage", 1),
        ("is_cancelled=true", 1),
        ("is_cancelled=false&country=UK", 3),
        ("min_amount=4.5&max_amount=7.1234", 2),
    ],
)
def test_filters(shop: Served, filters: str, total: int) -> None:
    assert shop.json(f"/api/v1/sales?{filters}")["pagination"]["total"] == total


def test_pages_follow_one_another(shop: Served) -> None:
    pages = [shop.json(f"/api/v1/sales?size=3&page={page}&sort=total_amount") for page in (1, 2, 3, 4)]
    assert [len(page["data"]) for page in pages] == [3, 3, 2, 0]
    assert [page["pagination"]["has_next"] for page in pages] == [True, True, False, False]
    assert [page["pagination"]["has_prev"] for page in pages] == [False, True, True, True]
    found = [amount for page in pages for amount in amounts(page)]
    assert found == sorted(found)


def test_cursors_walk_every_line_once(shop: Served) -> None:
    cursor, found = "", []
    while cursor is not None:
        answer = shop.json(f"/api/v2/sales?size=3&sort=country_name,total_amount:desc&cursor={cursor}")
        found += [row["sale_id"] for row in answer["data"]]
        cursor = answer["pagination"]["next_cursor"]
        assert answer["pagination"]["has_next"] == (cursor is not None)
    assert len(found) == len(set(found)) == 8


def test_aggregations_and_the_quality_of_the_days(shop: Served) -> None:
    answer = shop.json("/api/v2/sales?date_from=2011-01-01&countries=UK,US&include_aggregations=true&size=1")
    assert answer["filters_applied"] == {"date_from": "2011-01-01", "countries": ["GB", "US"]}
    assert answer["aggregations"] == {
        "line_count": 4,
        "net_revenue": 6.25,
        "unit_count": 9,
        "avg_line_amount": 1.5625,
        "order_count": 2,
        "customer_count": 2,
    }
    quality = answer["data_quality"]
    assert (quality["day_count"], quality["delivered_rows"], quality["accepted_rows"]) == (3, 7, 5)
    assert (quality["duplicate_line_rows"], quality["zero_price_rows"]) == (1, 1)
    assert quality["acceptance_pct"] == pytest.approx(100 * 5 / 7, abs=1e-4)


def test_aggregations_of_nothing(shop: Served) -> None:
    answer = shop.json("/api/v2/sales?date_from=2020-01-01&include_aggregations=true")
    assert answer["data"] == []
    assert answer["aggregations"]["line_count"] == 0
    assert answer["aggregations"]["net_revenue"] is None
    assert answer["data_quality"]["acceptance_pct"] is None


def test_groups(shop: Served) -> None:
    asked = {
        "group_by": ["country_name"],
        "measures": ["sum:total_amount", "count", "count_distinct:customer_id"],
        "filters": {"date_from": "2010-12-30", "line_type": "product"},
        "having": {"sum": {"total_amount": {"gt": 2}}},
        "sort": ["sum:total_amount:desc"],
        "limit": 2,
    }
    response = shop.clients[Role.VIEWER].post("/api/v2/sales/analytics", json=asked)
    assert response.status_code == 200, response.text
    assert response.json() == {
        "data": [
            {"country_name": "United States", "sum_total_amount": 14, "count": 2, "count_distinct_customer_id": None},
            {"country_name": "Ireland", "sum_total_amount": 7.1234, "count": 1, "count_distinct_customer_id": None},
        ],
        "pagination": {"page": 1, "size": 2, "has_next": True},
        "filters_applied": {"date_from": "2010-12-30", "line_type": "product"},
    }


@pytest.mark.parametrize(
    ("asked", "argument"),
    [
        ("size=1000000", "size"),
        ("size=0", "size"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("contry=UK", "contry"),
        ("country=Atlantis", "country"),
        ("country=", "country"),
        ("countries=UK,Atlantis", "countries"),
        ("date_from=20110231", "date_from"),
        ("date_from=1293840000", "date_from"),
        ("line_type=gold", "line_type"),
        ("min_amount=NaN", "min_amount"),
        ("min_amount=1e400", "min_amount"),
        ("min_amount=1_000", "min_amount"),
        ("page=1.0", "page"),
        ("is_cancelled=perhaps", "is_cancelled"),
        ("sort=revenue", "sort"),
        ("sort=total_amount:up", "sort"),
        ("page=1&page=2", "page"),
        ("invoice_no=%00", "invoice_no"),
    ],
)
def test_what_is_wrong_is_named(shop: Served, asked: str, argument: str) -> None:
    before = shop.statements
    assert wrong(shop.get(f"/api/v1/sales?{asked}")) == (400, argument)
    assert shop.statements == before


def test_groups_by_the_names_of_sales(shop: Served) -> None:
    asked = {
        "group_by": ["country_name"],
        "measures": ["count_distinct:invoice_no"],
        "having": {"count_distinct": {"invoice_no": {"gt": 1}}},
    }
    response = shop.clients[Role.VIEWER].post("/api/v2/sales/analytics", json=asked)
    assert response.json()["data"] == [{"country_name": "United Kingdom", "count_distinct_invoice_no": 3}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v2/sales/analytics", {"group_by": ["nope"]}),
        ("/api/v2/sales/analytics", {"measures": ["sum:nope"]}),
        ("/api/v2/sales/analytics", {"having": {"sum": {"nope": {"gt": 1}}}}),
        ("/api/v2/sales/export", {"columns": ["nope"]}),
        ("/api/v2/sales/export", {"sort": ["nope"]}),
    ],
)
def test_an_unknown_column_is_told_what_the_route_takes(shop: Served, path: str, body: dict[str, Any]) -> None:
    response = shop.clients[Role.ANALYST].post(path, json=body)
    assert response.status_code == 400
    assert "it may be sale_id, sale_date, invoiced_at, invoice_no, stock_code" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v2/sales/analytics", rb'{"having":{"\ud800":1}}'),
        ("/api/v1/exports/fact_sale", rb'{"filters":{"\ud800":1}}'),
        ("/api/v1/exports/fact_sale", rb'{"filters":{"quantity":{"\u0000":1}}}'),
        ("/api/v2/sales/analytics", b'{"filters":{"country":""}}'),
        ("/api/v2/sales/export", b'{"filters":{"country":""}}'),
    ],
)
def test_what_is_no_name_is_refused(shop: Served, path: str, body: bytes) -> None:
    response = shop.clients[Role.ANALYST].post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text


def test_an_error_repeats_little_of_what_was_sent(shop: Served) -> None:
    long = "x" * 100_000
    bodies: list[dict[str, Any]] = [
        {"having": long},
        {"having": {long: 1}},
        {"having": {"sum": {long: {}}}},
        {"group_by": [long]},
    ]
    for body in bodies:
        response = shop.clients[Role.ANALYST].post("/api/v2/sales/analytics", json=body)
        assert (response.status_code // 100, len(response.content) < 2000) == (4, True), response.text[:300]


def test_a_cursor_of_another_order_is_refused(shop: Served) -> None:
    cursor = shop.json("/api/v2/sales?size=1")["pagination"]["next_cursor"]
    assert wrong(shop.get(f"/api/v2/sales?size=1&sort=total_amount&cursor={cursor}")) == (400, "cursor")
    assert wrong(shop.get("/api/v2/sales?cursor=%27%3B+drop+table")) == (400, "cursor")


@pytest.mark.parametrize("name", ["country", "stock_code", "invoice_no", "customer_id", "line_type", "sort", "date_to"])
def test_sql_in_every_text(shop: Served, name: str) -> None:
    response = shop.clients[Role.ANALYST].get("/api/v1/sales", params={name: "' or 1=1; drop table gold.fact_sale; --"})
    assert response.status_code == (200 if name in ("stock_code", "invoice_no", "customer_id") else 400)
    if response.status_code == 200:
        assert response.json()["data"] == []
    assert shop.json("/api/v1/sales")["pagination"]["total"] == 8


def test_a_viewer_sees_no_customers(shop: Served) -> None:
    assert {row["customer_id"] for row in shop.json("/api/v1/sales", Role.VIEWER)["data"]} == {"masked"}
    assert "12001" in {row["customer_id"] for row in shop.json("/api/v1/sales")["data"]}
    assert wrong(shop.get("/api/v1/sales?customer_id=12001", Role.VIEWER)) == (403, "customer_id")
    assert wrong(shop.get("/api/v1/sales?sort=customer_id", Role.VIEWER)) == (403, "sort")
    for group_by in ("customer_id", "customer.rfm_segment", "customer_key"):
        response = shop.clients[Role.VIEWER].post("/api/v2/sales/analytics", json={"group_by": [group_by]})
        assert wrong(response) == (403, "group_by")


def test_one_statement_a_request(shop: Served) -> None:
    for path in (
        "/api/v1/sales?size=2&sort=quantity",
        "/api/v1/sales?size=2&sort=quantity&page=2",
        "/api/v2/sales?include_aggregations=true&stock_code=10001",
        "/api/v2/sales?include_aggregations=true&stock_code=10001",
    ):
        before = shop.statements
        shop.json(path)
        assert shop.statements == before + 1


def test_an_unchanged_answer_is_not_sent_again(shop: Served) -> None:
    first = shop.get(ISSUE)
    before = shop.statements
    again = shop.get(ISSUE, **{"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert shop.statements == before + 1
    assert shop.get(ISSUE, **{"If-None-Match": '"x"'}).status_code == 200
    assert shop.get(ISSUE, Role.VIEWER, **{"If-None-Match": first.headers["etag"]}).status_code == 200
    assert "Authorization" in first.headers["vary"]


def test_a_publication_changes_the_tag(shop: Served) -> None:
    first = shop.get(ISSUE)
    publish = "insert into platform.publication (version, run_id, marts) values (%s, 'test', '{}')"
    with shop.database.connect() as connection:
        connection.execute(publish, [1000])
    try:
        second = shop.get(ISSUE, **{"If-None-Match": first.headers["etag"]})
    finally:
        with shop.database.connect() as connection:
            connection.execute("delete from platform.publication where version = 1000")
    assert second.status_code == 200
    assert second.headers["etag"] != first.headers["etag"]
    assert second.content == first.content


def test_every_way_to_a_page_shows_the_same_lines(shop: Served) -> None:
    by_number = shop.json("/api/v1/sales?sort=total_amount:desc")["data"]
    by_cursor = shop.json("/api/v2/sales?sort=total_amount:desc")["data"]
    assert by_number == by_cursor
    exact = orjson.loads(shop.get("/api/v1/sales").content)["data"]
    assert sum(Decimal(str(row["total_amount"])) for row in exact) == Decimal("30.8734")
