"""The index advisor of the warehouse: which indexes of schema gold nobody uses, and which questions lack one.

Which columns are asked for is read from pg_stat_statements where the server has it; without it only PostgreSQL's counts
of scans are known, and no new index is proposed. A proposal is tried on a copy of some rows. What is applied is written
into `platform.index_choice`, from which `prepare_warehouse` makes the indexes: none is there behind its back. The marts
are dbt's; their indexes stay out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from retail_platform.contracts import FACT_SALE, GOLD_TABLES, Table
from retail_platform.warehouse.changes import writing
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.tables import (
    choose_index,
    identifier,
    prepare_warehouse,
    wanted_indexes,
    warehouse_columns,
)

SAMPLE_ROWS = 100_000
LOOKUPS = 20
"""Values that are looked up in the sample, before and after."""

LEAST_CALLS = 20
"""Calls of a statement from which it counts; less often asked questions may wait."""

LEAST_ROWS = 10_000
"""Rows of a table below which no index is worth it: reading all of them takes a millisecond."""

OBSERVED_DAYS = 14
"""Days of counting before an index counts as unused: reports of a month's end come once a month, loads every day."""

WIN = 0.5
"""A new index has to halve the time of the lookups; each one costs every load."""

DROP_WIN = 0.95
"""Dropping one has to take a twentieth off the time of writing rows."""

_COMPARED = re.compile(r'"?(\w+)"?\s*(?:=|<=?|>=?|\bin\b|\bbetween\b)\s*(?:any\s*)?\(?\s*\$\d', re.IGNORECASE)
"""A column that is compared with a constant, as pg_stat_statements writes it: `name = $1`."""


@dataclass(frozen=True)
class IndexAdvice:
    """A proposed change of an index, and what came of trying it.

    Attributes:
        table: the gold table.
        columns: of the index.
        action: `create` or `drop`.
        why: the numbers that speak for it.
        measure: what was timed: lookups, or writes.
        before: milliseconds on the sample as it is.
        after: the same with the proposal.
        is_worth_it: whether it won.
        is_applied: whether it was done.
    """

    table: str
    columns: tuple[str, ...]
    action: str
    why: str
    measure: str
    before: float
    after: float
    is_worth_it: bool
    is_applied: bool = False

    @property
    def verdict(self) -> str:
        """In words."""
        return "applied" if self.is_applied else "worth it" if self.is_worth_it else "not worth it"


def statistics_source(connection: psycopg.Connection) -> str:
    """What the advice on indexes rests on, in words."""
    if _has_statements(connection):
        return "pg_stat_statements: the statements that were run, and PostgreSQL's counts of scans"
    return (
        "PostgreSQL's counts of scans only, which do not say which columns are asked for: no new index is proposed. "
        "The server has no pg_stat_statements (docs/maintenance.md says how one of your own gets it)"
    )


def advise_indexes(database: Database, apply: bool = False) -> list[IndexAdvice]:
    """Find what could be better, try it on a sample, and apply what has won if asked.

    Args:
        database: the warehouse, prepared.
        apply: whether to do it; then nobody else writes it meanwhile.
    """
    with database.connect(autocommit=True) as connection:
        found = [*_unused(connection), *_lacking(connection)]
        tried = [_try(connection, table, advice) for table, advice in found]
        if not apply:
            return tried
        for advice in tried:
            if advice.is_worth_it:
                with writing(connection):
                    choose_index(connection, advice.table, advice.columns, advice.action == "create", advice.why)
        prepare_warehouse(connection)
        return [replace(advice, is_applied=advice.is_worth_it) for advice in tried]


def compared_columns(statement: str, columns: Sequence[str]) -> list[str]:
    """Which of the columns a statement compares with a constant, in the order of the statement."""
    found = (name.lower() for name in _COMPARED.findall(statement))
    return list(dict.fromkeys(name for name in found if name in columns))


def _has_statements(connection: psycopg.Connection) -> bool:
    return connection.execute("select to_regclass('pg_stat_statements')").fetchone() != (None,)


def _unused(connection: psycopg.Connection) -> Iterator[tuple[Table, IndexAdvice]]:
    """The indexes that no question has used since counting began; keys are none of them."""
    observed = connection.execute(
        "select extract(day from now() - greatest(coalesce(stats_reset, '-infinity'), pg_postmaster_start_time(),"
        " (select coalesce(min(loaded_at), now()) from platform.load))) from pg_stat_database"
        " where datname = current_database()"
    ).fetchone()
    days = int(observed[0]) if observed else 0
    if days < OBSERVED_DAYS:
        return
    for table in GOLD_TABLES:
        for columns in wanted_indexes(connection, table):
            scans, size = _use(connection, f"{table.layer}.{table.name}_{'_'.join(columns)}_idx")
            if scans == 0 and _rows(connection, table) >= LEAST_ROWS:
                why = f"no question used it in {days} days; {size / 2**20:.1f} MiB that every load writes"
                yield table, IndexAdvice(table.name, columns, "drop", why, "writes", 0, 0, False)


