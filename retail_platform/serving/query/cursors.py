"""Where a page goes on: the order of its rows, and cursors that name a row in it.

PostgreSQL writes cursors (`sql`), they are read here: JSON `[signature, value of each sort column …]` as url-safe
base64. The signature says of which table and order the cursor is; it is no secret.
"""

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any

from retail_platform.serving.catalogue import Catalogue, ServedTable
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.filters import read_value
from retail_platform.serving.query.measures import column_of
from retail_platform.serving.query.shapes import Measure, Sort, Values

LONGEST_CURSOR = 4096


def full_sort(table: ServedTable, sort: Sequence[Sort]) -> tuple[Sort, ...]:
    """A sort that leaves no ties: the table's key is appended, in the direction of the last column.

    In one direction throughout, a cursor is one comparison of rows, which an index answers.
    """
    descending = sort[-1].descending if sort else False
    sorted_by = {each.operand for each in sort}
    return (*sort, *(Sort((name,), descending) for name in table.key if (name,) not in sorted_by))


@lru_cache(maxsize=4096)
def signature(table: str, sort: tuple[Sort, ...]) -> str:
    """Says of which table and order a cursor is."""
    order = [["+-"[each.descending], each.operand] for each in sort if not isinstance(each.operand, Measure)]
    return sha256(json.dumps([table, order]).encode()).hexdigest()[:8]


def read_cursor(
    table: ServedTable, sort: tuple[Sort, ...], text: str, argument: str, catalogue: Catalogue
) -> tuple[tuple[bool, ...], Values]:
    """The place that a cursor names.

    Args:
        table: of the page.
        sort: of the page, by `full_sort`.
        text: the cursor as the person gave it.
        argument: where it was given.
        catalogue: all tables.

    Returns:
        For each sort column whether its value is null, and the values that are not.

    Raises:
        QuestionError: it is no cursor, or one of another table or order.
    """
    place = _place(text, argument)
    if place[0] != signature(table.name, sort):
        raise QuestionError(
            argument, f"is a cursor of another table or order; take it from a page of {table.name} in this order"
        )
    paths = [each.operand for each in sort if not isinstance(each.operand, Measure)]
    columns = [column_of(catalogue, table, path) for path in paths]
    if len(place) != len(columns) + 1:
        raise QuestionError(argument, _NO_CURSOR)
    for value, path, column in zip(place[1:], paths, columns, strict=True):
        # Along a relation there may be no row; few customers are not counted for everybody.
        if value is None and len(path) == 1 and not (column.nullable or column.counts_customers):
            raise QuestionError(argument, _NO_CURSOR)
    values = [
        read_value(column, value, argument)
        for column, value in zip(columns, place[1:], strict=True)
        if value is not None
    ]
    return tuple(value is None for value in place[1:]), tuple(values)


_NO_CURSOR = "is no cursor; take it from an edge or from the page's information as it is"


def _place(text: str, argument: str) -> list[Any]:
    if len(text) > LONGEST_CURSOR:
        raise QuestionError(argument, _NO_CURSOR)
    try:
        place = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)), parse_float=Decimal)
    except (binascii.Error, ValueError, RecursionError):
        raise QuestionError(argument, _NO_CURSOR) from None
    if not isinstance(place, list) or not place:
        raise QuestionError(argument, _NO_CURSOR)
    return place
