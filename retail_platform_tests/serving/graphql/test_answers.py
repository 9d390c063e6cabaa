"""What operations answer, on a shop small enough to be worked out by hand."""

from decimal import Decimal
from typing import Any

import pytest

from retail_platform.serving.access.principals import Role
from retail_platform.serving.graphql.page import DEFAULT_QUERY
from retail_platform_tests.serving.graphql.asking import data, post
from retail_platform_tests.serving.served import Served

PERIODS = {
    "DAILY": {
        "2010-12-30": ("20.1234", 1),
        "2011-01-04": ("-10.0000", 0),
        "2011-01-05": ("16.2500", 2),
        "2011-03-31": ("4.5000", 1),
    },
    "WEEKLY": {"2010-12-27": ("20.1234", 1), "2011-01-03": ("6.2500", 2), "2011-03-28": ("4.5000", 1)},
    "MONTHLY": {"2010-12-01": ("20.1234", 1), "2011-01-01": ("6.2500", 2), "2011-03-01": ("4.5000", 1)},
    "QUARTERLY": {"2010-10-01": ("20.1234", 1), "2011-01-01": ("10.7500", 2)},
    "YEARLY": {"2010-01-01": ("20.1234", 1), "2011-01-01": ("10.7500", 2)},
}


@pytest.mark.parametrize("granularity", PERIODS)
def test_sales_analytics_as_the_documentation_has_it(shop: Served, granularity: str) -> None:
    answer = data(shop, DEFAULT_QUERY, granularity=granularity)
    found = {row["period"]: (row["totalRevenue"], row["uniqueCustomers"]) for row in answer["salesAnalytics"]}
    assert found == PERIODS[granularity]
    assert list(found) == sorted(found)
    assert sum(row["customerCount"] for row in answer["customerSegments"]) == 2
    assert all(isinstance(row["avgLifetimeValue"], str) for row in answer["customerSegments"])


def test_sales_analytics_of_a_span(shop: Served) -> None:
    query = (
        '{ salesAnalytics(granularity: MONTHLY, dateFrom: "2011-01-01", dateTo: "2011-02-28") { period orderCount } }'
    )
    assert data(shop, query)["salesAnalytics"] == [{"period": "2011-01-01", "orderCount": 2}]


def test_products_by_a_metric(shop: Served) -> None:
    query = "{ productPerformance(metric: UNITS, topN: 2) { stockCode unitCount } }"
    expected = [{"stockCode": "10002", "unitCount": 14}, {"stockCode": "10001", "unitCount": 3}]
    assert data(shop, query)["productPerformance"] == expected


@pytest.mark.parametrize("written", ["EIRE", "Ireland", "ie", "IRL"])
def test_countries_as_people_write_them(shop: Served, written: str) -> None:
    query = "query ($c: String) { countrySales(country: $c) { saleMonth netRevenue country { countryCode } } }"
    expected = [{"saleMonth": "2010-12-01", "netRevenue": "7.1234", "country": {"countryCode": "IE"}}]
    assert data(shop, query, c=written)["countrySales"] == expected


def test_cohorts(shop: Served) -> None:
    answer = data(shop, "{ cohortRetention(maxMonths: 1) { cohortMonth monthNumber activeCustomerCount } }")
    assert answer["cohortRetention"] == [
        {"cohortMonth": "2010-12-01", "monthNumber": 0, "activeCustomerCount": 1},
        {"cohortMonth": "2010-12-01", "monthNumber": 1, "activeCustomerCount": 1},
        {"cohortMonth": "2011-01-01", "monthNumber": 0, "activeCustomerCount": 1},
        {"cohortMonth": "2011-01-01", "monthNumber": 1, "activeCustomerCount": 0},
    ]


def test_a_customer_with_history(shop: Served) -> None:
    query = "query ($id: String!) { customer(id: $id) { totalSpent segmentHistory { version validFrom isCurrent } } }"
    customer = data(shop, query, id="12001")["customer"]
    assert customer["totalSpent"] == "15.2500"
    history = customer["segmentHistory"]
    assert [version["version"] for version in history] == list(range(1, len(history) + 1))
    assert [version["isCurrent"] for version in history] == [False] * (len(history) - 1) + [True]
    assert data(shop, query, id="nobody")["customer"] is None


