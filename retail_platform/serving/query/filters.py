"""What people write in a filter, a sort or a having, made into shapes and typed values.

Lives here: names, operators and values as JSON or text has them, and what is wrong with them in words. Stays out: how a
face spells its arguments (each face hands over plain mappings), and SQL.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from math import isfinite
from typing import Any
from uuid import UUID

from retail_platform.serving.catalogue import Catalogue, Column, Kind, Relation, ServedTable
from retail_platform.serving.query.errors import NotAllowedError, QuestionError
from retail_platform.serving.query.measures import measure_kind, read_measure
from retail_platform.serving.query.shapes import (
    All,
    AnyOf,
    Condition,
    Filter,
    Function,
    Measure,
    Not,
    Operator,
    Path,
    Some,
    Sort,
    Value,
    Values,
)

LONGEST_LIST = 1000
"""Most values of one `in`."""
LONGEST_SHOWN = 100
"""Characters of what was written that an error repeats."""
DEEPEST = 10
"""Most levels of a filter inside another."""

Names = Callable[[str], str]
"""From a name as a face spells it to the catalogue's."""


NO_NAMES: Mapping[str, Path] = {}

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def as_written(name: str) -> str:
    """The name itself, for a face that spells names as the catalogue does."""
    return name


def check_table(table: ServedTable, sees_customers: bool, argument: str) -> None:
    """Refuse a table of customers to those who may not see them.

    Raises:
        NotAllowedError: a row of the table is a customer, and the person may not see customers.
    """
    if table.is_personal and not sees_customers:
        raise NotAllowedError(argument, f"a row of {table.name} is a customer: this needs the role analyst")


def read_path(
    catalogue: Catalogue,
    table: ServedTable,
    written: str | Sequence[str],
    argument: str,
    *,
    sees_customers: bool,
    shown: bool = False,
    others: Mapping[str, Path] = NO_NAMES,
) -> Path:
    """The path to a column.

    Args:
        catalogue: all tables.
        table: where the path starts.
        written: `country.country_name`, or its names.
        argument: where it was written.
        sees_customers: whether the person may see who a customer is.
        shown: whether the column is only shown or counted, so that a mask hides what is personal.
        others: further names of columns, with the paths they stand for.

    Raises:
        QuestionError: a name on the way is not of its table.
        NotAllowedError: the path asks who a customer is, and the person may not know.
    """
    if isinstance(written, str):
        if shown and written in others:
            return others[written]
        written = others.get(written) or written.split(".")
    *relations, last = written
    for name in relations:
        table = catalogue[_relation(table, name, argument, to_one=True).target]
        check_table(table, sees_customers, argument)
    column = _column(table, last, argument, NO_NAMES if relations else others)
    if not shown:
        _check_column(column, sees_customers, argument)
    return (*relations, last)


def read_outputs(
    catalogue: Catalogue,
    table: ServedTable,
    written: Iterable[str],
    argument: str,
    *,
    sees_customers: bool,
    others: Mapping[str, Path] = NO_NAMES,
) -> tuple[Value, ...]:
    """Columns to answer, each once, under the name it was written with; arguments and errors as of `read_path`."""
    see = sees_customers
    return tuple(
        Value(name, read_path(catalogue, table, name, argument, sees_customers=see, shown=True, others=others))
        for name in dict.fromkeys(written)
    )


def read_direction(written: str) -> tuple[str, bool]:
    """What to sort by, and whether the largest comes first: `net_revenue:desc`."""
    name, colon, direction = written.rpartition(":")
    return (name, direction == "desc") if colon and direction in ("asc", "desc") else (written, False)


def read_sort(
    catalogue: Catalogue,
    table: ServedTable,
    written: str,
    argument: str,
    *,
    sees_customers: bool,
    others: Mapping[str, Path] = NO_NAMES,
) -> Sort:
    """A column to sort rows by, as `net_revenue:desc`; arguments and errors as of `read_path`."""
    name, descending = read_direction(written)
    if ":" in name:
        raise QuestionError(argument, f"is {as_json(written)}; expected a column, or a column with :desc or :asc")
    return Sort(read_path(catalogue, table, name, argument, sees_customers=sees_customers, others=others), descending)


