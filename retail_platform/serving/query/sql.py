"""The SQL of a question: one statement, whose columns are the JSON of its queries.

PostgreSQL builds the JSON: each object is a row of labelled columns that `row_to_json` writes, so that objects may have
any number of fields and keep their order. A page is picked in an inner query that joins only what its filter and order
need; what is only shown is joined to the rows picked. Values are bound parameters; no text of a person gets in here but
the names under which things are shown, which SQLAlchemy quotes.

Stays out: what people write (`filters`), and running statements (`serving.database`).
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, TypeGuard

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.sql.elements import ColumnElement, quoted_name
from sqlalchemy.sql.selectable import FromClause, Subquery
from sqlalchemy.types import TypeEngine

from retail_platform.serving.catalogue import Catalogue, Kind, Relation, ServedTable
from retail_platform.serving.query.cursors import signature
from retail_platform.serving.query.errors import NotAllowedError, QuestionError
from retail_platform.serving.query.measures import column_of, measure_kind
from retail_platform.serving.query.shapes import (
    LONGEST_NAME,
    Aggregate,
    Aggregation,
    All,
    AnyOf,
    Condition,
    Constant,
    Cursor,
    Edges,
    Encoding,
    Filter,
    Function,
    Group,
    Lookup,
    Many,
    Measure,
    Node,
    Not,
    One,
    Operator,
    Output,
    Page,
    PageFact,
    PageInfo,
    PagePart,
    Path,
    Query,
    Rows,
    Some,
    Sort,
    Total,
    Value,
)

MASK = "masked"
"""What those who may not see customers see of a personal text; of a personal key they see null."""

AVERAGE_PLACES = 4
"""Decimal places of averages of exact numbers, as all amounts have."""

FEWEST_CUSTOMERS = 5
"""Of a group of fewer, those who may not see customers are not told how many: it would say which lines are of one."""

Expression = ColumnElement[Any]
Operand = Path | Measure

_EMPTY_LIST = sa.literal_column("'[]'", sa.JSON)

_DIALECT: Dialect = make_url("postgresql+asyncpg://").get_dialect()()
_COPY_DIALECT: Dialect = make_url("postgresql+psycopg://").get_dialect()()
"""Names its placeholders; psycopg writes the values into the statement, as COPY takes no parameters."""

_TYPES: Mapping[Kind, TypeEngine[Any]] = {
    Kind.TEXT: sa.Text(),
    # Whatever the column's width: a value beyond it compares, and is not an error.
    Kind.INTEGER: sa.BigInteger(),
    Kind.COUNT: sa.BigInteger(),
    Kind.KEY: sa.BigInteger(),
    Kind.DECIMAL: sa.Numeric(),
    Kind.FLOAT: sa.Double(),
    Kind.BOOLEAN: sa.Boolean(),
    Kind.DATE: sa.Date(),
    Kind.LOCAL_TIME: sa.DateTime(),
    Kind.INSTANT: sa.DateTime(timezone=True),
    Kind.UUID: sa.Uuid(),
    Kind.JSON: sa.JSON(),
}


@dataclass(frozen=True)
class Statement:
    """One SQL statement and what it takes and gives.

    Its one row has `v` (text, the warehouse's version), then of each query `j0` (json) and `n0` (integer: how many rows
    are in it), then of each in `totals` `t0` (bigint).

    Attributes:
        order: for `$1`, `$2`, … the position of its value.
        totals: the pages with a Total: position of the query, and how many of its values are its filter's.
        reads_gold: whether it reads large tables, for which a plan is worth making for the values of each request.
        given: the same with totals as values behind all others, instead of counted; None where there are none.
    """

    sql: str
    order: tuple[int, ...]
    reads_gold: bool
    totals: tuple[tuple[int, int], ...]
    given: "Statement | None"


@lru_cache(maxsize=2048)
def compile_statement(catalogue: Catalogue, queries: tuple[Query, ...], encoding: Encoding) -> Statement:
    """One statement that answers several queries at once; kept, as most queries differ in their values only.

    Args:
        catalogue: all tables.
        queries: their values follow one another in the order of the queries.
        encoding: how values look in JSON, and for whom.

    Raises:
        NotAllowedError: a query asks who a customer is where the encoding masks customers.
        QuestionError: a name under which something is shown is longer than `LONGEST_NAME`.
    """
    totals = tuple((number, slot_count(query.filter)) for number, query in enumerate(queries) if _has_total(query))
    given = _compiled(catalogue, queries, encoding, knows_totals=True) if totals else None
    return replace(_compiled(catalogue, queries, encoding, knows_totals=False), totals=totals, given=given)


def _compiled(catalogue: Catalogue, queries: tuple[Query, ...], encoding: Encoding, *, knows_totals: bool) -> Statement:
    compiler = _Compiler(catalogue, encoding)
    answers = [compiler.query(query, knows_totals).subquery(f"q{number}") for number, query in enumerate(queries)]
    compiler.place_known_totals()
    columns = [_version().label("v")]
    for number, answer in enumerate(answers):
        columns += [answer.c.j.label(f"j{number}"), answer.c.n.label(f"n{number}")]
    if not knows_totals:
        columns += [answer.c.t.label(f"t{number}") for number, answer in enumerate(answers) if "t" in answer.c]
    compiled = sa.select(*columns).select_from(*answers).compile(dialect=_DIALECT)
    order = tuple(compiler.slots[name] for name in compiled.positiontup or ())
    return Statement(str(compiled), order, compiler.reads_gold, (), None)


def _has_total(query: Query) -> TypeGuard[Page]:
    return isinstance(query, Page) and any(isinstance(part, Total) for part in query.parts)


def compile_rows(
    catalogue: Catalogue, table: str, outputs: tuple[Value, ...], where: Filter, sort: tuple[Sort, ...]
) -> str:
    """The SELECT of rows as columns, not as JSON, for somebody who may see customers.

    Args:
        catalogue: all tables.
        table: one of them.
        outputs: its columns.
        where: its placeholders are `%(v0)s`, `%(v1)s`, … as psycopg has them, for the filter's values in their order.
        sort: none for the order in which the database finds the rows.

    Raises:
        QuestionError: a name under which a column is shown is longer than `LONGEST_NAME`.
    """
    compiler = _Compiler(catalogue, Encoding(decimals_as_text=False, masks_customers=False))
    scope = compiler.scope(compiler.table(table))
    condition = compiler.condition(scope, where)
    columns = [_named(output.name, compiler.reached(scope, output.path)) for output in outputs]
    order = [compiler.ordered(scope, each) for each in sort]
    rows = sa.select(*columns).select_from(scope.froms).where(condition).order_by(*order)
    return str(rows.compile(dialect=_COPY_DIALECT))


def slot_count(query: Filter) -> int:
    """How many values a filter takes."""
    match query:
        case Condition(operator=operator):
            return operator not in (Operator.IS_NULL, Operator.IS_NOT_NULL)
        case All(parts) | AnyOf(parts):
            return sum(map(slot_count, parts))
        case Not(part) | Some(part=part):
            return slot_count(part)


def _version() -> Expression:
    """Changes whenever gold is loaded or marts are published."""
    load = sa.table("load", sa.column("load_id"), schema="platform")
    publication = sa.table("publication", sa.column("version"), schema="platform")
    newest = [
        sa.cast(sa.select(sa.func.coalesce(sa.func.max(column), sa.literal_column("0"))).scalar_subquery(), sa.Text)
        for column in (load.c.load_id, publication.c.version)
    ]
    return newest[0].concat(sa.literal_column("'.'")).concat(newest[1])


class _Scope:
    """What a FROM clause reaches: a row of a table, and what is joined to it on demand.

    Attributes:
        table: whose row it is.
        source: what has the row's columns.
        froms: `source` with all that is joined to it.
        members: everything in `froms`, for subqueries beside it.
        known: operands that are columns of `source` already, such as a group's measures.
    """

    def __init__(
        self, table: ServedTable, source: FromClause, known: Mapping[Operand, Expression] | None = None
    ) -> None:
        self.table = table
        self.source = source
        self.froms = source
        self.members = [source]
        self.known = known or {}
        self.reached: dict[Path, tuple[ServedTable, FromClause]] = {(): (table, source)}

    def join(self, right: FromClause, on: Expression | None = None, *, always: bool = False) -> None:
        """Join what has a row for each row here (`always`), or may have none."""
        self.froms = self.froms.join(right, sa.true() if on is None else on, isouter=not always)
        self.members.append(right)


@dataclass(frozen=True)
class _Link:
    """Ties the rows of a nested query to the row that they belong to."""

    relation: Relation
    parent: FromClause

    def condition(self, source: FromClause) -> Expression:
        return source.c[self.relation.target_column] == self.parent.c[self.relation.column]


class _Compiler:
    """Makes the parts of one statement; takes the value slots in the order in which the shapes define them."""

    def __init__(self, catalogue: Catalogue, encoding: Encoding) -> None:
        self.catalogue = catalogue
        self.encoding = encoding
        self.slots: dict[str, int] = {}
        self.known_totals: list[str] = []
        self.next_slot = 0
        self.reads_gold = False
        self.names = map("t{}".format, count())

    # Queries: each is a SELECT of one row with the columns j, n and, for a page with a total, t.

    def query(self, query: Query, knows_totals: bool) -> sa.Select[Any]:
        match query:
            case Page():
                return self.page(query, knows_totals=knows_totals)
            case Aggregation():
                return self.aggregation(query)
            case Lookup(page):
                return self.lookup(page)

    def page(self, page: Page, link: _Link | None = None, *, knows_totals: bool = False) -> sa.Select[Any]:
        first_slot = self.next_slot
        picked = self.picked(page, link)
        collected = self.collected(page, picked)
        answer = _Scope(picked.scope.table, collected)
        total: Expression | None = None
        if any(isinstance(part, Total) for part in page.parts):
            total = self.known_total() if knows_totals else self.counted(answer, page, link, first_slot)
        parts = [self.page_part(answer, part, number, total) for number, part in enumerate(page.parts)]
        whole = collected.c.p0 if page.bare else sa.func.row_to_json(self.record(answer, parts))
        columns = [whole.label("j"), collected.c.n, *([] if total is None else [total.label("t")])]
        return sa.select(*columns).select_from(answer.froms)

    def page_part(self, answer: _Scope, part: PagePart, number: int, total: Expression | None) -> Expression:
        """A part of a page made of what was collected over its rows."""
        columns = answer.source.c
        match part:
            case PageInfo(facts=facts):
                named = [
                    _named(name, _text(fact) if isinstance(fact, str) else columns[fact.value]) for name, fact in facts
                ]
                return _named(part.name, self.record(answer, named))
            case Total() if total is not None:
                return _named(part.name, total)
            case Constant(text=text):
                return _named(part.name, _text(text))
        return _named(part.name, columns[f"p{number}"])

    def picked(self, page: Page, link: _Link | None) -> "_Picked":
        """The rows of a page by the page's filter, order and place, numbered."""
        table = self.table(page.table)
        scope = self.scope(table)
        conditions = [link.condition(scope.source)] if link else []
        conditions.append(self.condition(scope, page.filter))
        conditions += [
            self.beyond(scope, page.sort, nulls, backward=backward)
            for nulls, backward in ((page.after, False), (page.before, True))
            if nulls is not None
        ]
        limit, offset = self.slot(Kind.COUNT), self.slot(Kind.COUNT) if page.has_offset else None
        facts = {fact for part in page.parts if isinstance(part, PageInfo) for _, fact in part.facts}
        wants_more = (PageFact.HAS_PREVIOUS if page.from_end else PageFact.HAS_NEXT) in facts
        columns = [scope.source.c[name] for part in page.parts for name in _part_columns(table, part)]
        columns = list(dict.fromkeys(columns))
        if _wants_cursor(page):
            columns += [self.operand(scope, each.operand).label(f"_{n}") for n, each in enumerate(page.sort)]
        if all(isinstance(part, Total | Constant) for part in page.parts):
            conditions.append(sa.false())
        # For the few rows of a parent PostgreSQL would walk the whole primary key, a second for each parent.
        by_key = link is not None and {each.operand for each in page.sort} == {(name,) for name in table.key}
        order = [self.ordered(scope, sort, reverse=page.from_end, is_indexed=not by_key) for sort in page.sort]
        inner = sa.select(*(columns or [sa.literal_column("1").label("_")])).select_from(scope.froms).where(*conditions)
        inner = inner.order_by(*order).limit(limit + sa.literal_column("1") if wants_more else limit).offset(offset)
        numbered = _numbered(_correlated(inner, link).subquery(next(self.names)), next(self.names))
        return _Picked(_Scope(table, numbered), limit, offset, wants_more)

    def collected(self, page: Page, picked: "_Picked") -> FromClause:
        """One row: the parts of the page that are made of its rows (p0, …), facts of it, and how many rows (n)."""
        columns: dict[str, Expression] = {}
        for number, part in enumerate(page.parts):
            if isinstance(part, Rows):
                columns[f"p{number}"] = self.listed(
                    self.record(picked.scope, self.shown(picked.scope, part.outputs)), page, picked
                )
            elif isinstance(part, Edges):
                edge = [self.edge_part(page, picked.scope, each) for each in part.parts]
                columns[f"p{number}"] = self.listed(self.record(picked.scope, edge), page, picked)
            elif isinstance(part, PageInfo):
                columns |= {
                    fact.value: self.fact(page, picked, fact) for _, fact in part.facts if isinstance(fact, PageFact)
                }
        rows = sa.func.count()
        columns["n"] = sa.func.least(rows, picked.limit) if picked.wants_more else rows
        labelled = [column.label(name) for name, column in columns.items()]
        return sa.select(*labelled).select_from(picked.scope.froms).subquery(next(self.names))

    def listed(self, record: Expression, page: Page, picked: "_Picked") -> Expression:
        number = picked.scope.source.c._n
        rows = sa.func.json_agg(aggregate_order_by(record, number.desc() if page.from_end else number.asc()))
        return sa.func.coalesce(rows.filter(number <= picked.limit) if picked.wants_more else rows, _EMPTY_LIST)

    def edge_part(self, page: Page, scope: _Scope, part: Cursor | Node | Constant) -> Expression:
        match part:
            case Cursor(name):
                return _named(name, self.cursor(page, scope))
            case Node(name, outputs):
                return _named(name, self.record(scope, self.shown(scope, outputs)))
            case Constant(name, text):
                return _named(name, _text(text))

    def fact(self, page: Page, picked: "_Picked", fact: PageFact) -> Expression:
        """A fact of a page, from its rows and one more when the limit leaves any."""
        here = picked.scope.source.c
        if fact in (PageFact.START_CURSOR, PageFact.END_CURSOR):
            first = (fact is PageFact.START_CURSOR) != page.from_end
            last = sa.func.least(here._count, picked.limit)
            return sa.func.max(self.cursor(page, picked.scope)).filter(
                here._n == (sa.literal_column("1") if first else last)
            )
        if (fact is PageFact.HAS_PREVIOUS) == page.from_end:
            return sa.func.count() > picked.limit
        if page.from_end:
            return sa.true() if page.before is not None else sa.false()
        if page.after is not None:
            return sa.true()
        return sa.false() if picked.offset is None else picked.offset > sa.literal_column("0")

    def cursor(self, page: Page, scope: _Scope) -> Expression:
        """What `cursors.read_cursor` reads."""
        values = [scope.source.c[f"_{number}"] for number in range(len(page.sort))]
        place = sa.cast(sa.func.json_build_array(_text(signature(page.table, page.sort)), *values), sa.Text)
        encoded = sa.func.encode(sa.func.convert_to(place, _text("UTF8")), _text("base64"))
        return sa.func.translate(encoded, sa.literal_column(r"E'+/=\n'"), _text("-_"))

    def counted(self, answer: _Scope, page: Page, link: _Link | None, first_slot: int) -> Expression:
        """How many rows pass the page's filter, with the same value slots as its rows."""
        next_slot, self.next_slot = self.next_slot, first_slot
        scope = self.scope(self.table(page.table))
        conditions = [link.condition(scope.source)] if link else []
        conditions.append(self.condition(scope, page.filter))
        self.next_slot = next_slot
        rows = sa.select(sa.func.count().label("total")).select_from(scope.froms).where(*conditions)
        total = _correlated(rows, link).subquery(next(self.names))
        answer.join(total, always=True)
        return total.c.total

    def known_total(self) -> Expression:
        self.known_totals.append(f"total{len(self.known_totals)}")
        return sa.bindparam(self.known_totals[-1], type_=_TYPES[Kind.COUNT])

    def place_known_totals(self) -> None:
        """Their values come behind those of all queries."""
        for name in self.known_totals:
            self.slots[name] = self.next_slot
            self.next_slot += 1

    def lookup(self, page: Page) -> sa.Select[Any]:
        (rows,) = page.parts
        if not isinstance(rows, Rows):
            raise TypeError(f"a lookup answers Rows, not {rows}")
        scope = self.picked(page, None).scope
        record = sa.func.row_to_json(self.record(scope, self.shown(scope, rows.outputs)))
        first = sa.literal_column("1", sa.Integer)
        row = sa.func.array_agg(record, type_=sa.ARRAY(sa.JSON))[first]
        return sa.select(row.label("j"), sa.func.count().label("n")).select_from(scope.froms)

    def aggregation(self, query: Aggregation, link: _Link | None = None) -> sa.Select[Any]:
        table = self.table(query.table)
        scope = self.scope(table)
        conditions = [link.condition(scope.source)] if link else []
        conditions.append(self.condition(scope, query.filter))
        having = self.condition(scope, query.having)
        limit, offset = self.slot(Kind.COUNT), self.slot(Kind.COUNT) if query.has_offset else None
        groups: dict[Operand, Expression] = {path: self.operand(scope, path) for path in query.group_by}
        # Without any measure and group, each row would be a group.
        measures: dict[Operand, Expression] = {
            measure: self.operand(scope, measure) for measure in _measures(query.outputs) or [Measure(Function.COUNT)]
        }
        sorted_by = {each.operand for each in query.sort}
        sort = [*query.sort, *(Sort(path) for path in query.group_by if path not in sorted_by)]
        order = [self.ordered(scope, each) for each in sort]
        operands = {**groups, **measures}
        inner = sa.select(*(each.label(f"_{n}") for n, each in enumerate(operands.values()))).select_from(scope.froms)
        inner = inner.where(*conditions).group_by(*groups.values()).having(having)
        inner = inner.order_by(*order).limit(limit + sa.literal_column("1") if query.peeks else limit).offset(offset)
        numbered = _numbered(_correlated(inner, link).subquery(next(self.names)), next(self.names))
        known = {operand: numbered.c[f"_{n}"] for n, operand in enumerate(operands)}
        shown = _Scope(table, numbered, known)
        record = self.record(shown, self.shown(shown, query.outputs))
        rows = sa.func.json_agg(aggregate_order_by(record, numbered.c._n))
        rows = sa.func.coalesce(rows.filter(numbered.c._n <= limit) if query.peeks else rows, _EMPTY_LIST)
        return sa.select(rows.label("j"), sa.func.count().label("n")).select_from(shown.froms)

    # What is shown of a row.

    def record(self, scope: _Scope, columns: Sequence[Expression]) -> Expression:
        """A row of the columns, which `row_to_json` makes an object of."""
        row = sa.select(*columns).correlate(*scope.members).lateral(next(self.names))
        scope.join(row, always=True)
        return row.table_valued()

    def shown(self, scope: _Scope, outputs: Sequence[Output]) -> list[Expression]:
        return [_named(output.name, self.output(scope, output)) for output in outputs]

    def output(self, scope: _Scope, output: Output) -> Expression:
        match output:
            case Value(path=path):
                column = column_of(self.catalogue, scope.table, path)
                if column.is_personal and self.encoding.masks_customers:
                    return _text(MASK) if column.kind is Kind.TEXT else sa.cast(sa.null(), sa.Text)
                return self.encoded(self.reached(scope, path), column.kind)
            case Aggregate(measure=measure):
                kind = measure_kind(self.catalogue, scope.table, measure)
                return self.encoded(scope.known[measure], kind)
            case Constant(text=text):
                return _text(text)
            case Group(outputs=outputs):
                return self.record(scope, self.shown(scope, outputs))
            case One():
                return self.one(scope, output)
            case Many():
                return self.many(scope, output)

    def encoded(self, value: Expression, kind: Kind) -> Expression:
        if kind is Kind.KEY or (kind is Kind.DECIMAL and self.encoding.decimals_as_text):
            return sa.cast(value, sa.Text)
        return value

    def one(self, scope: _Scope, output: One) -> Expression:
        relation = scope.table.relations[output.relation]
        inner = self.scope(self.table(relation.target))
        columns = self.shown(inner, output.outputs)
        link = _Link(relation, scope.source)
        row = sa.select(*columns).select_from(inner.froms).where(link.condition(inner.source))
        lateral = row.correlate(scope.source).lateral(next(self.names))
        scope.join(lateral)
        return lateral.table_valued()

    def many(self, scope: _Scope, output: Many) -> Expression:
        link = _Link(scope.table.relations[output.relation], scope.source)
        query = output.query
        select = self.page(query, link) if isinstance(query, Page) else self.aggregation(query, link)
        lateral = select.lateral(next(self.names))
        scope.join(lateral, always=True)
        return lateral.c.j

    # What is asked of a row.

    def condition(self, scope: _Scope, query: Filter) -> Expression:
        match query:
            case Condition():
                return self.comparison(scope, query)
            case All(parts):
                return sa.and_(sa.true(), *[self.condition(scope, part) for part in parts])
            case AnyOf(parts):
                return sa.or_(sa.false(), *[self.condition(scope, part) for part in parts])
            case Not(part):
                return self.condition(scope, part).is_not(sa.true())
            case Some():
                return self.some(scope, query)

    def some(self, scope: _Scope, query: Some) -> Expression:
        table, source = self.reach(scope, query.path[:-1])
        relation = table.relations[query.path[-1]]
        inner = self.scope(self.table(relation.target))
        condition = self.condition(inner, query.part)
        rows: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(inner.froms)
        return rows.where(_Link(relation, source).condition(inner.source), condition).correlate(source).exists()

    def comparison(self, scope: _Scope, query: Condition) -> Expression:
        left = self.operand(scope, query.operand)
        if query.operator is Operator.IS_NULL:
            return left.is_(None)
        if query.operator is Operator.IS_NOT_NULL:
            return left.is_not(None)
        kind = self.kind(scope, query.operand)
        if query.operator is Operator.IN:
            return left == sa.any_(self.slot(kind, is_list=True))
        return _COMPARISONS[query.operator](left, self.slot(kind))

    def beyond(self, scope: _Scope, sort: tuple[Sort, ...], nulls: tuple[bool, ...], *, backward: bool) -> Expression:
        """The rows behind (or, backward, before) a cursor; nulls are last in either direction of a column."""
        left = [self.operand(scope, each.operand) for each in sort]
        right = [
            None if null else self.slot(self.kind(scope, each.operand)) for each, null in zip(sort, nulls, strict=True)
        ]
        greater = [each.descending == backward for each in sort]
        nullable = [self.nullable(scope, each.operand) for each in sort]
        values = [value for value in right if value is not None]
        if len(values) == len(sort) and not any(nullable) and len(set(greater)) == 1:
            rows, cursor = sa.tuple_(*left), sa.tuple_(*values)
            return rows > cursor if greater[0] else rows < cursor
        ways: list[Expression] = []
        ties: list[Expression] = []
        for column, value, may_be_null, up in zip(left, right, nullable, greater, strict=True):
            ways.append(sa.and_(*ties, _step(column, value, may_be_null, up, backward)))
            ties.append(column.is_(None) if value is None else column == value)
        if right[0] is not None and not nullable[0]:
            # Says nothing new, but an index or the choice of partitions can use it.
            return sa.and_(left[0] >= right[0] if greater[0] else left[0] <= right[0], sa.or_(*ways))
        return sa.or_(*ways)

    def ordered(self, scope: _Scope, sort: Sort, *, reverse: bool = False, is_indexed: bool = True) -> Expression:
        """An order without words on nulls where there are none, so that an index on the column gives it, if it may."""
        operand = self.operand(scope, sort.operand)
        if not is_indexed:
            operand = sa.func.coalesce(operand, operand)
        order = operand.desc() if sort.descending != reverse else operand.asc()
        if not self.nullable(scope, sort.operand):
            return order
        return order.nulls_first() if reverse else order.nulls_last()

    def operand(self, scope: _Scope, operand: Operand) -> Expression:
        """A column or measure that is asked of, not only shown."""
        if isinstance(operand, Measure):
            return self.measure(scope, operand)
        self.refuse_personal(scope, operand)
        return self.reached(scope, operand)

    def measure(self, scope: _Scope, measure: Measure) -> Expression:
        if measure.function is Function.COUNT:
            return sa.func.count()
        if measure.function is Function.COUNT_DISTINCT:
            number = sa.func.count(self.reached(scope, measure.path, is_counted=True).distinct())
            if not self.hides_few(scope, measure):
                return number
            customers = sa.func.count(
                self.reached(scope, self.customer(scope, measure.path), is_counted=True).distinct()
            )
            return sa.case((customers >= sa.literal_column(str(FEWEST_CUSTOMERS)), number))
        column = self.reached(scope, measure.path)
        self.refuse_personal(scope, measure.path)
        value: Expression = getattr(sa.func, measure.function.value)(column)
        if measure.function is Function.AVG and self.kind(scope, measure) is Kind.DECIMAL:
            return sa.func.round(value, sa.literal_column(str(AVERAGE_PLACES)))
        return value

    def kind(self, scope: _Scope, operand: Operand) -> Kind:
        if isinstance(operand, Measure):
            return measure_kind(self.catalogue, scope.table, operand)
        return column_of(self.catalogue, scope.table, operand).kind

    def nullable(self, scope: _Scope, operand: Operand) -> bool:
        if isinstance(operand, Measure):
            counts = operand.function in (Function.COUNT, Function.COUNT_DISTINCT)
            return not counts or self.hides_few(scope, operand)
        column = column_of(self.catalogue, scope.table, operand)
        return len(operand) > 1 or column.nullable or (column.counts_customers and self.encoding.masks_customers)

    def hides_few(self, scope: _Scope, measure: Measure) -> bool:
        """Whether a count distinct is of customers, for somebody who may not see them."""
        if not self.encoding.masks_customers or measure.function is not Function.COUNT_DISTINCT:
            return False
        return column_of(self.catalogue, scope.table, measure.path).is_personal

    def customer(self, scope: _Scope, path: Path) -> Path:
        """The number of the customer that a personal column is of: a customer has a key for each of its versions."""
        if path[-1] == "customer_id":
            return path
        table = self.reach(scope, path[:-1], is_counted=True)[0]
        links = [one for one in table.relations.values() if not one.is_many and one.column == path[-1]]
        for link in links:
            if "customer_id" in self.catalogue[link.target].columns:
                return (*path[:-1], link.name, "customer_id")
        return path

    def refuse_personal(self, scope: _Scope, path: Path) -> None:
        if self.encoding.masks_customers and column_of(self.catalogue, scope.table, path).is_personal:
            raise NotAllowedError(path[-1], "tells who a customer is: this needs the role analyst")

    # Tables and value slots.

    def table(self, name: str) -> ServedTable:
        table = self.catalogue[name]
        if self.encoding.masks_customers and table.is_personal:
            raise NotAllowedError(name, "has rows of customers: this needs the role analyst")
        self.reads_gold |= table.schema == "gold"
        return table

    def scope(self, table: ServedTable) -> _Scope:
        columns = [sa.column(column.name, _TYPES[column.kind]) for column in table.columns.values()]
        return _Scope(table, sa.table(table.name, *columns, schema=table.schema).alias(next(self.names)))

    def reached(self, scope: _Scope, path: Path, *, is_counted: bool = False) -> Expression:
        if path in scope.known:
            return scope.known[path]
        table, source = self.reach(scope, path[:-1], is_counted=is_counted)
        column: Expression = source.c[path[-1]]
        if self.encoding.masks_customers and table.columns[path[-1]].counts_customers:
            return sa.case((column >= sa.literal_column(str(FEWEST_CUSTOMERS)), column))
        return column

    def reach(self, scope: _Scope, relations: Path, *, is_counted: bool = False) -> tuple[ServedTable, FromClause]:
        """The row along relations to one, joined when it is not yet; how many customers there are is no secret."""
        if relations not in scope.reached:
            table, source = self.reach(scope, relations[:-1], is_counted=is_counted)
            relation = table.relations[relations[-1]]
            target = self.scope(self.catalogue[relation.target] if is_counted else self.table(relation.target))
            scope.join(target.source, _Link(relation, source).condition(target.source))
            scope.reached[relations] = (target.table, target.source)
        return scope.reached[relations]

    def slot(self, kind: Kind, *, is_list: bool = False) -> sa.BindParameter[Any]:
        """The next value."""
        name = f"v{self.next_slot}"
        self.slots[name] = self.next_slot
        self.next_slot += 1
        return sa.bindparam(name, type_=sa.ARRAY(_TYPES[kind]) if is_list else _TYPES[kind])


