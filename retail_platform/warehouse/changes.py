"""How the warehouse is changed while people read it: alone, by difference, giving way to readers.

Lives here: the one transaction of a writer, the difference between a table and what it should hold, and schema changes
that need a moment without readers. Stays out: which tables there are (`tables`) and what belongs in them (`load`,
`publish`).
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

WRITER_LOCK = 7_305_114_832
"""Key of the advisory lock that every writer of the warehouse holds; arbitrary."""

ALTER_TRIES = 60
ALTER_PAUSE = 0.25
"""Seconds between the tries."""

ANALYZE_SHARE = 0.1
"""Share of changed rows from which a table is analysed at once; autovacuum's default, which comes a minute later."""


EVERY_ROW = sql.SQL("true")

_NUMBERS = itertools.count()


class LockedByReadersError(RuntimeError):
    """A schema change found no moment without readers; the message names them."""


@dataclass(frozen=True)
class Change:
    """Numbers of rows by what happened to them."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __add__(self, other: "Change") -> "Change":
        return Change(self.inserted + other.inserted, self.updated + other.updated, self.deleted + other.deleted)

    @property
    def rows(self) -> int:
        """All rows touched."""
        return self.inserted + self.updated + self.deleted


@contextmanager
def writing(connection: psycopg.Connection) -> Iterator[None]:
    """One transaction that changes the warehouse; a second writer waits for its end.

    Args:
        connection: without an open transaction, since only an outermost one is committed here.

    Raises:
        RuntimeError: the connection has an open transaction.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("The connection has an open transaction; commit it first, or connect with autocommit=True.")
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [WRITER_LOCK])
        connection.execute("set local work_mem = '256MB'")
        connection.execute("set local maintenance_work_mem = '256MB'")
        yield


@contextmanager
def alone(connection: psycopg.Connection) -> Iterator[None]:
    """Be the only writer over several transactions of `writing`; a second one waits.

    Args:
        connection: without an open transaction, before and after.
    """
    with connection.transaction():
        connection.execute("select pg_advisory_lock(%s)", [WRITER_LOCK])
    try:
        yield
    finally:
        with connection.transaction():
            connection.execute("select pg_advisory_unlock(%s)", [WRITER_LOCK])