def read_filter(
    catalogue: Catalogue,
    table: ServedTable,
    written: Mapping[str, Any],
    argument: str,
    *,
    sees_customers: bool,
    names: Names = as_written,
    is_null: str = Operator.IS_NULL.value,
) -> tuple[Filter, Values]:
    """A filter, and the values that it compares with.

    `{"net_revenue": {"gt": 100}, "country": {"country_name": {"eq": "France"}}, "or": [...], "not": {...}}`: all parts
    hold; through a relation to one its row's columns are compared, through a relation to many at least one row has to
    pass. A comparison with an unknown (null) value does not hold, so `not` lets that row pass.

    Args:
        catalogue: all tables.
        table: whose rows are filtered.
        written: what the person wrote, as JSON has it.
        argument: where it was written; errors say the place inside.
        sees_customers: whether the person may see who a customer is.
        names: from a name as it is written to the catalogue's.
        is_null: how that operator is written, for errors.

    Raises:
        QuestionError: a name, an operator or a value is wrong.
        NotAllowedError: the filter asks who a customer is, and the person may not know.
    """
    reader = _Reader(catalogue, sees_customers, names, is_null)
    return reader.rows(table, (), written, argument, depth=1), tuple(reader.values)


def read_having(
    catalogue: Catalogue,
    table: ServedTable,
    written: Mapping[str, Any],
    argument: str,
    *,
    sees_customers: bool,
    names: Names = as_written,
    is_null: str = Operator.IS_NULL.value,
    others: Mapping[str, Path] = NO_NAMES,
) -> tuple[Filter, Values]:
    """A filter of groups: `{"count": {"gte": 5}, "sum": {"net_revenue": {"gt": 1}}, "or": [...], "not": {...}}`.

    Args:
        catalogue: all tables.
        table: whose rows are grouped.
        written: what the person wrote; a column along relations is `country.country_name` or nested.
        argument: where it was written.
        sees_customers: whether the person may see who a customer is.
        names: from a name as it is written to the catalogue's.
        is_null: how that operator is written, for errors.
        others: further names of columns, with the paths they stand for.

    Raises:
        QuestionError: a name, an operator or a value is wrong.
        NotAllowedError: a measure would show who a customer is, and the person may not know.
    """
    reader = _Reader(catalogue, sees_customers, names, is_null, others)
    return reader.groups(table, written, argument, depth=1), tuple(reader.values)


@dataclass
class _Reader:
    """Reads one filter; the values come in the order of the conditions."""

    catalogue: Catalogue
    sees_customers: bool
    names: Names
    is_null: str
    others: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values: list[Any] = []

    def rows(self, table: ServedTable, way: Path, written: Any, argument: str, depth: int) -> Filter:
        """A filter of the rows that `way` leads to, a relation to one at each step."""

        def part(name: str, inner: Any, place: str) -> Filter:
            relation = table.relations.get(name)
            if relation is None:
                column = _column(table, name, place)
                _check_column(column, self.sees_customers, place)
                return self.comparisons((*way, name), column, inner, place)
            return self.related(relation, way, inner, place, depth)

        return self.combined(written, argument, depth, part, lambda *rest: self.rows(table, way, *rest))

    def related(self, relation: Relation, way: Path, written: Any, argument: str, depth: int) -> Filter:
        target = self.catalogue[relation.target]
        check_table(target, self.sees_customers, argument)
        if relation.is_many:
            return Some((*way, relation.name), self.rows(target, (), written, argument, depth + 1))
        return self.rows(target, (*way, relation.name), written, argument, depth + 1)

    def groups(self, table: ServedTable, written: Any, argument: str, depth: int) -> Filter:
        def part(name: str, inner: Any, place: str) -> Filter:
            function = _function(name, place)
            if function is Function.COUNT:
                return self.measured(table, function, (), inner, place)
            return self.measures(table, function, (), inner, place)

        return self.combined(written, argument, depth, part, lambda *rest: self.groups(table, *rest))

    def measures(self, table: ServedTable, function: Function, way: Path, written: Any, argument: str) -> Filter:
        """Comparisons of one aggregate of several columns."""
        parts = []
        for name, inner in _mapping(written, argument, "columns").items():
            place = f"{argument}.{name}"
            path = () if way else self.others.get(name, ())
            path = path or (*way, *map(self.names, name.split(".")))
            if self.is_relation(table, path):
                parts.append(self.measures(table, function, path, inner, place))
            else:
                parts.append(self.measured(table, function, path, inner, place))
        return _all(parts)

    def is_relation(self, table: ServedTable, path: Path) -> bool:
        for name in path:
            if name not in table.relations:
                return False
            table = self.catalogue[table.relations[name].target]
        return True

    def measured(self, table: ServedTable, function: Function, path: Path, written: Any, argument: str) -> Filter:
        if path:
            see = self.sees_customers
            read_path(self.catalogue, table, path, argument, sees_customers=see, shown=True, others=self.others)
        measure = read_measure(self.catalogue, table, function, path, argument, sees_customers=self.sees_customers)
        name = "_of_".join([function.value, *path[-1:]])
        column = Column(name, measure_kind(self.catalogue, table, measure), "", True, "", is_personal=False)
        return self.comparisons(measure, column, written, argument)

    def combined(
        self,
        written: Any,
        argument: str,
        depth: int,
        part: Callable[[str, Any, str], Filter],
        whole: Callable[[Any, str, int], Filter],
    ) -> Filter:
        """All parts of a mapping, with `and`, `or` and `not` of further ones."""
        if depth > DEEPEST:
            raise QuestionError(argument, f"is nested more than {DEEPEST} levels deep; write it flatter")
        parts: list[Filter] = []
        for name, inner in _mapping(written, argument, "conditions").items():
            place = f"{argument}.{name}"
            if name in ("and", "or"):
                members = _members(inner, place)
                several = tuple(whole(one, f"{place}[{n}]", depth + 1) for n, one in enumerate(members))
                parts.append(All(several) if name == "and" else AnyOf(several))
            elif name == "not":
                parts.append(Not(whole(inner, place, depth + 1)))
            else:
                parts.append(part(self.names(name), inner, place))
        return _all(parts)

    def comparisons(self, operand: Path | Measure, column: Column, written: Any, argument: str) -> Filter:
        parts: list[Filter] = []
        for name, value in _mapping(written, argument, "operators").items():
            place = f"{argument}.{name}"
            operator = _operator(column, self.names(name), place)
            if operator is Operator.IS_NULL:
                if not isinstance(value, bool):
                    raise QuestionError(place, f"is {as_json(value)}; expected true or false")
                parts.append(Condition(operand, operator if value else Operator.IS_NOT_NULL))
                continue
            if value is None:
                hint = f"{self.is_null} asks for unknown values"
                raise QuestionError(place, f"is null, which nothing compares with; {hint}")
            self.values.append(_operand(column, operator, value, place))
            parts.append(Condition(operand, operator))
        return _all(parts)


