"""The served tables over REST: rows, pages and aggregates of each, by one grammar, and the list of them all.

A new table or mart gets its route, its parameters and its model from the catalogue, without code here. The named
routes of single marts are in `datamart`.
"""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from retail_platform.serving.access.principals import Role, require
from retail_platform.serving.catalogue import Catalogue, Kind, ServedTable
from retail_platform.serving.direct import DirectRoute
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.filters import check_table
from retail_platform.serving.rest.answers import NOT_MODIFIED, MakePlan, Plan, planned
from retail_platform.serving.rest.grammar import OPERATORS, Filters, Reader
from retail_platform.serving.rest.models import (
    DECIMALS,
    GroupPagination,
    KeysetPagination,
    Pagination,
    list_model,
    row_model,
)
from retail_platform.serving.rest.pages import Listing, check_size, keyset_page, numbered_page
from retail_platform.serving.rest.parameters import (
    Flag,
    JsonObject,
    Paging,
    TextList,
    openapi_parameter,
    openapi_parameters,
    read_parameters,
    unknown_parameter,
)

ADDRESSES = {"marts": "/api/v1/datamart", "gold": "/api/v1/gold", "platform": "/api/v1/platform"}
"""Where the tables of each schema are."""

GRAMMAR = f"""
**Filters.** A column as a parameter is equality (`country_code=GB`); `column.operator=value` compares
(`net_revenue.gte=100`, `sale_date.in=2011-01-04,2011-01-05`, `description.ilike=%mug%`, `category.is_null=true`), with
an operator of {", ".join(OPERATORS)}; columns of a row that this one points to are reached by dots
(`country.country_name=France`). All have to hold; `where` takes and, or, not and nesting.

**Aggregates.** `aggregate=count,sum:net_revenue&group_by=country.country_name&sort=sum:net_revenue:desc` answers one
row per group, with `count` and `sum_net_revenue`; `having={{"sum":{{"net_revenue":{{"gt":1000}}}}}}` filters groups.

{DECIMALS}
"""


class TableParameters(Paging, extra="allow"):
    """Parameters of every table; any further one is a filter."""

    select: TextList | None = Field(None, description="Columns to answer, also of rows pointed to; else the table's.")
    where: JsonObject | None = Field(
        None,
        description="Filter as JSON, with `and`, `or`, `not` and relations (to many rows: at least one passes).",
    )
    sort: TextList = Field((), description="`column` or `column:desc`, or an aggregate; empty values come last.")
    cursor: str | None = Field(
        None, description="Pages without numbers: empty for the first, then `pagination.next_cursor`."
    )
    include_total: Flag = Field(False, description="With `cursor`: count the rows over all pages.")
    aggregate: TextList = Field((), description="`count`, or sum, avg, min, max, count_distinct with a column.")
    group_by: TextList = Field((), description="Columns that make a group.")
    having: JsonObject | None = Field(None, description="Filter of groups as JSON: aggregate, column, operator, value.")


LISTED_EXAMPLE: dict[str, JsonValue] = {
    "name": "daily_sales",
    "path": "/api/v1/datamart/daily_sales",
    "description": "One row per day with a sale.",
    "key": ["sale_date"],
    "columns": [{"name": "sale_date", "kind": "date", "nullable": False, "description": "Day of the sales."}],
    "relations": [],
}


class ListedColumn(BaseModel):
    """A column."""

    name: str
    kind: str
    nullable: bool
    description: str


class ListedRelation(BaseModel):
    """A way to rows of another table."""

    name: str
    table: str
    is_many: bool


class ListedTable(BaseModel):
    """A table, and what may be asked of it."""

    name: str
    path: str
    description: str
    key: list[str]
    columns: list[ListedColumn]
    relations: list[ListedRelation]


