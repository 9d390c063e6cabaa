"""Upkeep of the warehouse: dead rows are cleared and statistics made, beside readers and writers.

PostgreSQL does this by itself for ordinary tables, a minute after enough of one has changed. It never does for a
partitioned table as a whole, by whose statistics questions over several months are planned.

Partitions need no upkeep: a load makes a month's partition when the first fact of the month comes.
"""

import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from retail_platform.warehouse.connection import Database

SCHEMAS = ("gold", "marts_build", "marts", "snapshots", "platform", "access")


@dataclass(frozen=True)
class Tended:
    """What was done to a table of the warehouse.

    Attributes:
        name: schema and table; a partitioned table stands for its partitions too.
        rows: as PostgreSQL estimates them afterwards.
        dead_before: rows that were dead, as it estimates.
        dead_after: the same afterwards; not 0 while a reader may still see them.
        size_before: bytes with indexes.
        size_after: the same afterwards.
        seconds: how long it took.
    """

    name: str
    rows: int
    dead_before: int
    dead_after: int
    size_before: int
    size_after: int
    seconds: float


def tend_tables(database: Database) -> list[Tended]:
    """Vacuum and analyse every table that the user owns, by name."""
    with database.connect(autocommit=True) as connection:
        return [_tend(connection, schema, name) for schema, name in _tables(connection)]


def empty_partitions(database: Database) -> list[str]:
    """The months of the facts without a row when last tended; they cost nothing, and a late day may fill them."""
    with database.connect() as connection:
        names = connection.execute(
            "select inhrelid::regclass::text from pg_inherits join pg_class on oid = inhrelid"
            " where inhparent = to_regclass('gold.fact_sale') and reltuples = 0 order by 1"
        )
        return [name for (name,) in names]


def _tables(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Schema and name of each table, partitions aside: what is done to the whole is done to them."""
    return connection.execute(
        "select nspname, relname from pg_class join pg_namespace n on n.oid = relnamespace"
        " where nspname = any(%s) and relkind in ('r', 'p') and not relispartition and pg_has_role(relowner, 'usage')"
        " order by nspname, relname",
        [list(SCHEMAS)],
    ).fetchall()


def _tend(connection: psycopg.Connection, schema: str, name: str) -> Tended:
    table = sql.Identifier(schema, name)
    text = table.as_string(connection)
    _, dead_before, size_before = _figures(connection, text)
    started = time.perf_counter()
    connection.execute(sql.SQL("vacuum (analyze) {}").format(table))
    seconds = time.perf_counter() - started
    rows, dead_after, size_after = _figures(connection, text)
    return Tended(f"{schema}.{name}", rows, dead_before, dead_after, size_before, size_after, seconds)


def _figures(connection: psycopg.Connection, table: str) -> tuple[int, int, int]:
    """Rows, dead rows and bytes of a table with its partitions."""
    connection.execute("select pg_stat_clear_snapshot()")
    found = connection.execute(
        "select coalesce(sum(greatest(reltuples, 0)) filter (where relkind = 'r'), 0)::bigint,"
        " coalesce(sum(pg_stat_get_dead_tuples(oid)), 0)::bigint, sum(pg_total_relation_size(oid))::bigint"
        " from pg_class where oid = %(table)s::regclass"
        " or oid in (select relid from pg_partition_tree(%(table)s::regclass))",
        {"table": table},
    ).fetchone()
    assert found is not None
    return found