def operators_of(kind: Kind) -> tuple[Operator, ...]:
    """The operators of columns of a kind, as people write them (`IS_NULL` with true or false)."""
    equality = (Operator.EQ, Operator.NE, Operator.IN)
    order = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
    if kind is Kind.JSON:
        return (Operator.IS_NULL,)
    if kind in (Kind.BOOLEAN, Kind.UUID):
        return (*equality, Operator.IS_NULL)
    if kind is Kind.TEXT:
        return (*equality, *order, Operator.LIKE, Operator.ILIKE, Operator.IS_NULL)
    return (*equality, *order, Operator.IS_NULL)


def _operator(column: Column, name: str, argument: str) -> Operator:
    operators = {operator.value: operator for operator in operators_of(column.kind)}
    if name not in operators:
        raise QuestionError(
            argument, f"is no operator of {column.name} ({column.kind.value}); it may be {_listed(operators)}"
        )
    return operators[name]


def _operand(column: Column, operator: Operator, value: Any, argument: str) -> Any:
    if operator is Operator.IN:
        if not isinstance(value, list | tuple):
            raise QuestionError(argument, f"is {as_json(value)}; expected a list of values")
        if len(value) > LONGEST_LIST:
            raise QuestionError(argument, f"has {len(value)} values; at most {LONGEST_LIST} may be given")
        return tuple(read_value(column, one, f"{argument}[{n}]") for n, one in enumerate(value))
    typed = read_value(column, value, argument)
    if operator in (Operator.LIKE, Operator.ILIKE) and (len(typed) - len(typed.rstrip("\\"))) % 2:
        raise QuestionError(argument, r"ends with a single backslash, which escapes nothing; write \\ for one")
    return typed


def read_value(column: Column, written: Any, argument: str) -> Any:
    """One value of a column.

    Args:
        column: that it is compared with.
        written: as JSON or as text has it.
        argument: where it was written.

    Returns:
        The value with the Python type of the column's kind.

    Raises:
        QuestionError: it is no value of the column.
    """
    if column.kind not in _READERS:
        raise QuestionError(argument, f"{column.name} is {column.kind.value}, which compares with no value")
    read, expected = _READERS[column.kind]
    try:
        return read(written)
    except (ValueError, TypeError, OverflowError, InvalidOperation):
        raise QuestionError(
            argument, f"is {as_json(written)}; {column.name} is {column.kind.value}, expected {expected}"
        ) from None


def as_json(written: Any) -> str:
    """What somebody wrote, for an error: as JSON, and not all of it when it is long."""
    if isinstance(written, Mapping):
        return "an object"
    if isinstance(written, list | tuple):
        return "a list"
    found = repr(written) if isinstance(written, str) else json.dumps(written, default=str)
    return found if len(found) <= LONGEST_SHOWN else f"{found[:LONGEST_SHOWN]}…"


def _text(written: Any) -> str:
    if not isinstance(written, str) or "\0" in written:
        raise ValueError
    written.encode()  # A lone surrogate is no text.
    return written