class ListedTables(BaseModel):
    """All tables."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [LISTED_EXAMPLE]}]})

    data: list[ListedTable]


def router(catalogue: Catalogue, max_page_size: int) -> APIRouter:
    """The routes of every served table, and their list.

    Args:
        catalogue: the tables.
        max_page_size: the most rows or groups of an answer.
    """
    routes = APIRouter(tags=["tables"], dependencies=[Depends(require(Role.VIEWER))])
    listed = ListedTables(data=[_listed(table) for table in catalogue.values()])

    @routes.get("/api/v1/tables", summary="The tables served", response_model=ListedTables)
    async def list_tables() -> ListedTables:
        """Every table with its columns, what they mean, and how rows are linked."""
        return listed

    for table in catalogue.values():
        path = f"{ADDRESSES[table.schema]}/{table.name}"
        routes.add_api_route(
            path,
            planned(path, plans(catalogue, table, max_page_size)),
            route_class_override=DirectRoute,
            name=f"list_{table.name}",
            summary=f"Rows or aggregates of {table.name}",
            description=f"{table.description}\n{GRAMMAR}",
            response_model=_model(table),
            responses=NOT_MODIFIED,
            openapi_extra={"parameters": _parameters(table, max_page_size)},
        )
    return routes


def plans(catalogue: Catalogue, table: ServedTable, max_page_size: int) -> MakePlan:
    """Makes plans of the query strings about a table."""

    def make_plan(query_string: str, sees_customers: bool) -> Plan:
        asked = read_parameters(TableParameters, query_string)
        check_size(asked.size, max_page_size)
        check_table(table, sees_customers, table.name)
        reader = Reader(catalogue, table, sees_customers)
        filters = _filters(reader, asked)
        if asked.aggregate or asked.group_by or asked.having is not None:
            return _groups(reader, asked, filters)
        outputs = reader.outputs(tuple(table.columns) if asked.select is None else asked.select, "select")
        listing = Listing(table.name, outputs, filters, reader.sort(asked.sort))
        if asked.cursor is None:
            return numbered_page(catalogue, listing, asked.page, asked.size)
        if asked.page != 1:
            raise QuestionError("page", "a page has a number or a cursor; leave one of the two out")
        return keyset_page(catalogue, listing, asked.cursor, asked.size, has_total=asked.include_total)

    return make_plan


def _filters(reader: Reader, asked: TableParameters) -> Filters:
    filters = Filters()
    for name, text in (asked.model_extra or {}).items():
        if name.split(".")[0] not in reader.table.columns.keys() | reader.table.relations.keys():
            raise unknown_parameter(name, [*TableParameters.model_fields, *reader.table.columns])
        filters = reader.comparison(name, text, filters)
    if asked.where is not None:
        filters = filters.also(*reader.where(asked.where, "where"), where=asked.where)
    return filters


def _groups(reader: Reader, asked: TableParameters, filters: Filters) -> Plan:
    for name, value in (("select", asked.select), ("cursor", asked.cursor)):
        if value is not None:
            raise QuestionError(name, "is for rows; groups have the columns of group_by and the aggregates, by page")
    if not (asked.aggregate or asked.group_by):
        raise QuestionError("having", "is a filter of groups, and nothing is asked of them; write aggregate=count too")
    return reader.groups(
        filters,
        group_by=asked.group_by,
        measures=asked.aggregate,
        having=asked.having,
        sort=asked.sort,
        page=asked.page,
        size=asked.size,
        names=("group_by", "aggregate"),
    )


def _listed(table: ServedTable) -> ListedTable:
    return ListedTable(
        name=table.name,
        path=f"{ADDRESSES[table.schema]}/{table.name}",
        description=table.description,
        key=list(table.key),
        columns=[
            ListedColumn(name=each.name, kind=each.kind.value, nullable=each.nullable, description=each.description)
            for each in table.columns.values()
        ],
        relations=[
            ListedRelation(name=each.name, table=each.target, is_many=each.is_many) for each in table.relations.values()
        ],
    )


def _model(table: ServedTable) -> type[BaseModel]:
    name = "".join(part.capitalize() for part in table.name.split("_"))
    row = row_model(f"{name}Row", table.columns, optional=True)
    return list_model(f"{name}Rows", row, Pagination | KeysetPagination | GroupPagination)


def _parameters(table: ServedTable, max_page_size: int) -> list[dict[str, Any]]:
    """The grammar's parameters, then each column as equality; the operators are told in the description."""
    shown = openapi_parameters(TableParameters, max_page_size)
    for column in table.columns.values():
        if column.kind is not Kind.JSON:
            schema = {"type": "string", "description": f"Equal to: {column.description}"}
            shown.append(openapi_parameter(column.name, schema))
    return shown
