"""The schema follows the catalogue."""

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, get_named_type, validate_schema

from retail_platform.serving.catalogue import Catalogue, Kind, ServedTable, read_catalogue
from retail_platform.serving.graphql.analytics import ANALYTICS
from retail_platform.serving.graphql.schema import (
    build_schema,
    camel_case,
    graphql_schema,
    pascal_case,
    written_names,
)

CATALOGUE = read_catalogue()
SCHEMA = graphql_schema(build_schema(CATALOGUE))


def type_of(name: str) -> GraphQLObjectType:
    found = SCHEMA.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return found


def printed(name: str) -> dict[str, str]:
    return {name: str(field.type) for name, field in type_of(name).fields.items()}


def test_it_is_valid() -> None:
    assert validate_schema(SCHEMA) == []


def test_every_table_is_at_the_root_twice_and_every_named_query_once() -> None:
    tables = {f"{camel_case(name)}{suffix}" for name in CATALOGUE for suffix in ("Connection", "Aggregate")}
    assert printed("Query").keys() == tables | {analytic.name for analytic in ANALYTICS}


@pytest.mark.parametrize("table", CATALOGUE.values(), ids=lambda table: table.name)
def test_columns_have_their_descriptions(table: ServedTable) -> None:
    row = type_of(pascal_case(table.name))
    assert row.description is not None
    assert row.description.split() == table.description.split()
    for column in table.columns.values():
        assert row.fields[camel_case(column.name)].description == column.description


def test_fields_and_arguments_are_described() -> None:
    missing = [
        f"{type_.name}.{name}"
        for type_ in SCHEMA.type_map.values()
        if isinstance(type_, GraphQLObjectType | GraphQLInputObjectType) and not type_.name.startswith("__")
        for name, field in type_.fields.items()
        if not field.description
    ]
    assert missing == []


def test_a_row_has_typed_columns_and_relations() -> None:
    fields = printed("FactSale")
    assert {name: fields[name] for name in ("saleId", "saleDate", "customerKey", "quantity", "totalAmount")} == {
        "saleId": "UUID!",
        "saleDate": "Date!",
        "customerKey": "Key",  # null to those who may not see customers
        "quantity": "Int!",
        "totalAmount": "Decimal!",
    }
    assert fields["product"] == "DimProduct"
    assert printed("DimProduct")["factSales"] == "FactSaleConnection!"
    assert printed("DimProduct")["factSalesAggregate"] == "[FactSaleAggregate!]!"


def test_aggregates_are_offered_for_the_columns_that_have_them() -> None:
    assert printed("FactSaleSum")["quantity"] == "BigInt"
    assert printed("FactSaleSum")["totalAmount"] == "Decimal"
    assert "productKey" not in printed("FactSaleSum")
    assert printed("FactSaleMin")["saleDate"] == "Date"
    assert "customerKey" not in printed("FactSaleMax")
    assert printed("FactSaleCountDistinct")["customer"] == "DimCustomerCountDistinct!"


def test_rows_are_sorted_by_columns_of_their_own_and_of_what_they_belong_to() -> None:
    fields = SCHEMA.type_map["FactSaleField"]
    assert isinstance(fields, GraphQLEnumType)
    assert {"TOTAL_AMOUNT", "COUNTRY__COUNTRY_NAME"} <= fields.values.keys()


def test_a_new_mart_is_served_without_a_resolver() -> None:
    columns = {**CATALOGUE["customer_segments"].columns}
    mart = ServedTable("new_mart", "marts", "One row per thing.", ("rfm_segment",), columns, {}, is_personal=False)
    schema = graphql_schema(build_schema(Catalogue([*CATALOGUE.values(), mart])))
    assert schema.query_type is not None
    assert get_named_type(schema.query_type.fields["newMartConnection"].type).name == "NewMartConnection"


def test_names_go_back_to_the_catalogue() -> None:
    names = written_names(CATALOGUE)
    for table in CATALOGUE.values():
        for name in (*table.columns, *table.relations):
            assert names[camel_case(name)] == name


def test_every_kind_has_a_scalar() -> None:
    kinds = {column.kind for table in CATALOGUE.values() for column in table.columns.values()}
    assert kinds <= set(Kind)
    assert {"Decimal", "Key", "BigInt", "Date", "DateTime", "UUID"} <= SCHEMA.type_map.keys()