class Difference:
    """What has to happen to the rows of a table until they equal the rows of another.

    Rows that are equal (nulls equal) are not touched. Found in one pass and applied in two steps, so that referenced
    rows can come before, and go after, the rows that reference them.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        target: sql.Identifier,
        source: sql.Identifier,
        columns: Sequence[str],
        key: Sequence[str],
        within: sql.SQL | sql.Composed = EVERY_ROW,
    ) -> None:
        """Compare.

        Args:
            connection: in a transaction of `writing`.
            target: the table to change.
            source: a table with all rows it should have.
            columns: the columns to compare, by name in both tables; others of the target are left alone.
            key: those of them that identify a row, never null.
            within: a condition on the target's columns; its other rows are not looked at.
        """
        self._connection = connection
        self._target = target
        self._columns = columns
        self._key = key
        self._rows = _temporary_name()
        self._find(source, within)
        self.change = self._count()

    def upsert(self) -> None:
        """Update the rows that differ and insert the missing ones."""
        values = [name for name in self._columns if name not in self._key]
        if self.change.updated:
            self._run(
                "update {target} as t set {set} from {rows} as d where d.change = 'updated' and {matches}",
                set=sql.SQL(", ").join(sql.SQL("{0} = d.{0}").format(sql.Identifier(name)) for name in values),
            )
        if self.change.inserted:
            self._run("insert into {target} ({columns}) select {columns} from {rows} where change = 'inserted'")

    def delete(self) -> None:
        """Delete the rows that should not be there."""
        if self.change.deleted:
            self._run("delete from {target} as t using {rows} as d where d.change = 'deleted' and {matches}")

    def _find(self, source: sql.Identifier, within: sql.SQL | sql.Composed) -> None:
        first = sql.Identifier(self._key[0])
        others = [name for name in self._columns if name not in self._key]
        self._run(
            """
            create temporary table {rows} on commit drop as
            select {key}{values},
                case when t.{first} is null then 'inserted'
                     when s.{first} is null then 'deleted' else 'updated' end as change
            from (select {columns} from {target} where {within}) as t full join {source} as s using ({key})
            where row({t}) is distinct from row({s})
            """,
            source=source,
            within=within,
            first=first,
            values=sql.SQL("").join(sql.SQL(", s.{}").format(sql.Identifier(name)) for name in others),
            t=_names(self._columns, "t"),
            s=_names(self._columns, "s"),
        )

    def _count(self) -> Change:
        found = self._run("select change, count(*) from {rows} group by change").fetchall()
        return Change(**dict(found))

    def _run(self, statement: str, **parts: sql.Composable) -> psycopg.Cursor:
        match = sql.SQL(" and ").join(sql.SQL("t.{0} = d.{0}").format(sql.Identifier(name)) for name in self._key)
        common = {
            "target": self._target,
            "rows": self._rows,
            "columns": _names(self._columns),
            "key": _names(self._key),
            "matches": match,
        }
        return self._connection.execute(sql.SQL(statement).format(**common, **parts))


def create_stage(connection: psycopg.Connection, table: sql.Identifier) -> sql.Identifier:
    """Create a temporary table with the columns of a table, until the end of the transaction, and say its name."""
    stage = _temporary_name()
    connection.execute(sql.SQL("create temporary table {} (like {}) on commit drop").format(stage, table))
    return stage


def analyze_if_changed(connection: psycopg.Connection, table: sql.Identifier, changed: int) -> None:
    """Analyse a table of which much was changed, so that the first queries after it are planned well.

    Args:
        connection: in a transaction of `writing`.
        table: its name.
        changed: how many of its rows were changed.
    """
    name = table.as_string(connection)
    known = connection.execute("select reltuples from pg_class where oid = %s::regclass", [name]).fetchone()
    if known is not None and changed > ANALYZE_SHARE * known[0]:
        # A quarter of the default sample: 0.7 s instead of 2.5 s over two years of months, for plans that are the same.
        connection.execute("set local default_statistics_target = 25")
        connection.execute(sql.SQL("analyze {}").format(table))


def alter_beside_readers(connection: psycopg.Connection, table: sql.Identifier, statement: sql.Composed) -> None:
    """Run a schema change that needs a moment without readers, without making any of them wait for long.

    A waiting `alter table` holds up every reader that comes after it, so it waits a tenth of a second only, and tries
    again.

    Args:
        connection: without an open transaction.
        table: the table it changes.
        statement: the change; can be run twice.

    Raises:
        LockedByReadersError: after `ALTER_TRIES` tries; end the sessions it names, or try later.
    """
    for _ in range(ALTER_TRIES):
        try:
            with writing(connection):
                connection.execute("set local lock_timeout = '100ms'")
                connection.execute(statement)
        except LockNotAvailable:
            time.sleep(ALTER_PAUSE)
        else:
            return
    name = table.as_string(connection)
    with connection.transaction():
        holders = connection.execute(
            "select pid, application_name, xact_start from pg_locks join pg_stat_activity using (pid)"
            " where relation = %s::regclass and granted",
            [name],
        ).fetchall()
    raise LockedByReadersError(
        f"{name} has been read without a pause, and needs one for: {statement.as_string(connection)}. "
        f"Sessions with a lock on it (pid, application, transaction since): {holders}. End them, or try again later."
    )


def _temporary_name() -> sql.Identifier:
    return sql.Identifier("pg_temp", f"temporary_{next(_NUMBERS)}")


def _names(columns: Sequence[str], table: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, name) if table else sql.Identifier(name) for name in columns)
