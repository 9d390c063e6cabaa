"""The envelope of a list: rows, where the page stands among the others, and the filters that were applied.

A page has a number and comes with the total of rows, or goes on from a cursor and then costs the
same however far it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from retail_platform.serving.catalogue import Catalogue
from retail_platform.serving.query.cursors import full_sort, read_cursor
from retail_platform.serving.query.errors import QuestionError
from retail_platform.serving.query.shapes import Output, Page, PageFact, PageInfo, Question, Rows, Sort, Total
from retail_platform.serving.rest.answers import Plan
from retail_platform.serving.rest.grammar import Filters


@dataclass(frozen=True)
class Listing:
    """Rows of a table: which, in what order, and what of each.

    Attributes:
        table: name of the served table.
        outputs: of each row.
        filters: rows that count.
        sort: without the table's key.
    """

    table: str
    outputs: tuple[Output, ...]
    filters: Filters
    sort: tuple[Sort, ...]


def check_size(size: int, most: int, argument: str = "size") -> None:
    """Refuse an answer that is too large.

    Raises:
        QuestionError: with the size that is allowed, and what to do instead.
    """
    if size > most:
        raise QuestionError(
            argument, f"is {size}; an answer has at most {most} rows. Go on by pages, or POST /api/v2/sales/export."
        )


def numbered_page(catalogue: Catalogue, listing: Listing, page: int, size: int) -> Plan:
    """The plan of a page by its number, with the total of rows (which the warehouse keeps while nothing changes)."""
    sort = full_sort(catalogue[listing.table], listing.sort)
    parts = (Rows("data", listing.outputs), Total("total"))
    shape = Page(listing.table, parts, listing.filters.filter, sort, has_offset=page > 1)
    offset = (size * (page - 1),) if page > 1 else ()
    applied = listing.filters.shown

    def body(answers: Sequence[bytes], _: Sequence[int]) -> bytes:
        data, total = _without(answers[0], b"total")
        pages = -(-total // size)
        pagination = {"page": page, "size": size, "total": total, "pages": pages}
        pagination |= {"has_next": page < pages, "has_prev": page > 1}
        return b'%s"pagination":%s,"filters_applied":%s}' % (data, orjson.dumps(pagination), applied)

    return Plan((Question(shape, (*listing.filters.values, size, *offset)),), body)


def keyset_page(catalogue: Catalogue, listing: Listing, cursor: str, size: int, *, has_total: bool = False) -> Plan:
    """The plan of the page after a cursor, or of the first when it is empty.

    Raises:
        QuestionError: the cursor is none of this list in this order.
    """
    table = catalogue[listing.table]
    sort = full_sort(table, listing.sort)
    after, values = read_cursor(table, sort, cursor, "cursor", catalogue) if cursor else (None, ())
    facts = PageInfo("facts", (("next", PageFact.END_CURSOR), ("has_next", PageFact.HAS_NEXT)))
    parts = (Rows("data", listing.outputs), *((Total("total"),) if has_total else ()), facts)
    shape = Page(listing.table, parts, listing.filters.filter, sort, after)
    applied = listing.filters.shown

    def body(answers: Sequence[bytes], _: Sequence[int]) -> bytes:
        data, found = _without(answers[0], b"facts")
        pagination = {"size": size, "next_cursor": found["next"] if found["has_next"] else None}
        pagination["has_next"] = found["has_next"]
        if has_total:
            data, pagination["total"] = _without(data[:-1] + b"}", b"total")
        return b'%s"pagination":%s,"filters_applied":%s}' % (data, orjson.dumps(pagination), applied)

    return Plan((Question(shape, (*listing.filters.values, *values, size)),), body)


def only_object(answer: bytes) -> bytes:
    """The object in the answer to an aggregation over all rows."""
    return answer[answer.index(b"{") : answer.rindex(b"}") + 1]


def _without(answer: bytes, name: bytes) -> tuple[bytes, Any]:
    """An object without its last member, ready for the next one, and the value of that."""
    start = answer.rindex(b'"%s":' % name)
    return answer[:start], orjson.loads(answer[start + len(name) + 3 : -1])
