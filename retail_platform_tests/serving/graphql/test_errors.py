"""What is wrong is said, with the place and what it may be; what is too much is refused before it costs anything."""

import time
from typing import Any

import pytest
from graphql import get_introspection_query

from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.graphql.asking import data, error, post
from retail_platform_tests.serving.served import Served


@pytest.mark.parametrize(
    ("query", "argument", "says"),
    [
        ("{ factSaleConnection(first: 1000000) { totalCount } }", "first", "0 to 1000"),
        ("{ factSaleConnection(last: -1) { totalCount } }", "last", "0 to 1000"),
        ("{ factSaleConnection(first: 1, last: 1) { totalCount } }", "last", "beside `first`"),
        ('{ factSaleConnection(after: "x") { totalCount } }', "after", "no cursor"),
        ('{ factSaleConnection(where: {totalAmount: {gt: "x"}}) { totalCount } }', "where.totalAmount.gt", "number"),
        ('{ factSaleConnection(where: {saleDate: {eq: "32.1.2011"}}) { totalCount } }', "where.saleDate.eq", "2011"),
        ('{ countrySales(country: "Frankrich") { netRevenue } }', "country", "France"),
        ('{ salesAnalytics(granularity: DAILY, dateFrom: "May") { period } }', "dateFrom", "date"),
        ("{ productPerformance(topN: -1) { stockCode } }", "topN", "0 to 10000"),
        ("{ productPerformance(topN: 100000) { stockCode } }", "topN", "in `productPerformanceConnection`"),
        ("{ factSaleConnection(where: {quantity: {eq: null}}) { totalCount } }", "where.quantity.eq", "isNull asks"),
        ("{ factSaleAggregate(orderBy: [{field: SALE_DATE}]) { count } }", "orderBy[0]", "selected in `group`"),
        ("{ factSaleAggregate(orderBy: [{function: SUM}]) { count } }", "orderBy[0]", "only COUNT"),
        ("{ factSaleAggregate(orderBy: [{function: SUM, field: LINE_TYPE}]) { count } }", "orderBy[0]", "no sum"),
    ],
)
def test_which_argument_is_wrong_and_what_it_may_be(shop: Served, query: str, argument: str, says: str) -> None:
    found = error(shop, query)
    assert (found["status"], found["code"], found["argument"]) == (400, "BAD_USER_INPUT", argument)
    assert says in found["message"]
    assert found["path"] == [query.split("(")[0].strip("{ ")]
    assert found["locations"] == [{"line": 1, "column": 3}]


def test_a_cursor_is_good_for_its_own_sort_only(shop: Served) -> None:
    page = "pageInfo { endCursor }"
    cursor = data(shop, f"{{ factSaleConnection(first: 1) {{ {page} }} }}")["factSaleConnection"]["pageInfo"][
        "endCursor"
    ]
    query = "query ($c: String) { factSaleConnection(after: $c, orderBy: [{field: QUANTITY}]) { totalCount } }"
    assert "another table or order" in error(shop, query, c=cursor)["message"]


@pytest.mark.parametrize(
    ("query", "variables", "code", "says"),
    [
        ("{ factSaleConection { totalCount } }", {}, "GRAPHQL_VALIDATION_FAILED", "Did you mean 'factSaleConnection'"),
        ("{ freshness }", {}, "GRAPHQL_VALIDATION_FAILED", "must have a selection"),
        ("{ freshness { version }", {}, "GRAPHQL_PARSE_FAILED", "Syntax Error"),
        ("{ salesAnalytics(granularity: HOURLY) { period } }", {}, "GRAPHQL_VALIDATION_FAILED", "YEARLY"),
        ("query ($g: TimeGranularity!) { salesAnalytics(granularity: $g) { period } }", {}, "BAD_USER_INPUT", "$g"),
        (
            "query ($w: FactSaleWhere) { factSaleConnection(where: $w) { totalCount } }",
            {"w": {"quantiti": {"eq": 1}}},
            "BAD_USER_INPUT",
            "Did you mean 'quantity'",
        ),
        ("mutation { x }", {}, "OPERATION_NOT_SUPPORTED", "read only"),
        ("subscription { x }", {}, "OPERATION_NOT_SUPPORTED", "read only"),
        ("query A { __typename } query B { __typename }", {}, "OPERATION_RESOLUTION_FAILURE", "A, B"),
        (f"{{ {'a' * 64}: __typename }}", {}, "BAD_USER_INPUT", "63"),
    ],
)
def test_what_is_wrong_with_a_document(
    shop: Served, query: str, variables: dict[str, Any], code: str, says: str
) -> None:
    found = error(shop, query, **variables)
    assert (found["status"], found["code"]) == (400, code)
    assert says in found["message"]


