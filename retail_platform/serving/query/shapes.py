"""The form of a question to a served table, without its values.

A shape is frozen and hashable: the SQL of each is made once and kept. Values (what a filter compares with, how many
rows, where to go on) travel beside it as a tuple in the order of the shape's slots, and only ever become bound
parameters. Making shapes of what people write is in `filters` and in the two faces; making SQL of them in `sql`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

Path = tuple[str, ...]
"""Names of relations to one row, then a column: `("product", "description")` of fact_sale, `("quantity",)`."""

Values = tuple[Any, ...]
"""Typed Python values (int, Decimal, date, datetime, str, bool, UUID, list of these), in the order of the slots."""


class Operator(Enum):
    """A comparison of a column with a bound value; `in` takes a list, `is_null` takes no slot."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    LIKE = "like"
    ILIKE = "ilike"
    IS_NULL = "is_null"
    IS_NOT_NULL = "is_not_null"


class Function(Enum):
    """An aggregate."""

    COUNT = "count"
    """Rows; takes no column."""
    COUNT_DISTINCT = "count_distinct"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True)
class Measure:
    """An aggregate over a group; `path` is empty for COUNT."""

    function: Function
    path: Path = ()


@dataclass(frozen=True)
class Condition:
    """A comparison of a column (in a filter) or measure (in having) with one value slot."""

    operand: Path | Measure
    operator: Operator


@dataclass(frozen=True)
class All:
    """Every part holds; without parts it is true."""

    parts: tuple["Filter", ...] = ()


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds; without parts it is false."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: "Filter"


@dataclass(frozen=True)
class Some:
    """At least one row along a relation to many passes the filter."""

    path: Path
    """Relations to one, then the relation to many."""
    part: "Filter"


Filter = Condition | All | AnyOf | Not | Some
EVERYTHING = All()


@dataclass(frozen=True)
class Sort:
    """One sort column, or measure of an aggregation. Nulls come last, whatever the direction."""

    operand: Path | Measure
    descending: bool = False


LONGEST_NAME = 63
"""Of a name in an answer, in bytes: PostgreSQL cuts longer labels."""

# What is put into the answer. `name` is the key in the JSON object, at most LONGEST_NAME bytes.


@dataclass(frozen=True)
class Value:
    """A column, under a name."""

    name: str
    path: Path


@dataclass(frozen=True)
class Constant:
    """The same text in every object, such as a type's name."""

    name: str
    text: str


@dataclass(frozen=True)
class One:
    """The row along a relation to one, as an object; null where there is none."""

    name: str
    relation: str
    outputs: tuple["Output", ...]


@dataclass(frozen=True)
class Many:
    """The rows along a relation to many, as a page or an aggregation of them."""

    name: str
    relation: str
    query: "Page | Aggregation"


@dataclass(frozen=True)
class Aggregate:
    """A measure of the group, under a name."""

    name: str
    measure: Measure


@dataclass(frozen=True)
class Group:
    """An object inside the row, made of further outputs of the same row (`sum { … }`, `group { … }`)."""

    name: str
    outputs: tuple["Output", ...]


Output = Value | Constant | One | Many | Aggregate | Group


# What a page looks like: its parts, each under a name.


@dataclass(frozen=True)
class Rows:
    """The rows as a list of objects (`nodes`, `data`)."""

    name: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Edges:
    """The rows as a list of Relay edges; `parts` are Cursor, Node and Constant, in the order asked."""

    name: str
    parts: tuple["Cursor | Node | Constant", ...]


@dataclass(frozen=True)
class Cursor:
    """The cursor of an edge."""

    name: str


@dataclass(frozen=True)
class Node:
    """The row of an edge."""

    name: str
    outputs: tuple[Output, ...]


class PageFact(Enum):
    """What may be said of a page."""

    HAS_NEXT = "has_next"
    HAS_PREVIOUS = "has_previous"
    START_CURSOR = "start_cursor"
    END_CURSOR = "end_cursor"


@dataclass(frozen=True)
class PageInfo:
    """An object of facts: (name, fact or constant text)."""

    name: str
    facts: tuple[tuple[str, PageFact | str], ...]


@dataclass(frozen=True)
class Total:
    """How many rows pass the filter, over all pages (for an aggregation: how many groups)."""

    name: str


PagePart = Rows | Edges | PageInfo | Total | Constant


@dataclass(frozen=True)
class Page:
    """Rows of a table in an order, from a place on.

    Value slots, in this order: those of `filter`; then one per sort column of `after` that is not null in the cursor,
    then the same of `before`; then the limit; then the offset when `has_offset`.

    Attributes:
        table: name of the served table.
        parts: what is answered. A list of rows and nothing else is `bare`.
        filter: rows that count.
        sort: with the table's key appended by the maker of the shape, so that there are no ties.
        after, before: for each sort column whether the cursor's value is null; None without a cursor.
        from_end: whether the limit counts from the end (`last`); the rows come in the sort's order all the same.
        has_offset: whether a number of rows is skipped.
        bare: answer the one part itself (a JSON array), not an object with it.
    """

    table: str
    parts: tuple[PagePart, ...]
    filter: Filter = EVERYTHING
    sort: tuple[Sort, ...] = ()
    after: tuple[bool, ...] | None = None
    before: tuple[bool, ...] | None = None
    from_end: bool = False
    has_offset: bool = False
    bare: bool = False


@dataclass(frozen=True)
class Aggregation:
    """Measures of a table, by group.

    Value slots, in this order: those of `filter`; those of `having`; the limit; the offset when `has_offset`.

    Attributes:
        group_by: the columns that make a group; without any, all rows are one.
        outputs: of each group: Value (of `group_by`), Aggregate, Constant and Group of these.
        sort: by paths in `group_by` or by measures; the rest of `group_by` is appended by the maker of the SQL.
        peeks: look for one group beyond the limit; it is counted with the others, and not shown.
    """

    table: str
    group_by: tuple[Path, ...]
    outputs: tuple[Output, ...]
    filter: Filter = EVERYTHING
    having: Filter = EVERYTHING
    sort: tuple[Sort, ...] = ()
    has_offset: bool = False
    peeks: bool = False


@dataclass(frozen=True)
class Lookup:
    """The first row of a page as an object, or null: `Page` with one part `Rows`, limit 1 given as its slot."""

    page: Page


Query = Page | Aggregation | Lookup


@dataclass(frozen=True)
class Question:
    """A query with its values: what is asked of the database.

    Attributes:
        values: of all slots, nested `Many` included: first the query's own, then those of each `Many` in the order of
            the outputs, depth first.
    """

    query: Query
    values: Values


@dataclass(frozen=True)
class Encoding:
    """How values look in JSON, and for whom.

    Attributes:
        decimals_as_text: exact strings (GraphQL) or exact JSON numbers (REST).
        masks_customers: personal columns come as a mask instead of their value.
    """

    decimals_as_text: bool
    masks_customers: bool
