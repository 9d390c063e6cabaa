"""New months of facts, filled beside the warehouse by several connections and attached in the load's transaction.

Lives here: the tables that become partitions, from their rows to their attachment. Stays out: which months are new, and
what a load does besides (`load`).

Only sorting and writing rows takes long, and no reader can see a table that is not attached. So that is done by
connections of their own, on all cores, each month one transaction; what makes the rows visible, attaching, stays with
everything else in the one transaction of the load. A load that fails or is killed leaves tables in schema `gold_load`
that nobody reads; the next one drops them.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import date

import polars as pl
import psycopg
from psycopg import sql

from retail_platform.contracts import FACT_SALE
from retail_platform.warehouse.copying import copy_rows
from retail_platform.warehouse.tables import (
    identifier,
    month_identifier,
    wanted_indexes,
    warehouse_key,
)

SCHEMA = "gold_load"

BOUNDS = sql.Identifier("month_bounds")

MEMORY = sql.Literal("128MB")
"""For building one index: a month of 400,000 facts needs 20 MB."""

CONNECTIONS = 2
"""How many months are filled at once. One takes most of a core for PostgreSQL and a third of one for writing text."""


@contextmanager
def filled_months(
    connection: psycopg.Connection, facts: pl.LazyFrame, months: Mapping[date, int]
) -> Iterator[Iterator[date]]:
    """Fill a table for each month, keyed and indexed like the facts; the rest is dropped at the end.

    Args:
        connection: without an open transaction.
        facts: the rows, of these months and perhaps others.
        months: first day of each month to fill -> its number of rows.

    Yields:
        The months, each when its table is ready for `attach_month`.
    """
    _drop(connection)
    if not months:
        yield iter(())
        return
    with connection.transaction():
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
    address, password = connection.info.dsn, connection.info.password or None
    largest_first = sorted(months, key=lambda month: -months[month])
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        tasks = {pool.submit(_fill, address, password, facts, month): month for month in largest_first}
        yield (_month_of(task, tasks) for task in as_completed(tasks))
    finally:
        pool.shutdown(cancel_futures=True)
        _drop(connection)


def attach_month(connection: psycopg.Connection, month: date) -> None:
    """Make a filled table a partition of the facts: PostgreSQL checks its foreign keys, and waits for no reader.

    Args:
        connection: in the transaction of the load, which holds the members that the rows refer to.
        month: one that `filled_months` said is ready.

    Raises:
        psycopg.errors.ForeignKeyViolation: a fact refers to a member that is not there.
    """
    layer = sql.Identifier(FACT_SALE.layer)
    connection.execute(sql.SQL("alter table {} set schema {}").format(month_identifier(month, SCHEMA), layer))
    _attach(connection, month)
    connection.execute(sql.SQL("alter table {} drop constraint {}").format(month_identifier(month), BOUNDS))


def add_month(connection: psycopg.Connection, month: date) -> None:
    """Attach an empty partition for a month.

    Args:
        connection: in a transaction of `writing`.
        month: its first day.
    """
    create = sql.SQL("create table {} (like {})")
    connection.execute(create.format(month_identifier(month), identifier(FACT_SALE)))
    _attach(connection, month)


def _attach(connection: psycopg.Connection, month: date) -> None:
    attach = sql.SQL("alter table {} attach partition {} for values from ({}) to ({})")
    bounds = sql.Literal(month), sql.Literal(_next_month(month))
    connection.execute(attach.format(identifier(FACT_SALE), month_identifier(month), *bounds))


def _month_of(task: Future[None], tasks: Mapping[Future[None], date]) -> date:
    """The month of a task that has ended, if it ended well."""
    task.result()
    return tasks[task]


def _fill(address: str, password: str | None, facts: pl.LazyFrame, month: date) -> None:
    """Make the table of a month, in a transaction: rows first, as an index is built faster than it is kept."""
    table, day = month_identifier(month, SCHEMA), sql.Identifier(str(FACT_SALE.day))
    create = sql.SQL("create table {} (like {}, constraint {} check ({day} >= {} and {day} < {}))")
    bounds = sql.Literal(month), sql.Literal(_next_month(month))
    with psycopg.connect(address, password=password) as connection:
        connection.execute(sql.SQL("set local maintenance_work_mem = {}").format(MEMORY))
        # The check spares the attachment a look at every row.
        connection.execute(create.format(table, identifier(FACT_SALE), BOUNDS, *bounds, day=day))
        rows = facts.filter(pl.col(str(FACT_SALE.month)) == month)
        copy_rows(connection, rows, table, FACT_SALE, is_frozen=True)
        key = sql.SQL(", ").join(map(sql.Identifier, warehouse_key(FACT_SALE)))
        connection.execute(sql.SQL("alter table {} add primary key ({})").format(table, key))
        for columns in wanted_indexes(connection, FACT_SALE):
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            connection.execute(sql.SQL("create index on {} ({})").format(table, names))


def _drop(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(SCHEMA)))


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