@dataclass(frozen=True)
class _Picked:
    """The rows of a page, and where they begin and end.

    Attributes:
        wants_more: whether one row beyond the limit is picked, to know whether there is one.
    """

    scope: _Scope
    limit: Expression
    offset: Expression | None
    wants_more: bool


_COMPARISONS: Mapping[Operator, Callable[[Expression, Expression], Expression]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.LIKE: lambda left, right: left.like(right),
    Operator.ILIKE: lambda left, right: left.ilike(right),
}


def _step(column: Expression, value: Expression | None, nullable: bool, greater: bool, backward: bool) -> Expression:
    """Whether a column is beyond a cursor's value of it, or of its null."""
    if value is None:
        return column.is_not(None) if backward else sa.false()
    beyond = column > value if greater else column < value
    return sa.or_(beyond, column.is_(None)) if nullable and not backward else beyond


def _numbered(rows: Subquery, name: str) -> Subquery:
    """Rows that are in order, with their number in it and how many they are."""
    # Over all rows as they come: the LIMIT below keeps their order.
    number, several = sa.func.row_number().over().label("_n"), sa.func.count().over().label("_count")
    return sa.select(*rows.c, number, several).subquery(name)


def _correlated(select: sa.Select[Any], link: _Link | None) -> sa.Select[Any]:
    return select if link is None else select.correlate(link.parent)