def test_quality_of_a_day(shop: Served) -> None:
    query = '{ dataQuality(day: "2011-01-05") { deliveredRows acceptedRows rejectedRows } }'
    assert data(shop, query)["dataQuality"] == {"deliveredRows": 5, "acceptedRows": 3, "rejectedRows": 2}
    assert data(shop, '{ dataQuality(day: "1999-01-01") { deliveredRows } }')["dataQuality"] is None


def test_freshness(shop: Served) -> None:
    answer = data(shop, "{ freshness { version newestSaleDate waitingDayCount publishedAt } }")["freshness"]
    assert answer.pop("publishedAt").endswith("+00:00")
    assert answer == {"version": 1, "newestSaleDate": "2011-03-31", "waitingDayCount": 0}


def test_pages_go_forth_and_back(shop: Served) -> None:
    query = """
        query ($first: Int, $after: String, $last: Int, $before: String) {
          factSaleConnection(first: $first, after: $after, last: $last, before: $before,
                             orderBy: [{field: TOTAL_AMOUNT, direction: DESC}, {field: COUNTRY__COUNTRY_NAME}]) {
            totalCount
            edges { cursor node { totalAmount country { countryName } } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
          }
        }
    """
    rows: list[tuple[str, str]] = []
    after = None
    while True:
        page = data(shop, query, first=3, after=after)["factSaleConnection"]
        assert page["totalCount"] == 8
        rows += [(edge["node"]["totalAmount"], edge["node"]["country"]["countryName"]) for edge in page["edges"]]
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [Decimal(amount) for amount, _ in rows] == sorted((Decimal(a) for a, _ in rows), reverse=True)
    assert rows[:2] == [("10.0000", "United Kingdom"), ("10.0000", "United States")]
    assert len(rows) == 8
    last = data(shop, query, last=2)["factSaleConnection"]
    assert [edge["node"]["totalAmount"] for edge in last["edges"]] == ["2.2500", "-10.0000"]
    assert last["pageInfo"]["hasPreviousPage"]
    previous = data(shop, query, last=2, before=last["pageInfo"]["startCursor"])["factSaleConnection"]
    assert [edge["node"]["totalAmount"] for edge in previous["edges"]] == ["4.0000", "3.0000"]


def total(api: Served, where: Any) -> int:
    query = "query ($where: FactSaleWhere) { factSaleConnection(where: $where, first: 0) { totalCount } }"
    return int(data(api, query, where=where)["factSaleConnection"]["totalCount"])


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({}, 8),
        (None, 8),
        ({"totalAmount": {"eq": 10}}, 2),
        ({"totalAmount": {"eq": "10.0000"}}, 2),
        ({"totalAmount": {"ne": 10}}, 6),
        ({"totalAmount": {"gt": "4.5"}}, 3),
        ({"totalAmount": {"gte": "4.5", "lt": "10"}}, 2),
        ({"saleDate": {"lte": "2011-01-04"}}, 4),
        ({"quantity": {"in": [4, 10]}}, 2),
        ({"quantity": {"in": []}}, 0),
        ({"lineType": {"like": "post%"}}, 1),
        ({"lineType": {"ilike": "POST%"}}, 1),
        ({"profitAmount": {"isNull": True}}, 8),
        ({"product": {"stockCode": {"eq": "10002"}}}, 3),
        ({"or": [{"quantity": {"lt": 0}}, {"country": {"countryCode": {"eq": "FR"}}}]}, 2),
        ({"not": {"country": {"countryCode": {"eq": "GB"}}}}, 4),
        ({"and": [{"quantity": {"gt": 1}}, {"quantity": {"lt": 4}}]}, 2),
        ({"customer": {"factSales": {"quantity": {"eq": 10}}}}, 2),
        ({"customer": {"customerLifetime": {"orderCount": {"gt": 1}}}}, 7),
        ({"lineType": {"eq": "'; drop table gold.fact_sale; --"}}, 0),
    ],
)
def test_filters(shop: Served, where: Any, count: int) -> None:
    assert total(shop, where) == count


