"""The grammar of tables over HTTP, on the small shop."""

from typing import Any

import pytest

from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.rest.test_sales import wrong
from retail_platform_tests.serving.served import Served

SALES = "/api/v1/gold/fact_sale"
COUNTRIES = "/api/v1/datamart/country_sales"


def test_every_table_is_listed_and_answers(shop: Served) -> None:
    tables = shop.json("/api/v1/tables")["data"]
    assert {"fact_sale", "dim_country", "day_quality", "daily_sales", "freshness"} <= {each["name"] for each in tables}
    for table in tables:
        answer = shop.json(f"{table['path']}?size=2")
        names = {column["name"] for column in table["columns"]}
        assert all(row.keys() == names for row in answer["data"]), table["name"]
        assert answer["pagination"]["page"] == 1


def test_every_table_is_in_openapi_with_its_descriptions(shop: Served) -> None:
    schema = shop.app.openapi()
    for table in shop.json("/api/v1/tables")["data"]:
        operation = schema["paths"][table["path"]]["get"]
        assert table["description"].split("\n")[0] in operation["description"]
        parameters = {each["name"]: each["description"] for each in operation["parameters"]}
        for column in table["columns"]:
            assert column["description"] in parameters[column["name"]]
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        row = schema["components"]["schemas"][answer]["properties"]["data"]["items"]["$ref"].rpartition("/")[2]
        properties = schema["components"]["schemas"][row]["properties"]
        assert properties.keys() == {column["name"] for column in table["columns"]}


@pytest.mark.parametrize(
    ("asked", "total"),
    [
        ("line_type=postage", 1),
        ("quantity.gte=3", 3),
        ("quantity.lt=0", 1),
        ("quantity.ne=1&line_type=product", 5),
        ("sale_date.in=2010-12-30,2011-03-31", 4),
        ("product.description.like=RED%25", 4),
        ("product.description.ilike=lamp%25", 3),
        ("product.description=LAMP%20%22A%22", 3),
        ("customer.customer_id.is_null=true", 1),
        ("profit_amount.is_null=false", 0),
        ("is_cancelled=true", 1),
        ("country.country_code.eq=US&total_amount.gt=4", 1),
        ('where={"or":[{"quantity":{"gt":9}},{"country":{"country_code":{"in":["FR","IE"]}}}]}', 3),
        ('where={"not":{"is_cancelled":{"eq":false}}}&line_type=product', 1),
    ],
)
def test_filters(shop: Served, asked: str, total: int) -> None:
    assert shop.json(f"{SALES}?{asked}")["pagination"]["total"] == total


def test_a_relation_to_many_rows_means_that_one_passes(shop: Served) -> None:
    found = shop.json('/api/v1/gold/dim_country?where={"fact_sales":{"quantity":{"gt":3}}}&select=country_code')
    assert sorted(row["country_code"] for row in found["data"]) == ["GB", "US"]


def test_columns_order_and_what_was_applied(shop: Served) -> None:
    answer = shop.json(f"{SALES}?select=quantity,product.stock_code&sort=quantity:desc,sale_date&size=2&quantity.gt=1")
    assert answer["data"] == [
        {"quantity": 10, "product.stock_code": "10002"},
        {"quantity": 4, "product.stock_code": "10001"},
    ]
    assert answer["filters_applied"] == {"quantity.gt": "1"}


def test_a_cursor_walks_a_table_with_a_total(shop: Served) -> None:
    cursor, found = "", []
    while cursor is not None:
        answer = shop.json(f"{SALES}?sort=product.description:desc,quantity&size=3&include_total=true&cursor={cursor}")
        assert answer["pagination"]["total"] == 8
        found += [row["sale_id"] for row in answer["data"]]
        cursor = answer["pagination"]["next_cursor"]
    assert len(found) == len(set(found)) == 8


def test_groups(shop: Served) -> None:
    answer = shop.json(
        f"{SALES}?aggregate=count,sum:total_amount,count_distinct:customer.customer_id&group_by=country.country_code"
        '&having={"count":{"gte":2}}&sort=sum:total_amount:desc&line_type=product'
    )
    assert answer["data"] == [
        {"country.country_code": "US", "count": 2, "sum_total_amount": 14, "count_distinct_customer.customer_id": 1},
        {"country.country_code": "GB", "count": 3, "sum_total_amount": 2.25, "count_distinct_customer.customer_id": 1},
    ]
    assert answer["pagination"] == {"page": 1, "size": 50, "has_next": False}


def test_groups_by_pages(shop: Served) -> None:
    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["pagination"]["has_next"]:
        page = len(pages) + 1
        pages.append(shop.json(f"{SALES}?aggregate=max:quantity&group_by=sale_date&sort=sale_date&size=2&page={page}"))
    found = [(row["sale_date"], row["max_quantity"]) for page in pages for row in page["data"]]
    assert found == [("2010-12-30", 4), ("2011-01-04", -4), ("2011-01-05", 10), ("2011-03-31", 3)]
    assert len(pages) == 2


