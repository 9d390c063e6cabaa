"""The schema, made from the catalogue: a type, a connection, aggregates and inputs for each served table.

Each field that a plan has to know says in its metadata what it means; nothing here resolves anything. The fields of
every connection, edge and aggregate are the same for all tables and known to the planner by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import strawberry
from graphql import GraphQLField, GraphQLSchema
from strawberry.annotation import StrawberryAnnotation
from strawberry.schema.config import StrawberryConfig
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from retail_platform.serving.catalogue import Catalogue, Column, Kind, Relation, ServedTable
from retail_platform.serving.graphql.analytics import ANALYTICS, Analytic
from retail_platform.serving.graphql.scalars import SCALARS, TYPES, BigCount
from retail_platform.serving.query.measures import functions_of, measure_kind
from retail_platform.serving.query.shapes import Function, Measure, Operator, Path

FUNCTIONS = [function for function in Function if function is not Function.COUNT]

EQUALS = ("eq", "ne")
COMPARES = (*EQUALS, "gt", "gte", "lt", "lte")
OPERATORS: Mapping[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*COMPARES, "in", "like", "ilike"),
    Kind.BOOLEAN: EQUALS,
    Kind.KEY: (*EQUALS, "in"),
    Kind.UUID: (*EQUALS, "in"),
    **dict.fromkeys(
        (Kind.INTEGER, Kind.COUNT, Kind.DECIMAL, Kind.FLOAT, Kind.DATE, Kind.LOCAL_TIME, Kind.INSTANT),
        (*COMPARES, "in"),
    ),
}
"""The comparisons of each kind; every one has isNull besides, and JSON has none."""

COMPARISON_HELP = {
    "eq": "Equal to.",
    "ne": "Not equal to; a null is not equal to anything.",
    "gt": "Greater than.",
    "gte": "Greater than or equal to.",
    "lt": "Less than.",
    "lte": "Less than or equal to.",
    "in": "Equal to one of at most 1,000 values.",
    "like": "Matches a pattern: % is any text, _ any character.",
    "ilike": "Matches a pattern, upper and lower case alike: % is any text, _ any character.",
    "isNull": "Whether there is no value.",
}


@strawberry.enum(description="The way of a sort; nulls come last in both.")
class Direction(Enum):
    """The way of a sort."""

    ASC = "ASC"
    DESC = "DESC"


@strawberry.enum(description="A measure of a group.")
class AggregateFunction(Enum):
    """The functions of `query.shapes`, by their names in the schema."""

    COUNT = "count"
    COUNT_DISTINCT = "count_distinct"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"


# What the fields of rows mean.


@dataclass(frozen=True)
class ColumnField:
    """A column's value."""

    column: str


@dataclass(frozen=True)
class OneField:
    """The row along a relation to one."""

    relation: Relation


@dataclass(frozen=True)
class ConnectionField:
    """Rows of a table, page by page; `relation` is None at the root."""

    table: str
    relation: Relation | None


@dataclass(frozen=True)
class AggregateField:
    """Groups of a table's rows; `relation` is None at the root."""

    table: str
    relation: Relation | None


@dataclass(frozen=True)
class HistoryField:
    """All rows along a relation to many, in the order of a column."""

    relation: Relation
    sort: str


Meaning = ColumnField | OneField | ConnectionField | AggregateField | HistoryField | Analytic


def meaning(field: GraphQLField) -> Meaning:
    """What a field of a row, of a group or of the root means."""
    means: Meaning = field.extensions["strawberry-definition"].metadata["means"]
    return means


def camel_case(name: str) -> str:
    """`net_revenue` -> `netRevenue`."""
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


def pascal_case(name: str) -> str:
    """`fact_sale` -> `FactSale`."""
    return "".join(map(str.capitalize, name.split("_")))


def written_names(catalogue: Catalogue) -> Mapping[str, str]:
    """The catalogue's name (of a column, relation, operator or aggregate) of each name in the schema.

    Raises:
        ValueError: two names look the same in the schema.
    """
    names = {"is_null", *(operator.value for operator in Operator), *(function.value for function in Function)}
    for table in catalogue.values():
        names.update(table.columns, table.relations)
    written = {camel_case(name): name for name in names}
    if len(written) < len(names):
        raise ValueError(f"Columns or relations are the same in camel case: {sorted(names - set(written.values()))}.")
    return written


def build_schema(catalogue: Catalogue) -> strawberry.Schema:
    """The schema of a catalogue.

    Args:
        catalogue: the tables served.

    Returns:
        The schema, of queries only.
    """
    return _Builder(catalogue).schema()