def _lacking(connection: psycopg.Connection) -> Iterator[tuple[Table, IndexAdvice]]:
    """The columns that statements compare and that no index begins with, the most time first."""
    if not _has_statements(connection):
        return
    statements = connection.execute(
        "select query, calls, total_exec_time from pg_stat_statements where calls >= %s"
        " and dbid = (select oid from pg_database where datname = current_database())"
        " and query ilike 'select%%' order by total_exec_time desc limit 200",
        [LEAST_CALLS],
    ).fetchall()
    for table in GOLD_TABLES:
        if _rows(connection, table) < LEAST_ROWS:
            continue
        asked: dict[str, tuple[int, float]] = {}
        for query, calls, time in statements:
            if not re.search(rf'"?gold"?\."?{table.name}"?\b', query):
                continue
            for column in compared_columns(query, warehouse_columns(table))[:1]:
                before = asked.get(column, (0, 0.0))
                asked[column] = (before[0] + calls, before[1] + time)
        for column in asked.keys() - _leading(connection, table):
            calls, time = asked[column]
            why = f"{calls} questions of {time / calls:.1f} ms compare it, and no index begins with it"
            yield table, IndexAdvice(table.name, (column,), "create", why, "lookups", 0, 0, False)


def _try(connection: psycopg.Connection, table: Table, advice: IndexAdvice) -> IndexAdvice:
    """Time the proposal on a copy of some rows, in a transaction that is rolled back."""
    present = [*wanted_indexes(connection, table)]
    after = [c for c in present if c != advice.columns] if advice.action == "drop" else [*present, advice.columns]
    with connection.transaction(force_rollback=True):
        column = sql.Identifier(advice.columns[0])
        if advice.action == "drop":
            times = [
                _write_sample(connection, table, indexes, name) for indexes, name in ((present, "a"), (after, "b"))
            ]
            return replace(advice, before=times[0], after=times[1], is_worth_it=times[1] <= DROP_WIN * times[0])
        _write_sample(connection, table, present, "a")
        before = _look_up(connection, column)
        connection.execute(sql.SQL("create index on sample_a ({})").format(column))
        connection.execute("analyze sample_a")
        times = [before, _look_up(connection, column)]
        return replace(advice, before=times[0], after=times[1], is_worth_it=times[1] <= WIN * times[0])


def _write_sample(connection: psycopg.Connection, table: Table, indexes: Sequence[tuple[str, ...]], name: str) -> float:
    """Make `sample_<name>` with some indexes, write the newest rows of a table into it; milliseconds of the writing."""
    sample = sql.Identifier(f"sample_{name}")
    connection.execute(sql.SQL("create temporary table {} (like {}) on commit drop").format(sample, identifier(table)))
    key = sql.SQL(", ").join(map(sql.Identifier, table.key))
    connection.execute(sql.SQL("create unique index on {} ({})").format(sample, key))
    for columns in indexes:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        connection.execute(sql.SQL("create index on {} ({})").format(sample, names))
    order = sql.SQL(" order by {} desc").format(sql.Identifier(table.day)) if table.day else sql.SQL("")
    insert = sql.SQL("insert into {} select * from {}{} limit {}")
    written = _milliseconds(connection, insert.format(sample, identifier(table), order, sql.Literal(SAMPLE_ROWS)))
    connection.execute(sql.SQL("analyze {}").format(sample))
    return written


def _look_up(connection: psycopg.Connection, column: sql.Identifier) -> float:
    """Milliseconds of the lookups of some values that are in `sample_a`."""
    values = connection.execute(
        sql.SQL("select {column} from sample_a where {column} is not null order by random() limit {n}").format(
            column=column, n=sql.Literal(LOOKUPS)
        )
    ).fetchall()
    query = sql.SQL("select * from sample_a where {} = {}")
    return sum(_milliseconds(connection, query.format(column, sql.Literal(value))) for (value,) in values)


def _milliseconds(connection: psycopg.Connection, statement: sql.Composed) -> float:
    row = connection.execute(sql.SQL("explain (analyze, timing off, format json) ") + statement).fetchone()
    assert row is not None
    plan: Mapping[str, Any] = row[0][0]
    return float(plan["Execution Time"])


def _use(connection: psycopg.Connection, index: str) -> tuple[int, int]:
    """Scans and bytes of an index, its parts in partitions included."""
    row = connection.execute(
        "select coalesce(sum(idx_scan), 0)::bigint, coalesce(sum(pg_relation_size(indexrelid)), 0)::bigint"
        " from pg_stat_all_indexes where indexrelid = to_regclass(%(index)s)"
        " or indexrelid in (select relid from pg_partition_tree(to_regclass(%(index)s)))",
        {"index": index},
    ).fetchone()
    assert row is not None
    return row


def _rows(connection: psycopg.Connection, table: Table) -> int:
    """Rows of a table as PostgreSQL estimates them."""
    row = connection.execute(
        "select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class where relkind = 'r' and"
        " (oid = %(table)s::regclass or oid in (select relid from pg_partition_tree(%(table)s::regclass)))",
        {"table": str(table)},
    ).fetchone()
    assert row is not None
    return int(row[0])


def _leading(connection: psycopg.Connection, table: Table) -> set[str]:
    """The columns that an index of the table, its key included, begins with."""
    keys = {table.key[0], *((str(table.day),) if table is FACT_SALE else ())}
    return keys | {columns[0] for columns in wanted_indexes(connection, table)}