def nested(levels: int) -> str:
    return (
        "{ dimProductConnection { nodes { "
        + "factSales { nodes { product { " * levels
        + "stockCode"
        + " } } }" * levels
        + " } } }"
    )


DOUBLING = "{ ...F0 } " + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (nested(33), "levels deep; at most 15"),
        ("{ " + "a { " * 2000 + "} " * 2000 + "}", "nested too deeply"),
        ("{ freshness { version } } #" + "x" * 60_000, "at most 50000"),
        ("{ " + "__typename " * 6_000 + "}", "characters"),
        ("{ " + "a " * 6_000 + "}", "more than 5000 tokens"),
        ("{ " + "a " * 4_000 + "}", "4000 fields"),
        (DOUBLING + " fragment F60 on Query { freshness { version } }", "fields, fragments written out"),
        ("{ freshness { " + " ".join(f"v{n}: version" for n in range(101)) + " } }", "101 aliases"),
        ("{ " + " ".join(f"v{n}: freshness {{ version }}" for n in range(21)) + " }", "21 fields at its root"),
        ("{ freshness { version " + "@skip(if: false) " * 51 + "} }", "51 directives"),
        (
            "{ dimProductConnection(first: 1000) { nodes { factSales(first: 1000) { nodes { quantity } } } } }",
            "200000 values",
        ),
        ("{ __schema { types { fields { args { type { fields { args { name } } } } } } } }", "lists inside lists"),
    ],
    ids=lambda value: value[:40],
)
def test_too_much_is_refused_at_once(shop: Served, query: str, says: str) -> None:
    begun, statements = time.perf_counter(), shop.statements
    found = error(shop, query)
    assert says in found["message"]
    assert found["status"] == 400
    assert shop.statements == statements
    assert time.perf_counter() - begun < 2


def test_a_chain_of_fragments_is_refused(shop: Served) -> None:
    chain = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(600))
    assert "too deeply" in error(shop, f"{{ ...F0 }} {chain} fragment F600 on Query {{ __typename }}")["message"]


def test_a_fragment_inside_itself_is_refused(shop: Served) -> None:
    query = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    assert "within itself" in error(shop, query)["message"]


def test_the_introspection_of_tools_is_allowed(shop: Served) -> None:
    assert len(data(shop, get_introspection_query(input_value_deprecation=True))["__schema"]["types"]) > 200


def test_a_statement_that_takes_too_long(shop: Served) -> None:
    # Eight sale lines give no statement much to do: let it wait for a lock.
    with shop.database.connect() as connection:
        connection.execute("lock table marts.customer_segments in access exclusive mode")
        found = error(shop, "{ customerSegments { segmentName } }")
    assert (found["status"], found["code"]) == (504, "TIMEOUT")


def test_errors_are_200_for_clients_that_only_know_json(shop: Served) -> None:
    headers = {"Accept": "application/json"}
    response = shop.clients[Role.ANALYST].post("/api/graphql", json={"query": "{ nothing }"}, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert post(shop, "{ nothing }").headers["content-type"] == "application/graphql-response+json"