def _wants_cursor(page: Page) -> bool:
    cursors = (PageFact.START_CURSOR, PageFact.END_CURSOR)
    for part in page.parts:
        if isinstance(part, Edges) and any(isinstance(each, Cursor) for each in part.parts):
            return True
        if isinstance(part, PageInfo) and any(fact in cursors for _, fact in part.facts):
            return True
    return False


def _part_columns(table: ServedTable, part: PagePart) -> Iterator[str]:
    """The table's own columns that a part of a page needs."""
    if isinstance(part, Rows):
        yield from _columns(table, part.outputs)
    elif isinstance(part, Edges):
        for each in part.parts:
            if isinstance(each, Node):
                yield from _columns(table, each.outputs)


def _columns(table: ServedTable, outputs: Sequence[Output]) -> Iterator[str]:
    for output in outputs:
        match output:
            case Value(path=(name,)):
                yield name
            case Value(path=(relation, *_)) | One(relation=relation) | Many(relation=relation):
                yield table.relations[relation].column
            case Group(outputs=inner):
                yield from _columns(table, inner)


def _measures(outputs: Sequence[Output]) -> list[Measure]:
    measures: list[Measure] = []
    for output in outputs:
        if isinstance(output, Aggregate):
            measures.append(output.measure)
        elif isinstance(output, Group):
            measures += _measures(output.outputs)
    return measures


def _named(name: str, value: Expression) -> Expression:
    if len(name.encode()) > LONGEST_NAME:
        raise QuestionError(name, f"is a name of {len(name.encode())} bytes; at most {LONGEST_NAME} are possible")
    return value.label(quoted_name(name, quote=True))


def _text(text: str) -> Expression:
    """A text of this program (never of a person) in the SQL itself."""
    return sa.literal_column("'" + text.replace("'", "''") + "'", sa.Text)