class _Builder:
    """Makes the types. They name each other in circles, so fields hold names, and `types` is the namespace of these."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.types: dict[str, Any] = {"Direction": Direction, "AggregateFunction": AggregateFunction}
        self.described: dict[str, dict[str, Any]] = {}

    def schema(self) -> strawberry.Schema:
        self._page_info()
        for kind in OPERATORS:
            self._comparison(kind)
        for table in self.catalogue.values():
            self._table(table)
        fields = [field for table in self.catalogue.values() for field in self._many(table, camel_case(table.name))]
        fields += [self._analytic(analytic) for analytic in ANALYTICS if analytic.table in self.catalogue]
        self._type("Query", fields, "What may be asked. One operation is one statement in the database.")
        # Only now, as Strawberry resolves the names in a type's fields when it takes the type.
        for name, options in self.described.items():
            strawberry.type(self.types[name], **options)
        return strawberry.Schema(self.types["Query"], config=StrawberryConfig(scalar_map=SCALARS))

    def _table(self, table: ServedTable) -> None:
        name = pascal_case(table.name)
        self._type(name, self._row(table), table.description)
        self._connection(table, name)
        self._aggregates(table, name)
        self._field_enum(table, name)
        self._inputs(table, name)

    # Rows.

    def _row(self, table: ServedTable, names: Mapping[str, str] | None = None) -> list[StrawberryField]:
        names = names or {}
        fields = [
            self._column(column, names.get(column.name, camel_case(column.name))) for column in table.columns.values()
        ]
        for relation in table.relations.values():
            target, name = self.catalogue[relation.target], camel_case(relation.name)
            if relation.is_many:
                fields += self._many(target, name, relation)
            else:
                annotation = f"{pascal_case(relation.target)} | None"
                fields.append(self._field(name, annotation, target.description, OneField(relation)))
        return fields

    def _column(self, column: Column, name: str) -> StrawberryField:
        annotation = _optional(TYPES[column.kind], column.comes_as_null)
        return self._field(name, annotation, column.description, ColumnField(column.name))

    def _many(self, target: ServedTable, name: str, relation: Relation | None = None) -> list[StrawberryField]:
        type_name, suffix = pascal_case(target.name), "" if relation else "Connection"
        rows = self._field(
            f"{name}{suffix}",
            f"{type_name}Connection",
            f"Rows of {target.name}, page by page. {target.description}",
            ConnectionField(target.name, relation),
            self._page_arguments(type_name),
        )
        groups = self._field(
            f"{name}Aggregate",
            f"list[{type_name}Aggregate]",
            f"Measures of {target.name}, by the fields selected in `group`; without any, of all rows together.",
            AggregateField(target.name, relation),
            self._group_arguments(type_name),
        )
        return [rows, groups]

    def _analytic(self, analytic: Analytic) -> StrawberryField:
        table = self.catalogue[analytic.table]
        name = analytic.type_name or pascal_case(table.name)
        if analytic.type_name:
            fields = self._row(table, analytic.names)
            for written, history in analytic.histories.items():
                relation = table.relations[history.relation]
                annotation, means = f"list[{pascal_case(relation.target)}]", HistoryField(relation, history.sort)
                fields.append(self._field(written, annotation, history.description, means))
            self._type(name, fields, table.description)
        annotation = f"{name} | None" if analytic.is_one else f"list[{name}]"
        arguments = [
            self._argument(one.name, _optional(one.type, not one.required), one.description, one.default)
            for one in analytic.arguments
        ]
        return self._field(analytic.name, annotation, analytic.description, analytic, arguments)

    # Pages.

    def _page_info(self) -> None:
        fields = [
            self._field("hasNextPage", bool, "Whether rows follow."),
            self._field("hasPreviousPage", bool, "Whether rows come before."),
            self._field("startCursor", str | None, "Cursor of the first row, for `before`."),
            self._field("endCursor", str | None, "Cursor of the last row, for `after`."),
        ]
        self._type("PageInfo", fields, "Where a page is among all.")

    def _connection(self, table: ServedTable, name: str) -> None:
        edge = [
            self._field("cursor", str, "The row's place in this sort, for `after` and `before`."),
            self._field("node", name, "The row."),
        ]
        self._type(f"{name}Edge", edge, f"A row of {table.name} and its place.")
        fields = [
            self._field("edges", f"list[{name}Edge]", "The rows and their places."),
            self._field("nodes", f"list[{name}]", "The rows."),
            self._field("pageInfo", "PageInfo", "Where the page is."),
            self._field("totalCount", BigCount, "How many rows pass `where`, over all pages."),
        ]
        self._type(f"{name}Connection", fields, f"A page of {table.name}.")

    def _page_arguments(self, name: str) -> list[StrawberryArgument]:
        return [
            self._argument("first", int | None, "At most this many rows from the start; 100 when nothing is said."),
            self._argument("after", str | None, "Only rows after this cursor."),
            self._argument("last", int | None, "At most this many rows from the end."),
            self._argument("before", str | None, "Only rows before this cursor."),
            self._argument("where", f"{name}Where | None", "Only rows that pass."),
            self._argument("orderBy", f"list[{name}OrderBy] | None", "The sort; the key decides ties."),
        ]

    # Aggregates.

    def _aggregates(self, table: ServedTable, name: str) -> None:
        group = [self._column(column, camel_case(column.name)) for column in _grouping_columns(table)]
        group += self._along(table, "Group")
        self._type(f"{name}Group", group, f"Columns that make groups of {table.name}.")
        fields = [
            self._field("group", f"{name}Group", "What the rows of the group have in common."),
            self._field("count", BigCount, "Number of rows."),
        ]
        having = [self._input("count", self._comparison_name(Kind.COUNT), "Number of rows.")]
        for function in FUNCTIONS:
            if not _columns(table, function):
                continue
            suffix, written = pascal_case(function.value), camel_case(function.value)
            self._type(f"{name}{suffix}", self._measures(table, function), f"{suffix} of columns of {table.name}.")
            fields.append(self._field(written, f"{name}{suffix}", f"{suffix} per column."))
            self._type(f"{name}{suffix}Having", self._measure_inputs(table, function), None, is_input=True)
            having.append(self._input(written, f"{name}{suffix}Having", f"Of {written}."))
        self._type(f"{name}Aggregate", fields, f"A group of rows of {table.name}.")
        self._boolean_input(f"{name}Having", having, f"Conditions that groups of {table.name} have to pass.")

    def _measures(self, table: ServedTable, function: Function) -> list[StrawberryField]:
        fields = [
            self._field(
                camel_case(column.name), self._measured(table, name, function), column.description, ColumnField(name)
            )
            for name, column in _columns(table, function).items()
        ]
        return fields + (self._along(table, "CountDistinct") if function is Function.COUNT_DISTINCT else [])

    def _measured(self, table: ServedTable, column: str, function: Function) -> object:
        kind = measure_kind(self.catalogue, table, Measure(function, (column,)))
        # Those who may not see customers are not told how few there are.
        nullable = function is not Function.COUNT_DISTINCT or table.columns[column].is_personal
        return _optional(TYPES[kind], nullable)

    def _along(self, table: ServedTable, suffix: str) -> list[StrawberryField]:
        """Fields along the relations to one, to the same kind of type of the other table."""
        return [
            self._field(camel_case(one.name), f"{pascal_case(one.target)}{suffix}", f"Of {one.target}.", OneField(one))
            for one in table.relations.values()
            if not one.is_many
        ]

    def _measure_inputs(self, table: ServedTable, function: Function) -> list[StrawberryField]:
        kinds = {
            name: measure_kind(self.catalogue, table, Measure(function, (name,))) for name in _columns(table, function)
        }
        return [
            self._input(camel_case(name), self._comparison_name(kind), table.columns[name].description)
            for name, kind in kinds.items()
        ]

    def _group_arguments(self, name: str) -> list[StrawberryArgument]:
        return [
            self._argument("where", f"{name}Where | None", "Only rows that pass."),
            self._argument("having", f"{name}Having | None", "Only groups that pass."),
            self._argument(
                "orderBy", f"list[{name}AggregateOrderBy] | None", "The sort; the group's fields decide ties."
            ),
            self._argument("first", int | None, "At most this many groups; 100 when nothing is said."),
            self._argument("offset", int | None, "Groups to leave out at the start."),
        ]

    # Inputs.

    def _comparison_name(self, kind: Kind) -> str:
        return f"{pascal_case(kind.value)}Comparison"

    def _comparison(self, kind: Kind) -> None:
        scalar = TYPES[kind]
        fields = [
            self._input(operator, list[scalar] if operator == "in" else scalar, COMPARISON_HELP[operator])  # type: ignore[valid-type]
            for operator in OPERATORS[kind]
        ]
        fields.append(self._input("isNull", bool, COMPARISON_HELP["isNull"]))
        self._type(self._comparison_name(kind), fields, "Comparisons, all of which have to hold.", is_input=True)

    def _field_enum(self, table: ServedTable, name: str) -> None:
        paths = sort_paths(self.catalogue, table)
        enum = Enum(f"{name}Field", {"__".join(path).upper(): ".".join(path) for path in paths})  # type: ignore[misc]
        description = f"Columns of {table.name}, and of the rows it belongs to."
        self.types[enum.__name__] = strawberry.enum(enum, name=enum.__name__, description=description)

    def _inputs(self, table: ServedTable, name: str) -> None:
        where = [
            self._input(camel_case(column.name), self._comparison_name(column.kind), column.description)
            for column in table.columns.values()
            if column.kind in OPERATORS
        ]
        for relation in table.relations.values():
            what = "At least one row passes, of" if relation.is_many else "The row passes, of"
            type_name = f"{pascal_case(relation.target)}Where"
            where.append(self._input(camel_case(relation.name), type_name, f"{what} {relation.target}."))
        self._boolean_input(f"{name}Where", where, f"Conditions that rows of {table.name} have to pass.")
        direction = self._input("direction", Direction, "Ascending when not given.")
        order = [self._input("field", f"{name}Field", "The column.", required=True), direction]
        self._type(f"{name}OrderBy", order, f"A column that {table.name} is sorted by.", is_input=True)
        order = [
            self._input("function", "AggregateFunction", "The measure; without it, a field selected in `group`."),
            self._input("field", f"{name}Field", "The column; COUNT takes none."),
            direction,
        ]
        self._type(f"{name}AggregateOrderBy", order, "A measure or a field of the group.", is_input=True)

    def _boolean_input(self, name: str, fields: list[StrawberryField], description: str) -> None:
        fields += [
            self._input("and", f"list[{name}]", "All pass."),
            self._input("or", f"list[{name}]", "At least one passes."),
            self._input("not", name, "It does not pass."),
        ]
        self._type(name, fields, description, is_input=True)

    # Strawberry.

    def _type(
        self, name: str, fields: list[StrawberryField], description: str | None, *, is_input: bool = False
    ) -> None:
        body: dict[str, Any] = {field.python_name: field for field in fields}
        body["__annotations__"] = {field.python_name: field.type_annotation for field in fields}
        self.types[name] = type(name, (), body)
        self.described[name] = {"is_input": is_input, "description": description}

    def _field(
        self,
        name: str,
        annotation: object,
        description: str,
        means: Meaning | None = None,
        arguments: Iterable[StrawberryArgument] = (),
    ) -> StrawberryField:
        field = StrawberryField(
            python_name=name,
            graphql_name=name,
            type_annotation=StrawberryAnnotation(annotation, namespace=self.types),
            description=description,
            metadata={"means": means},
        )
        field.arguments = list(arguments)
        return field

    def _input(self, name: str, annotation: object, description: str, *, required: bool = False) -> StrawberryField:
        return StrawberryField(
            python_name=f"{name}_",  # `in`, `and`, `or` and `not` are words of Python
            graphql_name=name,
            type_annotation=StrawberryAnnotation(_optional(annotation, not required), namespace=self.types),
            description=description,
            default=strawberry.UNSET,
        )

    def _argument(
        self, name: str, annotation: object, description: str, default: object = strawberry.UNSET
    ) -> StrawberryArgument:
        return StrawberryArgument(
            python_name=name,
            graphql_name=name,
            type_annotation=StrawberryAnnotation(annotation, namespace=self.types),
            description=description,
            default=default,
        )


def sort_paths(catalogue: Catalogue, table: ServedTable) -> list[Path]:
    """What a table may be sorted by: its columns, and those of the rows it belongs to."""
    paths: list[Path] = [(column.name,) for column in _grouping_columns(table)]
    for one in table.relations.values():
        if not one.is_many:
            paths += [(one.name, column.name) for column in _grouping_columns(catalogue[one.target])]
    return paths


def _columns(table: ServedTable, function: Function) -> dict[str, Column]:
    """The columns that have an aggregate for everybody."""
    return {
        name: column for name, column in table.columns.items() if function in functions_of(column, sees_customers=False)
    }


def _grouping_columns(table: ServedTable) -> list[Column]:
    return [column for column in table.columns.values() if column.kind is not Kind.JSON]


def _optional(annotation: object, nullable: bool) -> object:
    if not nullable:
        return annotation
    return f"{annotation} | None" if isinstance(annotation, str) else annotation | None  # type: ignore[operator]


def graphql_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """graphql-core's own schema inside Strawberry's."""
    return schema._schema
