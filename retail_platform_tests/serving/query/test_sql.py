"""Questions against PostgreSQL, compared with the same worked out in Python on the same rows."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_platform.serving.query.cursors import full_sort, read_cursor
from retail_platform.serving.query.errors import NotAllowedError, QuestionError
from retail_platform.serving.query.filters import read_filter, read_having
from retail_platform.serving.query.shapes import (
    EVERYTHING,
    Aggregate,
    Aggregation,
    Condition,
    Constant,
    Cursor,
    Edges,
    Filter,
    Function,
    Group,
    Lookup,
    Many,
    Measure,
    Node,
    One,
    Operator,
    Page,
    PageFact,
    PageInfo,
    Path,
    Question,
    Rows,
    Sort,
    Total,
    Value,
)
from retail_platform.serving.query.sql import FEWEST_CUSTOMERS, compile_statement
from retail_platform_tests.serving.asked import EXACT, MASKED, NAMES, NUMBERS, Asked, Row

FACTS = (
    ("next", PageFact.HAS_NEXT),
    ("previous", PageFact.HAS_PREVIOUS),
    ("start", PageFact.START_CURSOR),
    ("end", PageFact.END_CURSOR),
)


def value(*path: str) -> Value:
    return Value(path[-1], path)


def keys(asked: Asked, table: str, written: Row, *values: Any) -> set[str]:
    """Keys of the rows that pass a filter, by PostgreSQL."""
    served = asked.catalogue[table]
    shape, found = read_filter(asked.catalogue, served, written, "where", sees_customers=True)
    (key, *_) = served.key
    page = Page(table, (Rows("rows", (value(key),)),), shape, full_sort(served, ()), bare=True)
    return {row[key] for row in asked.ask(page, *found, 1000)}


def countries(asked: Asked, test: Callable[[Row], bool]) -> set[str]:
    return {str(row["country_key"]) for row in asked.rows("dim_country") if test(row)}


def like(text: str, pattern: str) -> bool:
    return fnmatchcase(text.replace("[", "!"), pattern.replace("%", "*").replace("_", "?"))


COMPARISONS: list[tuple[str, str, Any, Callable[[Any], bool]]] = [
    ("country_name", "eq", "A", lambda v: v == "A"),
    ("country_name", "ne", "A", lambda v: v != "A"),
    ("country_name", "in", ["A", "é", "nothing"], lambda v: v in ("A", "é")),
    ("country_name", "in", [], lambda v: False),
    ("country_name", "like", "a%", lambda v: like(v, "a%")),
    ("country_name", "like", r"\%", lambda v: v == "%"),
    ("country_name", "ilike", "a_", lambda v: like(v.lower(), "a_")),
    ("country_name", "gte", "a", lambda v: v >= "a"),
    ("population", "gt", 1000, lambda v: v is not None and v > 1000),
    ("population", "gte", "1000", lambda v: v is not None and v >= 1000),
    ("population", "lt", 2**62, lambda v: v is not None),
    ("population", "ne", 1000, lambda v: v is not None and v != 1000),
    ("population", "is_null", True, lambda v: v is None),
    ("population", "is_null", False, lambda v: v is not None),
    ("tax_rate", "lte", "0.1", lambda v: v is not None and v <= Decimal("0.1")),
    ("tax_rate", "eq", 0.2, lambda v: v == Decimal("0.2")),
    ("latitude", "lt", 1, lambda v: v is not None and v < 1),
    ("is_eu_member", "eq", True, lambda v: v is True),
    ("is_eu_member", "in", [True, False], lambda v: v is not None),
    ("country_key", "in", ["-1", 3], lambda v: v in (-1, 3)),
]


@pytest.mark.parametrize(("column", "operator", "operand", "test"), COMPARISONS)
def test_comparisons_and_their_negations(
    asked: Asked, column: str, operator: str, operand: Any, test: Callable[[Any], bool]
) -> None:
    written = {column: {operator: operand}}
    passing = countries(asked, lambda row: test(row[column]))
    assert keys(asked, "dim_country", written) == passing
    assert keys(asked, "dim_country", {"not": written}) == countries(asked, lambda row: True) - passing


def test_and_or_not_and_both_ways_of_relations(asked: Asked) -> None:
    written = {
        "or": [
            {"population": {"gt": 2000}},
            {"and": [{"region": {"is_null": True}}, {"not": {"latitude": {"gt": 1}}}]},
        ],
        "fact_sales": {"product": {"stock_code": {"in": ["10001", "10003"]}}, "quantity": {"gte": 6}},
    }
    products = {row["product_key"] for row in asked.rows("dim_product") if row["stock_code"] in ("10001", "10003")}
    sold = {
        row["country_key"] for row in asked.rows("fact_sale") if row["product_key"] in products and row["quantity"] >= 6
    }
    expected = countries(
        asked,
        lambda row: (
            row["country_key"] in sold
            and ((row["population"] or 0) > 2000 or (row["region"] is None and not (row["latitude"] or 0) > 1))
        ),
    )
    assert expected
    assert keys(asked, "dim_country", written) == expected


@pytest.mark.parametrize("name", NAMES)
def test_text_is_a_value_whatever_is_in_it(asked: Asked, name: str) -> None:
    assert keys(asked, "dim_country", {"country_name": {"eq": name}}) == countries(
        asked, lambda row: row["country_name"] == name
    )


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_no_text_is_an_error(asked: Asked, text: str) -> None:
    assert keys(asked, "dim_country", {"country_name": {"eq": text}}) == countries(
        asked, lambda row: row["country_name"] == text
    )


@pytest.mark.parametrize("name", ['"; drop table x; --', "a'b", "%s", ":x", "$1", "a b", "é" * 31])
def test_names_of_the_answer_are_kept_as_they_are(asked: Asked, name: str) -> None:
    page = Page("dim_country", (Rows(name, (Value(name, ("country_key",)), Constant("c", name))), Total("t")))
    assert asked.ask(page, 1) == {name: [{name: "-1", "c": name}], "t": 12}


def test_a_name_that_postgresql_would_cut_is_refused(asked: Asked) -> None:
    page = Page("dim_country", (Rows("rows", (Value("x" * 64, ("country_key",)),)),))
    with pytest.raises(QuestionError, match="64 bytes; at most 63"):
        compile_statement(asked.catalogue, (page,), EXACT)


def test_an_object_of_any_width(asked: Asked) -> None:
    outputs = tuple(Value(f"a{number}", ("quantity",)) for number in range(300))
    (row,) = asked.ask(Page("fact_sale", (Rows("rows", outputs),), bare=True), 1)
    assert list(row) == [f"a{number}" for number in range(300)]


def test_each_kind_of_value_in_either_encoding(asked: Asked) -> None:
    names = ("sale_id", "sale_date", "product_key", "date_key", "quantity", "unit_price", "is_cancelled", "invoiced_at")
    names = (*names, "created_at", "batch_id", "tax_amount")
    sort = full_sort(asked.catalogue["fact_sale"], ())
    page = Page("fact_sale", (Rows("rows", tuple(value(name) for name in names)),), sort=sort, bare=True)
    stored = min(asked.rows("fact_sale"), key=lambda row: row["sale_id"])
    expected = {name: stored[name] for name in names} | {
        "sale_id": str(stored["sale_id"]),
        "sale_date": stored["sale_date"].isoformat(),
        "product_key": str(stored["product_key"]),
        "unit_price": "0.8500",
        "invoiced_at": stored["invoiced_at"].isoformat(),
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    assert asked.ask(page, 1) == [expected]
    assert asked.ask(page, 1, encoding=NUMBERS) == [expected | {"unit_price": Decimal("0.8500")}]
    assert b'"unit_price":0.8500' in asked.answers(Question(page, (1,)), encoding=NUMBERS).json[0]


# Pages.

COLUMNS: dict[str, list[Path]] = {
    "dim_country": [
        (name,) for name in ("country_name", "region", "population", "latitude", "tax_rate", "is_eu_member")
    ],
    "fact_sale": [
        ("quantity",),
        ("sale_date",),
        ("invoiced_at",),
        ("tax_amount",),
        ("country", "population"),
        ("country", "region"),
        ("customer", "customer_id"),
    ],
}


@st.composite
def walks(draw: st.DrawFn) -> tuple[str, tuple[Sort, ...], int]:
    table = draw(st.sampled_from(sorted(COLUMNS)))
    paths = draw(st.lists(st.sampled_from(COLUMNS[table]), max_size=3, unique=True))
    sort = tuple(Sort(path, draw(st.booleans())) for path in paths)
    return table, sort, draw(st.integers(1, 7) if table == "dim_country" else st.integers(40, 100))


def in_order(asked: Asked, table: str, sort: tuple[Sort, ...]) -> list[str]:
    """Keys of all rows in an order, nulls last, worked out in Python."""
    dimensions = {
        "country": {row["country_key"]: row for row in asked.rows("dim_country")},
        "customer": {row["customer_key"]: row for row in asked.rows("dim_customer")},
    }

    def operand(row: Row, path: Path) -> Any:
        return dimensions[path[0]][row[f"{path[0]}_key"]][path[1]] if len(path) > 1 else row[path[0]]

    rows = asked.rows(table)
    for each in reversed(sort):
        assert not isinstance(each.operand, Measure)
        known = [row for row in rows if operand(row, each.operand) is not None]
        unknown = [row for row in rows if operand(row, each.operand) is None]
        known.sort(key=lambda row, path=each.operand: operand(row, path), reverse=each.descending)  # type: ignore[misc]
        rows = known + unknown
    return [str(row[asked.catalogue[table].key[0]]) for row in rows]


@given(walk=walks(), backward=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_pages_walk_through_every_row_once_in_order(
    asked: Asked, walk: tuple[str, tuple[Sort, ...], int], backward: bool
) -> None:
    table, written, size = walk
    served = asked.catalogue[table]
    sort = full_sort(served, written)
    parts = (
        Edges("edges", (Cursor("cursor"), Node("node", (value(served.key[0]),)))),
        PageInfo("info", FACTS),
        Total("total"),
    )
    everything = in_order(asked, table, sort)
    seen: list[str] = []
    nulls, values = None, ()
    for number in range(len(everything)):
        place = {"before": nulls, "from_end": True} if backward else {"after": nulls}
        answer = asked.ask(Page(table, parts, sort=sort, **place), *values, size)  # type: ignore[arg-type]
        page = [edge["node"][served.key[0]] for edge in answer["edges"]]
        seen = page + seen if backward else seen + page
        info = answer["info"]
        assert [info["start"], info["end"]] == [answer["edges"][0]["cursor"], answer["edges"][-1]["cursor"]]
        assert info["next" if not backward else "previous"] == (len(seen) < len(everything))
        assert info["previous" if not backward else "next"] == (number > 0)
        assert answer["total"] == len(everything)
        if len(seen) == len(everything):
            break
        cursor = info["start" if backward else "end"]
        nulls, values = read_cursor(served, sort, cursor, "after", asked.catalogue)  # type: ignore[assignment]
    assert seen == everything


def test_an_offset_skips_and_says_so(asked: Asked) -> None:
    sort = full_sort(asked.catalogue["dim_country"], ())
    page = Page(
        "dim_country", (Rows("rows", (value("country_key"),)), PageInfo("info", FACTS[:2])), sort=sort, has_offset=True
    )
    assert asked.ask(page, 2, 9) == {
        "rows": [{"country_key": "8"}, {"country_key": "9"}],
        "info": {"next": True, "previous": True},
    }
    assert asked.ask(page, 2, 0)["info"] == {"next": True, "previous": False}
    assert asked.ask(page, 2, 12) == {"rows": [], "info": {"next": False, "previous": True}}


def test_a_page_between_two_cursors(asked: Asked) -> None:
    sort = full_sort(asked.catalogue["dim_country"], ())
    page = Page(
        "dim_country", (Rows("rows", (value("country_key"),)),), sort=sort, after=(False,), before=(False,), bare=True
    )
    assert [row["country_key"] for row in asked.ask(page, 2, 6, 10)] == ["3", "4", "5"]


def test_a_lookup_is_one_row_or_null(asked: Asked) -> None:
    lookup = Lookup(
        Page("dim_country", (Rows("", (value("country_name"),)),), Condition(("country_key",), Operator.EQ))
    )
    answers = asked.answers(Question(lookup, (1, 1)), Question(lookup, (99, 1)))
    assert [json.loads(text) for text in answers.json] == [{"country_name": NAMES[2]}, None]
    assert answers.rows == [1, 0]


# Nested rows.


def test_rows_nested_three_deep_are_one_statement(asked: Asked) -> None:
    lines = Page(
        "fact_sale",
        (Rows("nodes", (value("quantity"), One("product", "product", (value("stock_code"),)))), Total("total")),
        Condition(("quantity",), Operator.GT),
        full_sort(asked.catalogue["fact_sale"], [Sort(("quantity",), True)]),
    )
    invoice = One("invoice", "invoice", (value("invoice_no"), Many("lines", "fact_sales", lines)))
    sales = Page("fact_sale", (Rows("nodes", (invoice,)),), sort=full_sort(asked.catalogue["fact_sale"], ()), bare=True)
    by_quantity = Aggregation(
        "fact_sale", (("quantity",),), (value("quantity"), Aggregate("n", Measure(Function.COUNT)))
    )
    page = Page(
        "dim_country",
        (
            Rows(
                "countries",
                (value("country_key"), Many("sales", "fact_sales", sales), Many("q", "fact_sales", by_quantity)),
            ),
        ),
        sort=full_sort(asked.catalogue["dim_country"], ()),
        bare=True,
    )
    before = asked.warehouse.statements
    answer = asked.ask(page, 100, 1, 10, 2, 3)
    assert asked.warehouse.statements == before + 1

    facts = sorted(asked.rows("fact_sale"), key=lambda row: row["sale_id"])
    numbers = {row["invoice_key"]: row["invoice_no"] for row in asked.rows("dim_invoice")}
    codes = {row["product_key"]: row["stock_code"] for row in asked.rows("dim_product")}
    expected = []
    for key in range(-1, 11):
        own = [row for row in facts if row["country_key"] == key]
        nested = []
        for sale in own[:1]:
            many = [row for row in facts if row["invoice_key"] == sale["invoice_key"] and row["quantity"] > 10]
            shown = sorted(many, key=lambda row: (row["quantity"], row["sale_id"]), reverse=True)[:2]
            nodes = [
                {"quantity": row["quantity"], "product": {"stock_code": codes[row["product_key"]]}} for row in shown
            ]
            lines_found = {"nodes": nodes, "total": len(many)}
            nested.append({"invoice": {"invoice_no": numbers[sale["invoice_key"]], "lines": lines_found}})
        counted = sorted(Counter(row["quantity"] for row in own).items())[:3]
        quantities = [{"quantity": quantity, "n": n} for quantity, n in counted]
        expected.append({"country_key": str(key), "sales": nested, "q": quantities})
    assert answer == expected


# Aggregations.


def test_aggregates_by_group_with_having_and_order(asked: Asked) -> None:
    served = asked.catalogue["fact_sale"]
    written = {
        "sum": {"quantity": {"gt": 0}},
        "or": [{"count": {"gte": 10}}, {"max": {"country.population": {"eq": 1}}}],
    }
    having, values = read_having(asked.catalogue, served, written, "having", sees_customers=True)
    revenue = Measure(Function.SUM, ("total_amount",))
    query = Aggregation(
        "fact_sale",
        (("country", "country_name"), ("sale_date",)),
        (
            Group("group", (value("country", "country_name"), value("sale_date"))),
            Aggregate("count", Measure(Function.COUNT)),
            Group("sum", (Aggregate("total_amount", revenue), Aggregate("q", Measure(Function.SUM, ("quantity",))))),
            Group("avg", (Aggregate("total_amount", Measure(Function.AVG, ("total_amount",))),)),
            Group("min", (Aggregate("quantity", Measure(Function.MIN, ("quantity",))),)),
            Group("count_distinct", (Aggregate("customer_key", Measure(Function.COUNT_DISTINCT, ("customer_key",))),)),
        ),
        Condition(("quantity",), Operator.GTE),
        having,
        (Sort(revenue, True),),
    )
    answer = asked.ask(query, 3, *values, 1000)

    names = {row["country_key"]: row["country_name"] for row in asked.rows("dim_country")}
    groups: dict[tuple[str, date], list[Row]] = defaultdict(list)
    for row in asked.rows("fact_sale"):
        if row["quantity"] >= 3:
            groups[names[row["country_key"]], row["sale_date"]].append(row)
    kept = {group: rows for group, rows in groups.items() if len(rows) >= 10}
    order = sorted(kept, key=lambda group: (-sum(row["total_amount"] for row in kept[group]), *group))
    expected = []
    for group in order:
        rows = kept[group]
        total = sum(row["total_amount"] for row in rows)
        expected.append(
            {
                "group": {"country_name": group[0], "sale_date": group[1].isoformat()},
                "count": len(rows),
                "sum": {"total_amount": str(total), "q": sum(row["quantity"] for row in rows)},
                "avg": {"total_amount": str(round(total / len(rows), 4))},
                "min": {"quantity": min(row["quantity"] for row in rows)},
                "count_distinct": {"customer_key": len({row["customer_key"] for row in rows})},
            }
        )
    assert len(expected) > 3
    assert answer == expected


def test_aggregates_of_nothing(asked: Asked) -> None:
    outputs = (Aggregate("n", Measure(Function.COUNT)), Aggregate("s", Measure(Function.SUM, ("quantity",))))
    nothing = Condition(("quantity",), Operator.GT)
    assert asked.ask(Aggregation("fact_sale", (), outputs, nothing), 1000, 1) == [{"n": 0, "s": None}]
    assert asked.ask(Aggregation("fact_sale", (("line_type",),), outputs, nothing), 1000, 1) == []
    assert asked.ask(Aggregation("fact_sale", (), (Constant("c", "x"),)), 1) == [{"c": "x"}]


# Those who may not see customers.


def test_personal_values_are_masked(asked: Asked) -> None:
    sort = full_sort(asked.catalogue["fact_sale"], ())
    page = Page("fact_sale", (Rows("rows", (value("customer_key"), value("quantity"))),), sort=sort, bare=True)
    assert all(row["customer_key"] is None and row["quantity"] for row in asked.ask(page, 1000, encoding=MASKED))


def test_few_customers_are_not_counted(asked: Asked) -> None:
    customers = Measure(Function.COUNT_DISTINCT, ("customer_key",))
    invoice, outputs = ("invoice", "invoice_no"), (Aggregate("n", customers),)
    by_invoice = Aggregation("fact_sale", (invoice,), outputs, sort=(Sort(customers, True),))
    assert {row["n"] for row in asked.ask(by_invoice, 1000)} <= set(range(FEWEST_CUSTOMERS))
    assert {row["n"] for row in asked.ask(by_invoice, 1000, encoding=MASKED)} == {None}
    single = replace(by_invoice, having=Condition(customers, Operator.EQ))
    assert asked.ask(single, 1, 1000)
    assert asked.ask(single, 1, 1000, encoding=MASKED) == []
    # Not of keys: a customer has one for each of its versions.
    sql = " ".join(compile_statement(asked.catalogue, (by_invoice,), MASKED).sql.split())
    assert re.search(
        r"CASE WHEN \(count\(DISTINCT t\d\.customer_id\) >= 5\) THEN count\(DISTINCT t0\.customer_key\) END", sql
    )


CUSTOMER: Path = ("customer_key",)
ROWS = (Rows("rows", (value("quantity"),)),)
OF_CUSTOMERS = [
    Page("dim_customer", (Rows("rows", (value("country"),)),)),
    Page("fact_sale", (Rows("rows", (One("c", "customer", (value("country"),)),)),)),
    Page("fact_sale", (Rows("rows", (value("customer", "country"),)),)),
    Page("fact_sale", ROWS, Condition(CUSTOMER, Operator.EQ)),
    Page("fact_sale", ROWS, Condition(("customer", "country"), Operator.EQ)),
    Page("fact_sale", ROWS, sort=(Sort(CUSTOMER),)),
    Aggregation("fact_sale", (CUSTOMER,), (Value("k", CUSTOMER),)),
    Aggregation("fact_sale", (), (Aggregate("m", Measure(Function.MAX, CUSTOMER)),)),
    Aggregation("fact_sale", (), (), having=Condition(Measure(Function.MIN, CUSTOMER), Operator.EQ)),
]


@pytest.mark.parametrize("query", OF_CUSTOMERS)
def test_whoever_asks_of_customers_has_to_be_an_analyst(asked: Asked, query: Page | Aggregation) -> None:
    compile_statement(asked.catalogue, (query,), EXACT)
    with pytest.raises(NotAllowedError, match="analyst"):
        compile_statement(asked.catalogue, (query,), MASKED)


# The statement itself.


def test_values_are_never_in_the_sql(asked: Asked) -> None:
    shape: Filter
    shape, values = read_filter(
        asked.catalogue,
        asked.catalogue["dim_country"],
        {"country_name": {"in": ["xyzzy"]}},
        "where",
        sees_customers=True,
    )
    assert values == (("xyzzy",),)
    statement = compile_statement(asked.catalogue, (Page("dim_country", ROWS_OF_COUNTRIES, shape),), EXACT)
    assert "= ANY ($" in statement.sql
    assert "*" not in statement.sql.replace("count(*)", "")


ROWS_OF_COUNTRIES = (Rows("rows", (value("country_name"),)),)


def test_a_row_comparison_where_an_index_can_use_it(asked: Asked) -> None:
    served = asked.catalogue["fact_sale"]
    sort = full_sort(served, [Sort(("sale_date",), True)])
    page = Page("fact_sale", ROWS, EVERYTHING, sort, after=(False, False))
    sql = compile_statement(asked.catalogue, (page,), EXACT).sql
    assert "(t0.sale_date, t0.sale_id) < ($1::DATE, $2::UUID)" in " ".join(sql.split())
