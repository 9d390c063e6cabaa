"""From an operation to the questions it asks: one per field at the root, all of them one statement.

Lives here: what selections, arguments and directives mean. Stays out: the text of the document (`operations`), what the
database makes of a question (`query/sql`), and HTTP.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    SelectionSetNode,
    get_argument_values,
    get_directive_values,
    get_named_type,
)
from graphql.language import InlineFragmentNode, OperationDefinitionNode

from retail_platform.serving.catalogue import Catalogue, ServedTable
from retail_platform.serving.countries import read_country
from retail_platform.serving.graphql import limits as most
from retail_platform.serving.graphql.analytics import Analytic, Compares, Limits, NamesCountry, Sorts
from retail_platform.serving.graphql.errors import BAD_INPUT, located
from retail_platform.serving.graphql.schema import (
    AggregateField,
    ColumnField,
    ConnectionField,
    Direction,
    HistoryField,
    OneField,
    camel_case,
    meaning,
    written_names,
)
from retail_platform.serving.query.cursors import full_sort, read_cursor
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.filters import check_table, read_filter, read_having, read_path, read_value
from retail_platform.serving.query.measures import read_measure
from retail_platform.serving.query.shapes import (
    EVERYTHING,
    LONGEST_NAME,
    Aggregate,
    Aggregation,
    All,
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
    Output,
    Page,
    PageFact,
    PageInfo,
    PagePart,
    Path,
    Query,
    Question,
    Rows,
    Sort,
    Total,
    Value,
    Values,
)

PAGE_FACTS = {
    "hasNextPage": PageFact.HAS_NEXT,
    "hasPreviousPage": PageFact.HAS_PREVIOUS,
    "startCursor": PageFact.START_CURSOR,
    "endCursor": PageFact.END_CURSOR,
}
MEASURES = {"countDistinct": Function.COUNT_DISTINCT} | {
    each.value: each for each in (Function.SUM, Function.AVG, Function.MIN, Function.MAX)
}

Selected = Mapping[str, Sequence[FieldNode]]
"""The fields of an object by response key; fields of one key are merged."""


@dataclass(frozen=True)
class Operation:
    """A valid operation with its variables' values."""

    schema: GraphQLSchema
    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]

    def selected(self, *sets: SelectionSetNode | None) -> Selected:
        """The fields of selection sets of one object, fragments written out, without what is skipped."""
        fields: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for selections in sets:
            for node in self._fields(selections, seen):
                key = node.alias.value if node.alias else node.name.value
                if len(key) > LONGEST_NAME:
                    message = f"{key} has {len(key)} characters; a name in the answer may have {LONGEST_NAME}."
                    raise GraphQLError(message, node, extensions={"code": BAD_INPUT})
                fields.setdefault(key, []).append(node)
        return fields

    def _fields(self, selections: SelectionSetNode | None, seen: set[str]) -> Iterator[FieldNode]:
        for node in selections.selections if selections else ():
            if not self._is_wanted(node):
                continue
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                yield from self._fields(node.selection_set, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                yield from self._fields(self.fragments[node.name.value].selection_set, seen)

    def _is_wanted(self, node: Any) -> bool:
        if not node.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, node, dict(self.variables))
        include = get_directive_values(GraphQLIncludeDirective, node, dict(self.variables))
        return not (skip and skip["if"]) and (include is None or bool(include["if"]))

    def arguments(self, definition: GraphQLField, node: FieldNode) -> dict[str, Any]:
        """The arguments that have a value; null is as good as none."""
        given = get_argument_values(definition, node, dict(self.variables))
        return {name: value for name, value in given.items() if value is not None}


