"""The load of gold into the warehouse: by COPY, incrementally, in one transaction.

Lives here: making schema `gold` equal to given frames, and the record of what was loaded. Stays out: where the frames
come from, and the marts built on them (`publish`).
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial

import polars as pl
import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable

from retail_platform.contracts import FACT_SALE, GOLD_TABLES, Table
from retail_platform.warehouse.changes import EVERY_ROW, Change, Difference, analyze_if_changed, create_stage, writing
from retail_platform.warehouse.tables import (
    existing_months,
    identifier,
    month_identifier,
    warehouse_columns,
    warehouse_key,
)

UNPARTITIONED = tuple(table for table in GOLD_TABLES if table is not FACT_SALE)
"""The tables that are changed as one: those that facts refer to, and those beside them."""

BULK_ROWS = 20_000
"""Rows from which a new month is filled in bulk: 5 instead of 32 microseconds a row, but needs a moment with no reader.
Smaller ones, such as the first day of a month, go into a partition that was attached empty before."""

HOLD_OFF_TRIES = 20
HOLD_OFF_PAUSE = 0.1
"""Seconds between the tries to find that moment; without one, the load is done anew, row by row."""

COPY_ROWS = 10_000
"""Rows per message of a COPY: small enough that writing text here and reading it there overlap."""

COPY_TIMES = "%Y-%m-%d %H:%M:%S%.f"
"""Times as text, UTC where they have a zone: read in two thirds of the time of the ISO form with zone and zeros."""


@dataclass(frozen=True)
class LoadResult:
    """What a load did.

    Attributes:
        load_id: its number in `platform.load`.
        changes: table -> rows inserted, updated and deleted.
        new_months: first days of the months that got their partition.
    """

    load_id: int
    changes: dict[str, Change]
    new_months: tuple[date, ...]


def load_gold(
    connection: psycopg.Connection,
    *,
    tables: Mapping[str, pl.DataFrame],
    days: Collection[date],
    consumed: Mapping[str, int],
    run_id: str,
) -> LoadResult:
    """Make gold in the warehouse equal to the frames, in one transaction: a reader sees all of before or all of after.

    Rows that are equal are not touched. New members of the dimensions come first, vanished ones go last, so that every
    foreign key holds after every statement. A large new month is filled as a table of its own and attached.

    Args:
        connection: without an open transaction; the warehouse is prepared (`prepare_warehouse`).
        tables: name -> rows, of every gold table: all rows of one without days, those of `days` of one with.
        days: the days to replace; a day without rows in the frames is emptied.
        consumed: source table -> the Delta version the frames were read from.
        run_id: the run that asks, for the record.

    Returns:
        What was changed.

    Raises:
        ValueError: a table is missing, or a frame has rows of a day that is not in `days`.
        psycopg.errors.ForeignKeyViolation: a fact, perhaps of another day, refers to a member that is not in the
            frames; load the days of such facts in the same call.
    """
    _check_frames(tables, days)
    by_month = tables[FACT_SALE.name].partition_by(str(FACT_SALE.month), as_dict=True)
    months = {month: frame for (month,), frame in by_month.items()}
    load = partial(_load, connection, tables, months, days, consumed, run_id)
    try:
        return load(bulk_rows=BULK_ROWS)
    except LockNotAvailable:
        return load(bulk_rows=None)


def consumed_versions(connection: psycopg.Connection) -> dict[str, int]:
    """Source table -> the Delta version that is loaded."""
    with connection.transaction():
        return dict(connection.execute("select table_name, version from platform.consumed").fetchall())


def pending_days(connection: psycopg.Connection) -> dict[date, int]:
    """The days whose loaded rows are not in the published marts yet -> the last load of each, in order of the days.

    Ask before building the marts, build at least these days, and hand the answer to `publish_marts`.
    """
    with connection.transaction():
        found = connection.execute("select sale_date, load_id from platform.pending_day order by sale_date")
        return dict(found.fetchall())


def _load(
    connection: psycopg.Connection,
    tables: Mapping[str, pl.DataFrame],
    months: Mapping[date, pl.DataFrame],
    days: Collection[date],
    consumed: Mapping[str, int],
    run_id: str,
    bulk_rows: int | None,
) -> LoadResult:
    """Load; new months of at least `bulk_rows` rows in bulk (None: no month)."""
    new_months = _missing_months(connection, months)
    bulk = [month for month in new_months if bulk_rows is not None and months[month].height >= bulk_rows]
    with writing(connection):
        for month in set(new_months) - set(bulk):
            _add_month(connection, month, FACT_SALE.empty())
    with writing(connection):
        connection.execute("set local timezone = 'UTC'")
        differences = {
            table.name: _find_difference(connection, table, identifier(table), tables[table.name], days)
            for table in UNPARTITIONED
        }
        for difference in differences.values():
            difference.upsert()
        fact_change = _load_facts(connection, months, days, bulk)
        for difference in differences.values():
            difference.delete()
        changes = {name: difference.change for name, difference in differences.items()} | {FACT_SALE.name: fact_change}
        for table in GOLD_TABLES:
            analyze_if_changed(connection, identifier(table), changes[table.name].rows)
        load_id = _record(connection, days, sum(frame.height for frame in months.values()), consumed, run_id)
        if bulk:
            _hold_readers_off(connection)
    return LoadResult(load_id, changes, tuple(new_months))


def _check_frames(tables: Mapping[str, pl.DataFrame], days: Collection[date]) -> None:
    if missing := {table.name for table in GOLD_TABLES} - tables.keys():
        raise ValueError(f"The load lacks the tables {sorted(missing)}; hand over the rows of each.")
    for table in (table for table in GOLD_TABLES if table.day):
        others = set(tables[table.name][str(table.day)].unique().to_list()) - set(days)
        if others:
            raise ValueError(
                f"{table} has rows of {len(others)} days that are not to be loaded, the first {min(others)}; "
                "hand over the rows of `days` only, or name these days too."
            )


def _find_difference(
    connection: psycopg.Connection,
    table: Table,
    target: sql.Identifier,
    frame: pl.DataFrame,
    days: Collection[date],
) -> Difference:
    """The difference to a frame: of a whole table, of one with days that of these days."""
    stage = create_stage(connection, target)
    _copy(connection, table, frame, stage)
    columns, key = warehouse_columns(table), warehouse_key(table)
    return Difference(connection, target, stage, columns, key, _on_days(table, days))


def _missing_months(connection: psycopg.Connection, months: Iterable[date]) -> list[date]:
    with connection.transaction():
        return sorted(set(months) - existing_months(connection))


def _load_facts(
    connection: psycopg.Connection, months: Mapping[date, pl.DataFrame], days: Collection[date], bulk: Collection[date]
) -> Change:
    change = Change()
    for month in bulk:
        _add_month(connection, month, months[month])
        change += Change(inserted=months[month].height)
    for month in sorted({day.replace(day=1) for day in days} & existing_months(connection) - set(bulk)):
        month_days = [day for day in days if day.replace(day=1) == month]
        change += _change_month(connection, month, months.get(month, FACT_SALE.empty()), month_days)
    return change


def _add_month(connection: psycopg.Connection, month: date, frame: pl.DataFrame) -> None:
    """Fill a table and attach it: that makes keys, foreign keys and indexes in bulk, and waits for no reader."""
    partition = month_identifier(month)
    connection.execute(sql.SQL("create table {} (like {})").format(partition, identifier(FACT_SALE)))
    _copy(connection, FACT_SALE, frame, partition)
    connection.execute(
        sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
            identifier(FACT_SALE), partition, sql.Literal(month), sql.Literal(_next_month(month))
        )
    )


def _hold_readers_off(connection: psycopg.Connection) -> None:
    """Let no reader into the facts from now to the commit, a few milliseconds.

    PostgreSQL makes a commit visible a moment before it tells the other sessions of an attached partition. A reader of
    that moment would see what the load did to the other months, but not the new one (seen in 4 of 24 runs of the
    readers' test on a busy machine).

    Raises:
        LockNotAvailable: somebody reads the facts all the time.
    """
    lock = sql.SQL("lock table only {} in access exclusive mode").format(identifier(FACT_SALE))
    for attempt in range(1, HOLD_OFF_TRIES + 1):
        try:
            with connection.transaction():
                connection.execute("set local lock_timeout = '100ms'")
                connection.execute(lock)
        except LockNotAvailable:
            if attempt == HOLD_OFF_TRIES:
                raise
            time.sleep(HOLD_OFF_PAUSE)
        else:
            return


def _change_month(connection: psycopg.Connection, month: date, frame: pl.DataFrame, days: Collection[date]) -> Change:
    partition = month_identifier(month)
    difference = _find_difference(connection, FACT_SALE, partition, frame, days)
    difference.upsert()
    difference.delete()
    return difference.change


def _copy(connection: psycopg.Connection, table: Table, frame: pl.DataFrame, target: sql.Identifier) -> None:
    columns = warehouse_columns(table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(target, names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for rows in frame.select(columns).iter_slices(COPY_ROWS):
            copy.write(rows.write_csv(include_header=False, datetime_format=COPY_TIMES))


def _on_days(table: Table, days: Collection[date]) -> sql.SQL | sql.Composed:
    if table.day is None:
        return EVERY_ROW
    return sql.SQL("{} = any({}::date[])").format(sql.Identifier(table.day), sql.Literal(sorted(days)))


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _record(
    connection: psycopg.Connection, days: Collection[date], rows: int, consumed: Mapping[str, int], run_id: str
) -> int:
    found = connection.execute(
        "insert into platform.load (run_id, first_day, last_day, day_count, row_count)"
        " values (%s, %s, %s, %s, %s) returning load_id",
        [run_id, min(days, default=None), max(days, default=None), len(days), rows],
    ).fetchone()
    assert found is not None
    load_id = int(found[0])
    connection.cursor().executemany(
        "insert into platform.consumed values (%s, %s)"
        " on conflict (table_name) do update set version = excluded.version",
        list(consumed.items()),
    )
    connection.execute(
        "insert into platform.pending_day select unnest(%s::date[]), %s"
        " on conflict (sale_date) do update set load_id = excluded.load_id",
        [list(days), load_id],
    )
    return load_id


def loaded_span(connection: psycopg.Connection) -> tuple[date, date] | None:
    """The first loaded day and the day after the last one; None when no fact is loaded."""
    with connection.transaction():
        row = connection.execute("select min(sale_date), max(sale_date) + 1 from gold.fact_sale").fetchone()
    assert row is not None
    return None if row[0] is None else (row[0], row[1])
