"""What people write in filters, and what they are told when it is wrong."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from retail_platform.serving.catalogue import Column, Kind, read_catalogue
from retail_platform.serving.query.errors import NotAllowedError, QuestionError
from retail_platform.serving.query.filters import check_table, read_filter, read_having, read_path, read_value
from retail_platform.serving.query.shapes import All, AnyOf, Condition, Function, Measure, Not, Operator, Some

CATALOGUE = read_catalogue()
FACT = CATALOGUE["fact_sale"]


def column(kind: Kind) -> Column:
    return Column("it", kind, "", True, "", is_personal=False)


def test_a_filter_is_its_shape_and_its_values_in_order() -> None:
    written = {
        "quantity": {"gt": 5, "lte": "9"},
        "country": {"country_name": {"in": ["a", "b"]}, "fact_sales": {"quantity": {"eq": 1}}},
        "or": [{"is_cancelled": {"eq": True}}, {}],
        "not": {"tax_amount": {"is_null": False}},
    }
    shape, values = read_filter(CATALOGUE, FACT, written, "where", sees_customers=False)
    country = All(
        (
            Condition(("country", "country_name"), Operator.IN),
            Some(("country", "fact_sales"), Condition(("quantity",), Operator.EQ)),
        )
    )
    assert shape == All(
        (
            All((Condition(("quantity",), Operator.GT), Condition(("quantity",), Operator.LTE))),
            country,
            AnyOf((Condition(("is_cancelled",), Operator.EQ), All())),
            Not(Condition(("tax_amount",), Operator.IS_NOT_NULL)),
        )
    )
    assert values == (5, 9, ("a", "b"), 1, True)


def test_a_face_has_its_own_spelling() -> None:
    names = {"unitPrice": "unit_price", "isNull": "is_null"}
    written = {"unitPrice": {"isNull": True}}
    shape, _ = read_filter(
        CATALOGUE, FACT, written, "where", sees_customers=False, names=lambda name: names.get(name, name)
    )
    assert shape == Condition(("unit_price",), Operator.IS_NULL)


def test_a_having_is_of_measures() -> None:
    written = {"sum": {"quantity": {"gt": 1}, "product": {"unit_cost": {"lt": 2}}}, "not": {"count": {"eq": 3}}}
    shape, values = read_having(CATALOGUE, FACT, written, "having", sees_customers=False)
    assert shape == All(
        (
            All(
                (
                    Condition(Measure(Function.SUM, ("quantity",)), Operator.GT),
                    Condition(Measure(Function.SUM, ("product", "unit_cost")), Operator.LT),
                )
            ),
            Not(Condition(Measure(Function.COUNT), Operator.EQ)),
        )
    )
    assert values == (1, Decimal(2), 3)


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (Kind.TEXT, "é", "é"),
        (Kind.INTEGER, "-12", -12),
        (Kind.KEY, "9223372036854775807", 2**63 - 1),
        (Kind.DECIMAL, 0.1, Decimal("0.1")),
        (Kind.DECIMAL, "1e3", Decimal(1000)),
        (Kind.FLOAT, "1.5", 1.5),
        (Kind.BOOLEAN, "false", False),
        (Kind.DATE, "2011-02-28", date(2011, 2, 28)),
        (Kind.LOCAL_TIME, "2011-02-28T09:30:00.5", datetime(2011, 2, 28, 9, 30, 0, 500000)),
        (Kind.INSTANT, "2011-02-28T09:30:00+01:00", datetime(2011, 2, 28, 8, 30, tzinfo=UTC)),
        (Kind.UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
    ],
)
def test_values_have_the_type_of_their_column(kind: Kind, written: Any, value: Any) -> None:
    assert read_value(column(kind), written, "eq") == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Kind.TEXT, 1),
        (Kind.TEXT, "a\0b"),
        (Kind.TEXT, "\ud800"),
        (Kind.INTEGER, True),
        (Kind.INTEGER, 1.5),
        (Kind.INTEGER, "1 or 1=1"),
        (Kind.INTEGER, "٣"),
        (Kind.COUNT, 2**63),
        (Kind.DECIMAL, "NaN"),
        (Kind.DECIMAL, "1e999999"),
        (Kind.DECIMAL, True),
        (Kind.FLOAT, "inf"),
        (Kind.BOOLEAN, 1),
        (Kind.BOOLEAN, []),
        (Kind.DATE, "2011-02-29"),
        (Kind.DATE, 20110228),
        (Kind.LOCAL_TIME, "2011-02-28T09:30:00Z"),
        (Kind.INSTANT, "2011-02-28T09:30:00"),
        (Kind.INSTANT, "0001-01-01T00:00:00+14:00"),
        (Kind.UUID, "1; drop"),
        (Kind.UUID, {}),
        (Kind.JSON, "{}"),
        *[(kind, None) for kind in Kind],
    ],
)
def test_other_values_are_refused_in_words(kind: Kind, written: Any) -> None:
    with pytest.raises(QuestionError, match=r"^eq: .*(expected|compares)"):
        read_value(column(kind), written, "eq")


DEEP: dict[str, Any] = {}
for _ in range(12):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"quantitty": {"eq": 1}}, r"where.quantitty: fact_sale has no column 'quantitty'; it may be quantity"),
        ({"quantity": {"between": 1}}, r"where.quantity.between: .*it may be eq, ne, in, gt"),
        ({"quantity": {"like": "1"}}, r"where.quantity.like: is no operator of quantity \(integer\)"),
        ({"quantity": 5}, r"where.quantity: is 5; expected an object of operators"),
        ({"quantity": {"in": 5}}, r"where.quantity.in: is 5; expected a list"),
        ({"quantity": {"in": [1, "x"]}}, r"where.quantity.in\[1\]: is 'x'"),
        ({"quantity": {"in": [1] * 1001}}, r"at most 1000"),
        ({"quantity": {"eq": None}}, r"is_null asks"),
        ({"quantity": {"is_null": "yes"}}, r"expected true or false"),
        ({"batch_id": {"like": "a\\"}}, r"single backslash"),
        ({"or": {"quantity": {"eq": 1}}}, r"where.or: .*expected a list"),
        ({"or": [{}, {"x": {}}]}, r"where.or\[1\].x: "),
        ({"country": {"name": {"eq": "x"}}}, r"where.country.name: dim_country has no column 'name'"),
        (DEEP, r"nested more than 10"),
        ([], r"where: is a list; expected an object"),
        ({"quantity": True}, r"where.quantity: is true; expected"),
        ({"total_amount": {"gt": Decimal("1E+400")}}, r'where.total_amount.gt: is "1E\+400"; '),
        ({"\ud800": 1}, r"where: has the name '.ud800'"),
        ({"or": [{"\0": 1}]}, r"where.or\[0\]: has the name"),
        ({"x" * 1000: 1}, r"^where: has the name 'x{99}…; expected one of conditions$"),
        ({"line_type": "x" * 1000}, r"^where.line_type: is 'x{99}…; expected an object of operators$"),
    ],
)
def test_what_is_wrong_with_a_filter_is_said_at_its_place(written: Any, message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        read_filter(CATALOGUE, FACT, written, "where", sees_customers=True)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"median": {}}, r"having.median: is no aggregate; it may be count, count_distinct, sum"),
        ({"sum": {"line_type": {"eq": 1}}}, r"having.sum.line_type: line_type is text, of which there is no sum"),
        ({"max": {"is_cancelled": {"eq": True}}}, r"there is no max: count_distinct"),
        ({"sum": {"customer_key": {"gt": 1}}}, r"there is no sum"),
        ({"count": {"gt": "many"}}, r"having.count.gt: is 'many'; count is count"),
        ({"\ud800": 1}, r"having: has the name"),
    ],
)
def test_what_is_wrong_with_a_having_is_said_at_its_place(written: Any, message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        read_having(CATALOGUE, FACT, written, "having", sees_customers=True)


def test_paths_follow_relations_to_one_row() -> None:
    assert read_path(CATALOGUE, FACT, "country.country_name", "sort", sees_customers=False) == (
        "country",
        "country_name",
    )
    country = CATALOGUE["dim_country"]
    with pytest.raises(QuestionError, match="dim_country has no relation to one row 'fact_sales'; it may be none"):
        read_path(CATALOGUE, country, "fact_sales.quantity", "sort", sees_customers=False)


@pytest.mark.parametrize(
    "written",
    [
        {"customer_key": {"eq": 1}},
        {"customer": {"country": {"eq": "x"}}},
        {"or": [{"not": {"invoice": {"fact_sales": {"customer_key": {"in": [1]}}}}}]},
    ],
)
def test_filters_of_customers_need_an_analyst(written: Any) -> None:
    read_filter(CATALOGUE, FACT, written, "where", sees_customers=True)
    with pytest.raises(NotAllowedError, match="analyst"):
        read_filter(CATALOGUE, FACT, written, "where", sees_customers=False)


def test_what_else_needs_an_analyst() -> None:
    with pytest.raises(NotAllowedError, match="analyst"):
        check_table(CATALOGUE["customer_lifetime"], False, "table")
    with pytest.raises(NotAllowedError, match="analyst"):
        read_path(CATALOGUE, FACT, "customer_key", "sort", sees_customers=False)
    with pytest.raises(NotAllowedError, match="analyst"):
        read_having(CATALOGUE, FACT, {"max": {"customer_key": {"gt": 1}}}, "having", sees_customers=False)
    read_having(CATALOGUE, FACT, {"count_distinct": {"customer_key": {"gt": 1}}}, "having", sees_customers=False)
    assert read_path(CATALOGUE, FACT, "customer_key", "fields", sees_customers=False, shown=True) == ("customer_key",)