def test_literal_numbers_keep_their_digits(shop: Served) -> None:
    query = "{ factSaleConnection(where: {totalAmount: {eq: 7.1234}}) { nodes { totalAmount } } }"
    assert data(shop, query)["factSaleConnection"]["nodes"] == [{"totalAmount": "7.1234"}]


def test_groups_along_a_relation(shop: Served) -> None:
    query = """{
      factSaleAggregate(orderBy: [{function: SUM, field: TOTAL_AMOUNT, direction: DESC}]) {
        group { country { countryName } } count sum { totalAmount } countDistinct { customer { customerId } }
      }
    }"""
    found = [
        (
            row["group"]["country"]["countryName"],
            row["count"],
            row["sum"]["totalAmount"],
            row["countDistinct"]["customer"]["customerId"],
        )
        for row in data(shop, query)["factSaleAggregate"]
    ]
    assert found == [
        ("United States", 2, "14.0000", 1),
        ("Ireland", 1, "7.1234", 0),
        ("United Kingdom", 4, "5.2500", 1),
        ("France", 1, "4.5000", 1),
    ]


def test_all_rows_are_one_group(shop: Served) -> None:
    query = """{
      factSaleAggregate { count sum { totalAmount quantity } avg { quantity } min { saleDate } max { unitPrice } }
    }"""
    assert data(shop, query)["factSaleAggregate"] == [
        {
            "count": 8,
            "sum": {"totalAmount": "30.8734", "quantity": 18},
            "avg": {"quantity": "2.2500"},
            "min": {"saleDate": "2010-12-30"},
            "max": {"unitPrice": "7.1234"},
        }
    ]


def test_groups_are_filtered_sorted_and_cut(shop: Served) -> None:
    query = """{
      factSaleAggregate(where: {quantity: {gt: 0}}, having: {count: {gte: 2}, or: [{sum: {totalAmount: {lt: 15}}}]},
                        orderBy: [{field: SALE_DATE, direction: DESC}], first: 1, offset: 1) {
        group { saleDate } count
      }
    }"""
    assert data(shop, query)["factSaleAggregate"] == []
    assert data(shop, query.replace("offset: 1", "offset: 0").replace("15", "17"))["factSaleAggregate"] == [
        {"group": {"saleDate": "2011-01-05"}, "count": 3}
    ]


NESTED = """{
  dimCustomerConnection(
    where: {customerId: {in: ["12001", "12002"]}, isCurrent: {eq: true}}, orderBy: [{field: CUSTOMER_ID}]
  ) {
    nodes {
      customerId
      customerLifetime { orderCount versions(last: 1, orderBy: {field: VERSION}) { nodes { isCurrent } } }
      factSales(first: 1, orderBy: [{field: TOTAL_AMOUNT}]) {
        totalCount
        nodes { product { stockCode factSalesAggregate { count } } }
      }
      factSalesAggregate { sum { totalAmount } }
    }
  }
  dimCountryConnection(where: {factSales: {quantity: {eq: 10}}}) {
    nodes { countryCode factSales { nodes { quantity } } }
  }
  freshness { version }
}"""


def test_nested_rows_are_one_statement(shop: Served) -> None:
    before = shop.statements
    answer = data(shop, NESTED)
    assert shop.statements == before + 1
    first = answer["dimCustomerConnection"]["nodes"][0]
    assert first["customerId"] == "12001"
    assert first["customerLifetime"] == {"orderCount": 2, "versions": {"nodes": [{"isCurrent": True}]}}
    country = answer["dimCountryConnection"]["nodes"][0]
    assert country["countryCode"] == "US"
    assert sorted(sale["quantity"] for sale in country["factSales"]["nodes"]) == [2, 10]


