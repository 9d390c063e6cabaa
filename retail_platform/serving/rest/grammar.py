"""What may be written in a request about a table: columns, sorts, aggregates and filters, as text of a query string.

Lives here: reading these texts into shapes, the same for the tables and for sales. Stays out: JSON filters
(`query.filters`), which parameters a route has (`tables`, `sales`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from retail_platform.serving.catalogue import Catalogue, ServedTable
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.filters import (
    LONGEST_SHOWN,
    read_direction,
    read_filter,
    read_having,
    read_outputs,
    read_path,
    read_sort,
)
from retail_platform.serving.query.measures import read_measure
from retail_platform.serving.query.shapes import (
    EVERYTHING,
    Aggregate,
    Aggregation,
    All,
    Filter,
    Function,
    Measure,
    Operator,
    Path,
    Question,
    Sort,
    Value,
    Values,
)
from retail_platform.serving.rest.answers import Plan

OPERATORS = tuple(operator.value for operator in Operator if operator is not Operator.IS_NOT_NULL)
FUNCTIONS = {function.value: function for function in Function}


@dataclass(frozen=True)
class Filters:
    """Filters that all have to hold.

    Attributes:
        filter, values: what they are.
        applied: how they were read, for the answer.
    """

    filter: Filter = EVERYTHING
    values: Values = ()
    applied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> bytes:
        """`filters_applied`, as JSON; exact numbers and days as text."""
        return orjson.dumps(self.applied, default=str)

    def also(self, part: Filter, values: Values, **applied: Any) -> "Filters":
        """These and one more."""
        parts = self.filter.parts if isinstance(self.filter, All) else (self.filter,)
        return Filters(All((*parts, part)), (*self.values, *values), {**self.applied, **applied})


@dataclass(frozen=True)
class Reader:
    """Reads what one person writes about one table.

    Attributes:
        sees_customers: whether the person may see who a customer is.
        names: further names of columns, with the paths they stand for.
    """

    catalogue: Catalogue
    table: ServedTable
    sees_customers: bool
    names: Mapping[str, Path] = field(default_factory=dict)

    def path(self, written: str, argument: str, *, shown: bool = False) -> Path:
        """A column: one of `names`, of the table, or dotted along relations to one row.

        Args:
            written: its name.
            argument: where it was written.
            shown: whether it is only shown or counted, so that a mask hides what is personal.

        Raises:
            QuestionError: there is no such column, or the person may not ask for it.
        """
        see, others = self.sees_customers, self.names
        return read_path(self.catalogue, self.table, written, argument, sees_customers=see, shown=shown, others=others)

    def outputs(self, written: Sequence[str], argument: str) -> tuple[Value, ...]:
        """Columns to answer, each once, under the name it was written with."""
        see, others = self.sees_customers, self.names
        return read_outputs(self.catalogue, self.table, written, argument, sees_customers=see, others=others)

    def measure(self, written: str, argument: str) -> Measure:
        """An aggregate, as `count` or `sum:net_revenue`."""
        name, _, column = written.partition(":")
        if name not in FUNCTIONS or bool(column) == (name == "count"):
            others = ", ".join(each for each in FUNCTIONS if each != "count")
            raise QuestionError(
                argument, f"is {written!r:.100}; expected count, or one of {others} with a column, as sum:net_revenue"
            )
        path = self.path(column, argument, shown=True) if column else ()
        function = FUNCTIONS[name]
        return read_measure(self.catalogue, self.table, function, path, argument, sees_customers=self.sees_customers)

    def sort(self, written: Sequence[str]) -> tuple[Sort, ...]:
        """An order of rows: columns, as `net_revenue:desc`."""
        see, others = self.sees_customers, self.names
        return tuple(
            read_sort(self.catalogue, self.table, each, "sort", sees_customers=see, others=others) for each in written
        )

    def comparison(self, name: str, text: str, filters: Filters) -> Filters:
        """Add a filter that is a parameter: `net_revenue.gte=100`, `country.country_name=France`.

        Args:
            name: of the parameter.
            text: its value.
            filters: those before it.
        """
        *way, last = name.split(".")
        operator, path = (last, way) if way and last in OPERATORS else ("eq", [*way, last])
        value: Any = text
        if operator == "in":
            value = [part.strip() for part in text.split(",")]
        elif operator == "is_null":
            value = {"true": True, "false": False}.get(text, text)
        return self.compare(filters, name, path, operator, value)

    def compare(
        self, filters: Filters, argument: str, path: Sequence[str], operator: str, value: Any, applied: Any = None
    ) -> Filters:
        """Add a comparison to filters.

        Args:
            filters: those before it.
            argument: that it was written in.
            path: of the column.
            operator: its name.
            value: as JSON or as text has it.
            applied: what the answer says of it; the value unless given.
        """
        written: Any = {operator: value}
        for step in reversed(path):
            written = {step: written}
        try:
            part, values = self.where(written, argument)
        except QuestionError as error:
            raise type(error)(argument[:LONGEST_SHOWN], error.detail) from None
        return filters.also(part, values, **{argument: value if applied is None else applied})

    def where(self, written: Mapping[str, Any], argument: str) -> tuple[Filter, Values]:
        """A filter of rows, as JSON has it."""
        return read_filter(self.catalogue, self.table, written, argument, sees_customers=self.sees_customers)

    def groups(
        self,
        filters: Filters,
        *,
        group_by: Sequence[str],
        measures: Sequence[str],
        having: Mapping[str, Any] | None,
        sort: Sequence[str],
        page: int,
        size: int,
        names: tuple[str, str],
    ) -> Plan:
        """The plan of a page of groups.

        Args:
            filters: of the rows.
            group_by: columns that make a group.
            measures: aggregates of each.
            having: a filter of groups, as JSON has it.
            sort: by columns of `group_by` and by `measures`.
            page: its number, from 1.
            size: most groups of it.
            names: of the arguments that `group_by` and `measures` were written in.
        """
        columns = {name: self.path(name, names[0]) for name in group_by}
        aggregates = {name: self.measure(name, names[1]) for name in measures}
        outputs = [Value(name, path) for name, path in columns.items()]
        further = [Aggregate(name.replace(":", "_"), measure) for name, measure in aggregates.items()]
        kept: tuple[Filter, Values] = (EVERYTHING, ())
        if having is not None:
            see, others = self.sees_customers, self.names
            kept = read_having(self.catalogue, self.table, having, "having", sees_customers=see, others=others)
        shape = Aggregation(
            self.table.name,
            tuple(columns.values()),
            (*outputs, *further),
            filters.filter,
            kept[0],
            tuple(_sort_of_groups(each, {**columns, **aggregates}) for each in sort),
        )
        return _page_of_groups(shape, (*filters.values, *kept[1]), page, size, filters.shown)


def _sort_of_groups(written: str, known: Mapping[str, Path | Measure]) -> Sort:
    name, descending = read_direction(written)
    if name not in known:
        raise QuestionError("sort", f"is {name!r:.100}; groups may be sorted by {', '.join(known)}")
    return Sort(known[name], descending)


def _page_of_groups(shape: Aggregation, values: Values, page: int, size: int, applied: bytes) -> Plan:
    offset = size * (page - 1)
    shape = replace(shape, has_offset=offset > 0, peeks=True)
    question = Question(shape, (*values, size, *([offset] if offset else [])))

    def body(answers: Sequence[bytes], rows: Sequence[int]) -> bytes:
        pagination = orjson.dumps({"page": page, "size": size, "has_next": rows[0] > size})
        return b'{"data":%s,"pagination":%s,"filters_applied":%s}' % (answers[0], pagination, applied)

    return Plan((question,), body)