class Planner:
    """Plans one operation for one kind of person."""

    def __init__(
        self, operation: Operation, catalogue: Catalogue, limits: most.Limits, *, sees_customers: bool
    ) -> None:
        """Take what every step needs.

        Args:
            operation: valid.
            catalogue: that the schema was made from.
            limits: of the platform.
            sees_customers: whether the person may see who a customer is.
        """
        self.operation = operation
        self.catalogue = catalogue
        self.limits = limits
        self.sees_customers = sees_customers
        self.names = written_names(catalogue)
        self.values = 0
        self.rows = 1
        """Rows of all pages around, multiplied."""

    def question(self, key: str, nodes: Sequence[FieldNode]) -> Question:
        """What a field at the root asks.

        Args:
            key: its response key.
            nodes: its fields, not of introspection.

        Raises:
            GraphQLError: an argument is wrong, the person may not ask this, or it is too much.
        """
        query_type = self.operation.schema.query_type
        assert query_type is not None
        definition = query_type.fields[nodes[0].name.value]
        means = meaning(definition)
        with located(nodes[0], [key]):
            if isinstance(means, Analytic):
                query, values = self._analytic(means, definition, nodes)
            else:
                assert isinstance(means, ConnectionField | AggregateField)
                query, values = self._many(means, definition, nodes, [key])
        return Question(query, values)

    # Rows.

    def _outputs(
        self, table: ServedTable, definition: GraphQLField, nodes: Sequence[FieldNode], path: list[str]
    ) -> tuple[tuple[Output, ...], Values]:
        """What is put into each row, and the values of the pages in it."""
        outputs: list[Output] = []
        values: Values = ()
        for key, inner, below in self._selected(definition, nodes):
            if below is None:
                outputs.append(Constant(key, _type(definition).name))
                continue
            with located(inner[0], [*path, key]):
                output, further = self._output(table, key, below, inner, [*path, key])
            outputs.append(output)
            values += further
        return tuple(outputs), values

    def _output(
        self, table: ServedTable, key: str, definition: GraphQLField, nodes: Sequence[FieldNode], path: list[str]
    ) -> tuple[Output, Values]:
        means = meaning(definition)
        if isinstance(means, ColumnField):
            return Value(key, (means.column,)), ()
        if isinstance(means, OneField):
            target = self._table(means.relation.target, nodes[0])
            outputs, values = self._outputs(target, definition, nodes, path)
            return One(key, means.relation.name, outputs), values
        assert isinstance(means, ConnectionField | AggregateField | HistoryField)
        assert means.relation is not None
        if isinstance(means, HistoryField):
            return self._history(means, key, definition, nodes, path)
        query, values = self._many(means, definition, nodes, path)
        return Many(key, means.relation.name, query), values

    def _selected(
        self, definition: GraphQLField, nodes: Sequence[FieldNode]
    ) -> Iterator[tuple[str, Sequence[FieldNode], GraphQLField | None]]:
        """Key, fields and definition of all that an object is asked for; without a definition, its type's name."""
        fields = _type(definition).fields
        for key, inner in self.operation.selected(*(node.selection_set for node in nodes)).items():
            self._count(inner[0])
            yield key, inner, fields.get(inner[0].name.value)

    def _count(self, node: FieldNode) -> None:
        self.values += self.rows
        if self.values > self.limits.values:
            raise most.too_complex(
                f"The operation asks for more than {self.limits.values} values: rows of each page times what is "
                "selected of a row, pages inside of pages multiplied. Ask for shorter pages by `first`, go on with "
                "`after`, or aggregate.",
                node,
            )

    @contextmanager
    def _times(self, rows: int) -> Iterator[None]:
        outside, self.rows = self.rows, self.rows * max(rows, 1)
        yield
        self.rows = outside

    def _table(self, name: str, node: FieldNode) -> ServedTable:
        table = self.catalogue[name]
        check_table(table, self.sees_customers, node.name.value)
        return table

    def _many(
        self,
        means: ConnectionField | AggregateField,
        definition: GraphQLField,
        nodes: Sequence[FieldNode],
        path: list[str],
    ) -> tuple[Page | Aggregation, Values]:
        table = self._table(means.table, nodes[0])
        arguments = self.operation.arguments(definition, nodes[0])
        if isinstance(means, ConnectionField):
            return self._page(table, arguments, definition, nodes, path)
        return self._aggregation(table, arguments, definition, nodes)

    # Pages.

    def _page(
        self,
        table: ServedTable,
        arguments: Mapping[str, Any],
        definition: GraphQLField,
        nodes: Sequence[FieldNode],
        path: list[str],
    ) -> tuple[Page, Values]:
        filter_, values = self._where(table, arguments)
        sort = full_sort(table, self._sort(table, arguments))
        after, after_values = self._cursor(table, sort, arguments, "after")
        before, before_values = self._cursor(table, sort, arguments, "before")
        limit, from_end = self._page_size(arguments)
        with self._times(limit):
            parts, nested = self._page_parts(table, definition, nodes, path)
        page = Page(table.name, parts, filter_, sort, after, before, from_end)
        return page, (*values, *after_values, *before_values, limit, *nested)

    def _page_parts(
        self, table: ServedTable, definition: GraphQLField, nodes: Sequence[FieldNode], path: list[str]
    ) -> tuple[tuple[PagePart, ...], Values]:
        parts: list[PagePart] = []
        values: Values = ()
        for key, inner, below in self._selected(definition, nodes):
            name = inner[0].name.value
            if below is None:
                parts.append(Constant(key, _type(definition).name))
            elif name == "totalCount":
                parts.append(Total(key))
            elif name == "pageInfo":
                parts.append(self._page_info(key, below, inner))
            elif name == "nodes":
                outputs, further = self._outputs(table, below, inner, [*path, key])
                parts.append(Rows(key, outputs))
                values += further
            else:
                edges, further = self._edges(table, key, below, inner, [*path, key])
                parts.append(edges)
                values += further
        return tuple(parts), values

    def _edges(
        self, table: ServedTable, key: str, definition: GraphQLField, nodes: Sequence[FieldNode], path: list[str]
    ) -> tuple[Edges, Values]:
        parts: list[Cursor | Node | Constant] = []
        values: Values = ()
        for part, inner, below in self._selected(definition, nodes):
            if below is None:
                parts.append(Constant(part, _type(definition).name))
            elif inner[0].name.value == "cursor":
                parts.append(Cursor(part))
            else:
                outputs, further = self._outputs(table, below, inner, [*path, part])
                parts.append(Node(part, outputs))
                values += further
        return Edges(key, tuple(parts)), values

    def _page_info(self, key: str, definition: GraphQLField, nodes: Sequence[FieldNode]) -> PageInfo:
        type_name = _type(definition).name
        return PageInfo(
            key,
            tuple(
                (fact, type_name if below is None else PAGE_FACTS[inner[0].name.value])
                for fact, inner, below in self._selected(definition, nodes)
            ),
        )

    def _page_size(self, arguments: Mapping[str, Any]) -> tuple[int, bool]:
        if "first" in arguments and "last" in arguments:
            raise QuestionError("last", "is given beside `first`; a page is counted from one end")
        from_end = "last" in arguments
        name, beyond = "last" if from_end else "first", "Go on with `after: pageInfo.endCursor`, or aggregate"
        return self._size(arguments, name, most.DEFAULT_ROWS, self.limits.rows, beyond), from_end

    def _size(self, arguments: Mapping[str, Any], name: str, default: int, limit: int, beyond: str) -> int:
        size = arguments.get(name, min(default, limit))
        if not isinstance(size, int) or size < 0:
            raise QuestionError(name, f"is {size}; it may be 0 to {limit}")
        if size > limit:
            raise QuestionError(name, f"is {size}; it may be 0 to {limit}. {beyond}")
        return size

    def _cursor(
        self, table: ServedTable, sort: tuple[Sort, ...], arguments: Mapping[str, Any], name: str
    ) -> tuple[tuple[bool, ...] | None, Values]:
        if name not in arguments:
            return None, ()
        return read_cursor(table, sort, arguments[name], name, self.catalogue)

    def _where(self, table: ServedTable, arguments: Mapping[str, Any]) -> tuple[Filter, Values]:
        if "where" not in arguments:
            return EVERYTHING, ()
        return read_filter(
            self.catalogue,
            table,
            arguments["where"],
            "where",
            sees_customers=self.sees_customers,
            names=self.names.__getitem__,
            is_null="isNull",
        )

    def _sort(self, table: ServedTable, arguments: Mapping[str, Any]) -> list[Sort]:
        return [
            Sort(self._path(table, one["field"].value, f"orderBy[{n}].field"), _descending(one))
            for n, one in enumerate(arguments.get("orderBy", ()))
        ]

    def _path(self, table: ServedTable, written: str, argument: str, *, shown: bool = False) -> Path:
        return read_path(self.catalogue, table, written, argument, sees_customers=self.sees_customers, shown=shown)

    # Aggregates.

    def _aggregation(
        self,
        table: ServedTable,
        arguments: Mapping[str, Any],
        definition: GraphQLField,
        nodes: Sequence[FieldNode],
    ) -> tuple[Aggregation, Values]:
        filter_, values = self._where(table, arguments)
        having, having_values = self._having(table, arguments)
        limit = self._size(arguments, "first", most.DEFAULT_ROWS, self.limits.rows, "Go on with `offset`")
        offset = self._size(arguments, "offset", 0, 2**31 - 1, "Narrow the rows by `where`")
        with self._times(limit):
            grouping = _Grouping()
            outputs = self._group_outputs(table, definition, nodes, grouping)
        sort = tuple(self._group_sorts(table, arguments, grouping.paths))
        aggregation = Aggregation(
            table.name, tuple(grouping.paths), outputs, filter_, having, sort, has_offset=offset > 0
        )
        return aggregation, (*values, *having_values, limit, *([offset] if offset else []))

    def _group_outputs(
        self, table: ServedTable, definition: GraphQLField, nodes: Sequence[FieldNode], grouping: "_Grouping"
    ) -> tuple[Output, ...]:
        outputs: list[Output] = []
        for key, inner, below in self._selected(definition, nodes):
            name = inner[0].name.value
            if below is None:
                outputs.append(Constant(key, _type(definition).name))
            elif name == "count":
                outputs.append(Aggregate(key, Measure(Function.COUNT)))
            elif name == "group":
                outputs.append(Group(key, self._inside(table, (), below, inner, grouping)))
            else:
                outputs.append(Group(key, self._inside(table, (), below, inner, MEASURES[name])))
        return tuple(outputs)

    def _inside(
        self,
        table: ServedTable,
        way: Path,
        definition: GraphQLField,
        nodes: Sequence[FieldNode],
        of: "_Grouping | Function",
    ) -> tuple[Output, ...]:
        """What is inside `group`, or inside one aggregate: columns of the table, and of the rows it belongs to."""
        outputs: list[Output] = []
        for key, inner, below in self._selected(definition, nodes):
            if below is None:
                outputs.append(Constant(key, _type(definition).name))
                continue
            means, name = meaning(below), inner[0].name.value
            if isinstance(means, OneField):
                outputs.append(Group(key, self._inside(table, (*way, means.relation.name), below, inner, of)))
                continue
            assert isinstance(means, ColumnField)
            written = ".".join((*way, means.column))
            if isinstance(of, _Grouping):
                outputs.append(Value(key, of.add(self._path(table, written, f"group.{name}"))))
            else:
                outputs.append(Aggregate(key, self._measure(table, of, written, name)))
        return tuple(outputs)

    def _measure(self, table: ServedTable, function: Function, written: str, argument: str) -> Measure:
        path = self._path(table, written, argument, shown=True)
        return read_measure(self.catalogue, table, function, path, argument, sees_customers=self.sees_customers)

    def _having(self, table: ServedTable, arguments: Mapping[str, Any]) -> tuple[Filter, Values]:
        if "having" not in arguments:
            return EVERYTHING, ()
        return read_having(
            self.catalogue,
            table,
            arguments["having"],
            "having",
            sees_customers=self.sees_customers,
            names=self.names.__getitem__,
            is_null="isNull",
        )

    def _group_sorts(self, table: ServedTable, arguments: Mapping[str, Any], group: list[Path]) -> Iterator[Sort]:
        for n, one in enumerate(arguments.get("orderBy", ())):
            argument = f"orderBy[{n}]"
            function, column = one.get("function"), one.get("field")
            if function is None or Function(function.value) is not Function.COUNT:
                if column is None:
                    raise QuestionError(argument, "has no `field`; only COUNT takes none")
                written = column.value
            if function is None:
                yield Sort(self._grouped(table, written, group, argument), _descending(one))
            elif Function(function.value) is Function.COUNT:
                yield Sort(Measure(Function.COUNT), _descending(one))
            else:
                yield Sort(self._measure(table, Function(function.value), written, argument), _descending(one))

    def _grouped(self, table: ServedTable, written: str, group: list[Path], argument: str) -> Path:
        path = self._path(table, written, argument)
        if path not in group:
            raise QuestionError(
                argument, f"sorts by {written}, which is not selected in `group`; select it, or sort by a measure"
            )
        return path

    # Named queries.

    def _analytic(
        self, analytic: Analytic, definition: GraphQLField, nodes: Sequence[FieldNode]
    ) -> tuple[Query, Values]:
        table = self._table(analytic.table, nodes[0])
        asked = self._asked(analytic, table, self.operation.arguments(definition, nodes[0]))
        limit = 1 if analytic.is_one else asked.limit
        with self._times(min(limit, most.DEFAULT_ROWS)):
            outputs, nested = self._outputs(table, definition, nodes, [analytic.name])
        sort = full_sort(table, [*asked.sort, *(Sort((column,)) for column in analytic.sort)])
        page = Page(table.name, (Rows("rows", outputs),), All(tuple(asked.conditions)), sort, bare=True)
        return Lookup(page) if analytic.is_one else page, (*asked.values, limit, *nested)

    def _asked(self, analytic: Analytic, table: ServedTable, arguments: Mapping[str, Any]) -> "_Asked":
        asked = _Asked()
        for argument in analytic.arguments:
            if argument.name not in arguments:
                continue
            value = arguments[argument.name]
            match argument.effect:
                case Compares(column, operator):
                    asked.conditions.append(Condition((column,), operator))
                    asked.values.append(read_value(table.columns[column], _plain(value), argument.name))
                case NamesCountry(column):
                    asked.conditions.append(Condition((column,), Operator.EQ))
                    asked.values.append(read_country(value, argument.name).key)
                case Sorts():
                    asked.sort.append(Sort((value.value,), descending=True))
                case Limits():
                    beyond = f"More of them, page by page, are in `{camel_case(table.name)}Connection`"
                    asked.limit = self._size(arguments, argument.name, most.MOST_ROWS, most.MOST_ROWS, beyond)
        return asked

    def _history(
        self, means: HistoryField, key: str, definition: GraphQLField, nodes: Sequence[FieldNode], path: list[str]
    ) -> tuple[Many, Values]:
        table = self._table(means.relation.target, nodes[0])
        outputs, nested = self._outputs(table, definition, nodes, path)
        page = Page(table.name, (Rows("rows", outputs),), sort=full_sort(table, [Sort((means.sort,))]), bare=True)
        return Many(key, means.relation.name, page), (most.MOST_ROWS, *nested)


@dataclass
class _Grouping:
    """The columns that make groups, each once, as they are met."""

    paths: list[Path] = field(default_factory=list)

    def add(self, path: Path) -> Path:
        if path not in self.paths:
            self.paths.append(path)
        return path


@dataclass
class _Asked:
    """What the arguments of a named query ask."""

    conditions: list[Condition] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    sort: list[Sort] = field(default_factory=list)
    limit: int = most.MOST_ROWS


def _type(definition: GraphQLField) -> GraphQLObjectType:
    type_ = get_named_type(definition.type)
    assert isinstance(type_, GraphQLObjectType)
    return type_


def _descending(order: Mapping[str, Any]) -> bool:
    return order.get("direction") is Direction.DESC


def _plain(value: Any) -> Any:
    """An enum's value, or the value itself."""
    return getattr(value, "value", value)