def test_fragments_aliases_directives_and_type_names(shop: Served) -> None:
    query = """
        query ($no: Boolean!, $yes: Boolean = true) {
          __typename
          ...Fresh @skip(if: $no)
          a: freshness @include(if: $yes) { v: version ...On }
          a: freshness { version }
          b: freshness @skip(if: $yes) { version }
          ... on Query @include(if: $no) { c: freshness { version } }
          page: factSaleConnection(first: 1, orderBy: {field: TOTAL_AMOUNT}) {
            __typename pageInfo { __typename } edges { __typename node { __typename country { kind: __typename } } }
          }
          groups: factSaleAggregate { __typename group { __typename } sum { __typename } }
        }
        fragment Fresh on Query { freshness { ...On } }
        fragment On on Freshness { __typename newestSaleDate }
    """
    newest = {"__typename": "Freshness", "newestSaleDate": "2011-03-31"}
    answer = data(shop, query, no=False)
    assert list(answer) == ["__typename", "freshness", "a", "page", "groups"]
    assert answer == {
        "__typename": "Query",
        "freshness": newest,
        "a": {"v": 1, **newest, "version": 1},
        "page": {
            "__typename": "FactSaleConnection",
            "pageInfo": {"__typename": "PageInfo"},
            "edges": [
                {"__typename": "FactSaleEdge", "node": {"__typename": "FactSale", "country": {"kind": "DimCountry"}}}
            ],
        },
        "groups": [
            {
                "__typename": "FactSaleAggregate",
                "group": {"__typename": "FactSaleGroup"},
                "sum": {"__typename": "FactSaleSum"},
            }
        ],
    }


def test_introspection_beside_data(shop: Served) -> None:
    query = '{ a: __type(name: "FactSale") { name } freshness { version } __schema { mutationType { name } } }'
    answer = data(shop, query)
    assert list(answer.items()) == [
        ("a", {"name": "FactSale"}),
        ("freshness", {"version": 1}),
        ("__schema", {"mutationType": None}),
    ]


def test_an_operation_is_chosen_by_its_name(shop: Served) -> None:
    body = {"query": "query A { __typename } query B { freshness { version } }", "operationName": "B"}
    assert shop.clients[Role.ANALYST].post("/api/graphql", json=body).json() == {"data": {"freshness": {"version": 1}}}


def test_what_is_null_is_not_given(shop: Served) -> None:
    query = """query ($first: Int, $sort: [FactSaleOrderBy!]) {
      factSaleConnection(first: $first, where: null, orderBy: $sort, after: null) { totalCount }
    }"""
    assert data(shop, query, first=None, sort=None) == {"factSaleConnection": {"totalCount": 8}}


def test_viewers_see_masks_and_count(shop: Served) -> None:
    query = """{
      factSaleConnection(first: 1) { nodes { customerKey totalAmount } }
      factSaleAggregate { countDistinct { customerKey invoiceKey } }
      customerSegments { segmentName }
    }"""
    answer = data(shop, query, Role.VIEWER)
    assert answer["factSaleConnection"]["nodes"][0]["customerKey"] is None
    # Two customers, in five versions, are too few to be counted.
    assert answer["factSaleAggregate"][0]["countDistinct"] == {"customerKey": None, "invoiceKey": 6}
    assert answer["customerSegments"]


@pytest.mark.parametrize(
    "query",
    [
        '{ customer(id: "12001") { totalSpent } }',
        "{ dimCustomerConnection { totalCount } }",
        "{ customerLifetimeAggregate { count } }",
        "{ factSaleConnection { nodes { customer { customerId } } } }",
        '{ factSaleConnection(where: {customer: {customerId: {eq: "12001"}}}) { totalCount } }',
        "{ factSaleConnection(where: {customerKey: {eq: 1}}) { totalCount } }",
        "{ factSaleConnection(orderBy: [{field: CUSTOMER_KEY}]) { totalCount } }",
        "{ factSaleAggregate { group { customerKey } count } }",
        "{ factSaleAggregate { group { customer { rfmSegment } } count } }",
    ],
)
def test_viewers_are_refused_what_is_about_a_customer(shop: Served, query: str) -> None:
    assert post(shop, query).status_code == 200
    response = post(shop, query, Role.VIEWER)
    assert response.status_code == 403
    error = response.json()["errors"][0]
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert "analyst" in error["message"]