def _integer(written: Any) -> int:
    is_text = isinstance(written, str) and re.fullmatch(r"[+-]?\d{1,19}", written, re.ASCII)
    if not is_text and (isinstance(written, bool) or not isinstance(written, int)):
        raise ValueError
    value = int(written)
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value


def _decimal(written: Any) -> Decimal:
    if isinstance(written, bool) or not isinstance(written, int | float | str | Decimal):
        raise ValueError
    if isinstance(written, str) and not NUMBER.fullmatch(written):
        raise ValueError
    value = Decimal(str(written) if isinstance(written, float) else written)
    # PostgreSQL writes a huge exponent out in full.
    if not value.is_finite() or len(value.as_tuple().digits) > 40 or abs(value.adjusted()) > 40:
        raise ValueError
    return value


def _float(written: Any) -> float:
    if isinstance(written, bool) or not isinstance(written, int | float | str | Decimal):
        raise ValueError
    if isinstance(written, str) and not NUMBER.fullmatch(written):
        raise ValueError
    value = float(written)
    if not isfinite(value):
        raise ValueError
    return value


def _boolean(written: Any) -> bool:
    if isinstance(written, bool):
        return written
    return {"true": True, "false": False}[written] if written in ("true", "false") else _refuse()


def _refuse() -> Any:
    raise ValueError


def _date(written: Any) -> date:
    return written if type(written) is date else date.fromisoformat(written)


def _local_time(written: Any) -> datetime:
    value = written if isinstance(written, datetime) else datetime.fromisoformat(written)
    return value if value.tzinfo is None else _refuse()


def _instant(written: Any) -> datetime:
    value = written if isinstance(written, datetime) else datetime.fromisoformat(written)
    return value.astimezone(UTC) if value.tzinfo is not None else _refuse()


def _uuid(written: Any) -> UUID:
    return written if isinstance(written, UUID) else UUID(_text(written))


_WHOLE = (_integer, "a whole number of at most 63 bits")
_READERS: dict[Kind, tuple[Callable[[Any], Any], str]] = {
    Kind.TEXT: (_text, "text"),
    Kind.INTEGER: _WHOLE,
    Kind.COUNT: _WHOLE,
    Kind.KEY: (_integer, "a key, as text or as a whole number"),
    Kind.DECIMAL: (_decimal, 'a number of at most 40 digits, best as text: "12.5000"'),
    Kind.FLOAT: (_float, "a number"),
    Kind.BOOLEAN: (_boolean, "true or false"),
    Kind.DATE: (_date, "a day as 2011-01-31"),
    Kind.LOCAL_TIME: (_local_time, "a time without a zone as 2011-01-31T09:30:00"),
    Kind.INSTANT: (_instant, "a time with its zone as 2011-01-31T09:30:00Z"),
    Kind.UUID: (_uuid, "a UUID"),
}


def _mapping(written: Any, argument: str, what: str) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise QuestionError(argument, f"is {as_json(written)}; expected an object of {what}")
    for name in written:
        if not name.isprintable() or len(name) > LONGEST_SHOWN:
            raise QuestionError(argument, f"has the name {as_json(name)}; expected one of {what}")
    return written


def _members(written: Any, argument: str) -> Sequence[Any]:
    if not isinstance(written, list | tuple):
        raise QuestionError(argument, f"is {as_json(written)}; expected a list of objects")
    return written


def _function(name: str, argument: str) -> Function:
    functions = {function.value: function for function in Function}
    if name not in functions:
        raise QuestionError(argument, f"is no aggregate; it may be {_listed(functions)}")
    return functions[name]


def _column(table: ServedTable, name: str, argument: str, others: Iterable[str] = ()) -> Column:
    if name not in table.columns:
        known = [*table.columns, *table.relations]
        raise QuestionError(argument, _unknown(table, name, known, "column", others))
    return table.columns[name]


def _relation(table: ServedTable, name: str, argument: str, *, to_one: bool) -> Relation:
    relations = {each.name: each for each in table.relations.values() if not (to_one and each.is_many)}
    if name not in relations:
        raise QuestionError(argument, _unknown(table, name, relations, "relation to one row"))
    return relations[name]


def _check_column(column: Column, sees_customers: bool, argument: str) -> None:
    if column.is_personal and not sees_customers:
        raise NotAllowedError(
            argument, f"{column.name} tells who a customer is: to filter, sort or group by it needs the role analyst"
        )


def _unknown(table: ServedTable, name: str, known: Iterable[str], what: str, others: Iterable[str] = ()) -> str:
    close = get_close_matches(name[:LONGEST_SHOWN], [*others, *known], n=3)
    return f"{table.name} has no {what} {as_json(name)}; it may be {_listed(dict.fromkeys(close) or others or known)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else All(tuple(parts))