@pytest.mark.parametrize(
    ("asked", "argument"),
    [
        ("revenue=1", "revenue"),
        ("quantity.above=1", "quantity.above"),
        ("quantity.like=1", "quantity.like"),
        ("quantity=many", "quantity"),
        ("product.colour=red", "product.colour"),
        ("is_cancelled.is_null=perhaps", "is_cancelled.is_null"),
        ("select=quantity,colour", "select"),
        ("select=", "select"),
        ("sort=quantity:", "sort"),
        ("sort=quantity:up", "sort"),
        ("total_amount=1_000", "total_amount"),
        ("page=1.0", "page"),
        ("size=1_0", "size"),
        ("having={}", "having"),
        (f"product.{'x' * 200}=1", f"product.{'x' * 92}"),
        ("where={", "where"),
        ("where=[]", "where"),
        ('where={"quantity":{"gt":"many"}}', "where.quantity.gt"),
        ("aggregate=total:quantity", "aggregate"),
        ("aggregate=sum:line_type", "aggregate"),
        ("aggregate=sum", "aggregate"),
        ("group_by=colour", "group_by"),
        ("aggregate=count&sort=quantity", "sort"),
        ("aggregate=count&select=quantity", "select"),
        ('aggregate=count&having={"sum":{"colour":{"gt":1}}}', "having.sum.colour"),
        ("page=2&cursor=", "page"),
        ("cursor=%00", "cursor"),
        ("size=1000001", "size"),
        ("line_type=%00", "line_type"),
    ],
)
def test_what_is_wrong_is_named(shop: Served, asked: str, argument: str) -> None:
    assert wrong(shop.get(f"{SALES}?{asked}")) == (400, argument)


def test_an_unknown_parameter_is_told_what_may_be_there(shop: Served) -> None:
    detail = shop.get(f"{COUNTRIES}?contry_code=GB").json()["detail"]
    assert "Did you mean country_code?" in detail
    assert "group_by" in detail


def test_two_hundred_levels_of_a_filter(shop: Served) -> None:
    nested = '{"not":' * 200 + "{}" + "}" * 200
    status, argument = wrong(shop.get(f"{SALES}?where={nested}"))
    assert status == 400
    assert argument.startswith("where.not")


def test_a_viewer_sees_masks_and_no_customers(shop: Served) -> None:
    assert {row["customer_key"] for row in shop.json(SALES, Role.VIEWER)["data"]} == {None}
    for asked in ("customer_key=1", "sort=customer_key", "group_by=customer_key", "aggregate=min:customer_key"):
        assert shop.get(f"{SALES}?{asked}", Role.VIEWER).status_code == 403, asked
    assert shop.get(f"{SALES}?customer.country=France", Role.VIEWER).status_code == 403
    assert shop.get(f"{SALES}?select=customer.customer_id", Role.VIEWER).status_code == 403
    for table in ("datamart/customer_lifetime", "gold/dim_customer"):
        assert shop.get(f"/api/v1/{table}", Role.VIEWER).status_code == 403
    counted = f"{SALES}?aggregate=count_distinct:customer_key"
    assert shop.json(counted)["data"] == [{"count_distinct_customer_key": 5}]
    assert shop.json(counted, Role.VIEWER)["data"] == [{"count_distinct_customer_key": None}]
    one = counted + '&group_by=line_type&having={"count_distinct":{"customer_key":{"lt":5}}}'
    assert len(shop.json(one)["data"]) == 1
    assert shop.json(one, Role.VIEWER)["data"] == []


def test_a_viewer_is_not_told_of_few_customers_in_any_table(shop: Served) -> None:
    for table, count in [
        ("datamart/daily_sales", "customer_count"),
        ("datamart/monthly_sales", "new_customer_count"),
        ("datamart/cohort_retention", "cohort_size"),
        ("gold/product_feature", "customer_count_all"),
    ]:
        rows, masked = (shop.json(f"/api/v1/{table}", role)["data"] for role in (Role.ANALYST, Role.VIEWER))
        assert len(rows) == len(masked) > 0
        assert any(row[count] for row in rows)
        assert {row[count] for row in masked} == {None}
        for asked in (f"{count}.lt=5", f"{count}.gte=0", f"{count}.in=1,2"):
            assert shop.json(f"/api/v1/{table}?{asked}")["data"]
            assert shop.json(f"/api/v1/{table}?{asked}", Role.VIEWER)["data"] == []
        total = f"/api/v1/{table}?aggregate=sum:{count},max:{count}"
        assert shop.json(total, Role.VIEWER)["data"] == [{f"sum_{count}": None, f"max_{count}": None}]
        key = f"/api/v1/{table}?group_by={count}&aggregate=count"
        assert shop.json(key, Role.VIEWER)["data"] == [{count: None, "count": len(rows)}]
        first = shop.json(f"/api/v1/{table}?sort={count}:desc", Role.VIEWER)["data"]
        assert sorted(map(str, first)) == sorted(map(str, masked))


def test_a_viewer_does_not_see_what_the_best_customer_bought(shop: Served) -> None:
    features = "/api/v1/gold/product_feature"
    best = ("top_customer_amount_all", "top_customer_share_all", "repeat_customer_share_all")
    assert all(row["top_customer_amount_all"] for row in shop.json(features)["data"])
    for column in best:
        assert {row[column] for row in shop.json(features, Role.VIEWER)["data"]} == {None}
        for asked in (f"{column}.gt=0", f"sort={column}", f"group_by={column}", f"aggregate=max:{column}"):
            assert shop.get(f"{features}?{asked}", Role.VIEWER).status_code == 403, asked


def test_one_statement_a_request(shop: Served) -> None:
    for asked in ("size=2&sort=product.description", "aggregate=count&group_by=country.country_name", "cursor="):
        before = shop.statements
        shop.json(f"{SALES}?{asked}")
        assert shop.statements == before + 1
