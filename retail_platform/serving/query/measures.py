"""Which aggregate of which column may be asked, and what it gives."""

from retail_platform.serving.catalogue import Catalogue, Column, Kind, ServedTable
from retail_platform.serving.query.errors import NotAllowedError, QuestionError
from retail_platform.serving.query.shapes import Function, Measure, Path

NUMBERS = {Kind.INTEGER, Kind.COUNT, Kind.DECIMAL, Kind.FLOAT}
WITHOUT_ORDER = {Kind.BOOLEAN, Kind.JSON, Kind.UUID}
"""Kinds that have no least and greatest value."""


def column_of(catalogue: Catalogue, table: ServedTable, path: Path) -> Column:
    """The column at the end of a path that is known to be right."""
    for name in path[:-1]:
        table = catalogue[table.relations[name].target]
    return table.columns[path[-1]]


def functions_of(column: Column, *, sees_customers: bool) -> tuple[Function, ...]:
    """The aggregates that a column has.

    Args:
        column: of a served table.
        sees_customers: whether the person may see who a customer is; others only count them.
    """
    if column.kind is Kind.JSON:
        return ()
    functions = [Function.COUNT_DISTINCT]
    if column.kind in NUMBERS:
        functions += [Function.SUM, Function.AVG]
    if column.kind not in WITHOUT_ORDER and (sees_customers or not column.is_personal):
        functions += [Function.MIN, Function.MAX]
    return tuple(functions)


def read_measure(
    catalogue: Catalogue, table: ServedTable, function: Function, path: Path, argument: str, *, sees_customers: bool
) -> Measure:
    """An aggregate of a column, if it has that one.

    Args:
        catalogue: all tables.
        table: whose rows are aggregated.
        function: of the aggregate.
        path: of the column, as `read_path` gives it with `shown`; empty for COUNT.
        argument: where it was written.
        sees_customers: whether the person may see who a customer is.

    Raises:
        QuestionError: the column has no such aggregate.
        NotAllowedError: the aggregate would show a customer.
    """
    if function is Function.COUNT:
        return Measure(function)
    column = column_of(catalogue, table, path)
    if function not in functions_of(column, sees_customers=True):
        may = ", ".join(each.value for each in functions_of(column, sees_customers=sees_customers)) or "none"
        raise QuestionError(
            argument, f"{column.name} is {column.kind.value}, of which there is no {function.value}: {may}"
        )
    if function not in functions_of(column, sees_customers=sees_customers):
        raise NotAllowedError(
            argument, f"{function.value} of {column.name} would name a customer: this needs the role analyst"
        )
    return Measure(function, path)


def measure_kind(catalogue: Catalogue, table: ServedTable, measure: Measure) -> Kind:
    """What a measure gives: a count, a number (averages of exact numbers are decimals), or the column's own kind."""
    if measure.function in (Function.COUNT, Function.COUNT_DISTINCT):
        return Kind.COUNT
    kind = column_of(catalogue, table, measure.path).kind
    if measure.function is Function.SUM and kind is Kind.INTEGER:
        return Kind.COUNT
    if measure.function is Function.AVG and kind is not Kind.FLOAT:
        return Kind.DECIMAL
    return kind
