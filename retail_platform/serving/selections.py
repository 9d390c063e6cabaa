"""Rows for an export: what people write, as one SELECT with its values and the types of its columns.

Shared by the route that streams exports and the Dagster job that writes one to a file. Stays out: the file itself
(`warehouse.export`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from retail_platform.serving.catalogue import Catalogue
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.filters import read_filter, read_outputs, read_sort
from retail_platform.serving.query.measures import column_of
from retail_platform.serving.query.shapes import Filter, Sort, Value, Values
from retail_platform.serving.query.sql import compile_rows
from retail_platform.warehouse.export import Selection


def read_selection(
    catalogue: Catalogue,
    table: str,
    columns: Sequence[str],
    filters: Mapping[str, Any],
    sort: Sequence[str],
) -> Selection:
    """Read an export that somebody who may see customers asks for.

    Args:
        catalogue: the tables served.
        table: one of them.
        columns: `description`, or `product.description` of a row that this one points to; none means all of the table.
        filters: as `read_filter` has them.
        sort: `net_revenue`, or `net_revenue:desc`; without any, rows come as the database finds them.

    Raises:
        QuestionError: a name, an operator or a value is wrong; it says what may be there.
    """
    if table not in catalogue:
        raise QuestionError("table", f"there is no table {table!r:.100}; there are {', '.join(catalogue)}")
    served = catalogue[table]
    where, values = read_filter(catalogue, served, filters, "filters", sees_customers=True)
    outputs = read_outputs(catalogue, served, columns or tuple(served.columns), "columns", sees_customers=True)
    order = [read_sort(catalogue, served, each, "sort", sees_customers=True) for each in sort]
    return select(catalogue, table, outputs, where, values, order)


def select(
    catalogue: Catalogue, table: str, outputs: Sequence[Value], where: Filter, values: Values, sort: Sequence[Sort]
) -> Selection:
    """The rows of a table that pass a filter.

    Args:
        catalogue: the tables served.
        table: one of them.
        outputs: the columns, under their names in the file.
        where: the filter.
        values: of the filter.
        sort: the order; none for as the database finds them.
    """
    columns = {each.name: column_of(catalogue, catalogue[table], each.path).postgres_type for each in outputs}
    statement = compile_rows(catalogue, table, tuple(outputs), where, tuple(sort))
    # psycopg writes a list as an array, a tuple as a row.
    written = [list(value) if isinstance(value, tuple) else value for value in values]
    return Selection(statement, {f"v{number}": value for number, value in enumerate(written)}, columns)
