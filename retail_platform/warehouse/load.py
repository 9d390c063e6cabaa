"""The load of gold into the warehouse: by COPY, incrementally, in one transaction.

Lives here: making schema `gold` equal to given frames, and the record of what was loaded. Stays out: where the frames
come from, and the marts built on them (`publish`).
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from functools import partial

import polars as pl
import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable

from retail_platform.contracts import FACT_SALE, GOLD_TABLES, Table
from retail_platform.warehouse.changes import (
    EVERY_ROW,
    Change,
    Difference,
    alone,
    analyze_if_changed,
    create_stage,
    writing,
)
from retail_platform.warehouse.copying import copy_rows
from retail_platform.warehouse.months import add_month, attach_month, filled_months
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
    tables: Mapping[str, pl.LazyFrame | pl.DataFrame],
    days: Collection[date],
    consumed: Mapping[str, int],
    run_id: str,
    left_alone: AbstractSet[str] = frozenset(),
) -> LoadResult:
    """Make gold in the warehouse equal to the frames, in one transaction: a reader sees all of before or all of after.

    Rows that are equal are not touched. New members of the dimensions come first, vanished ones go last, so that every
    foreign key holds after every statement. A large new month is filled as a table of its own and attached.

    Args:
        connection: without an open transaction; the warehouse is prepared (`prepare_warehouse`).
        tables: name -> rows, of every gold table: all rows of one without days, those of `days` of one with.
        days: the days to replace; a day without rows in the frames is emptied. When facts are among the tables, the
            days wait for their marts from now on.
        consumed: source table -> the Delta version the frames were read from.
        run_id: the run that asks, for the record.
        left_alone: tables that stay as they are and may be left out.

    Returns:
        What was changed.

    Raises:
        ValueError: a table is missing, or a frame has rows of a day that is not in `days`.
        psycopg.errors.ForeignKeyViolation: a fact, perhaps of another day, refers to a member that is not in the
            frames; load the days of such facts in the same call.
    """
    frames = {name: frame.lazy() for name, frame in tables.items()}
    load = partial(_load, connection, frames, _days_of_facts(frames, days, left_alone), consumed, run_id)
    with alone(connection):
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
    tables: Mapping[str, pl.LazyFrame],
    days: Mapping[date, int],
    consumed: Mapping[str, int],
    run_id: str,
    bulk_rows: int | None,
) -> LoadResult:
    """Load; new months of at least `bulk_rows` rows in bulk (None: no month)."""
    facts, rows = tables.get(FACT_SALE.name, FACT_SALE.empty().lazy()), _month_rows(days)
    new_months = _missing_months(connection, rows)
    bulk = {month: rows[month] for month in new_months if bulk_rows is not None and rows[month] >= bulk_rows}
    with writing(connection):
        for month in set(new_months) - bulk.keys():
            add_month(connection, month)
    with filled_months(connection, facts, bulk) as filled, writing(connection):
        changes, differences = _compare(connection, tables, days)
        for difference in differences.values():
            difference.upsert()
        # Before the facts: PostgreSQL looks for what each month of them refers to, and has to know how much that is.
        for table in UNPARTITIONED:
            analyze_if_changed(connection, identifier(table), changes[table.name].rows)
        if FACT_SALE.name in tables:
            changes[FACT_SALE.name] = _change_facts(connection, facts, days, bulk)
        for month in filled:
            attach_month(connection, month)
        for difference in differences.values():
            difference.delete()
        analyze_if_changed(connection, identifier(FACT_SALE), changes[FACT_SALE.name].rows)
        load_id = _record(connection, days, consumed, run_id)
        if FACT_SALE.name in tables:
            _await_marts(connection, days, load_id)
        if bulk:
            _hold_readers_off(connection)
    return LoadResult(load_id, changes, tuple(new_months))


def _days_of_facts(
    tables: Mapping[str, pl.LazyFrame], days: Collection[date], left_alone: AbstractSet[str]
) -> dict[date, int]:
    """The days to replace -> their facts.

    Raises:
        ValueError: a table is missing, or has rows of other days.
    """
    if missing := {table.name for table in GOLD_TABLES} - tables.keys() - left_alone:
        raise ValueError(f"The load lacks the tables {sorted(missing)}; hand over the rows of each.")
    rows = dict.fromkeys(days, 0)
    for table in (table for table in GOLD_TABLES if table.day and table.name in tables):
        counts = tables[table.name].group_by(str(table.day)).len().collect(engine="streaming")
        found = dict(counts.iter_rows())
        if others := found.keys() - rows.keys():
            raise ValueError(
                f"{table} has rows of {len(others)} days that are not to be loaded, the first {min(others)}; "
                "hand over the rows of `days` only, or name these days too."
            )
        if table is FACT_SALE:
            rows |= found
    return rows


def _month_rows(days: Mapping[date, int]) -> dict[date, int]:
    """The months with a fact -> their facts."""
    rows: Counter[date] = Counter()
    for day, count in days.items():
        rows[day.replace(day=1)] += count
    return {month: count for month, count in rows.items() if count}


def _compare(
    connection: psycopg.Connection, tables: Mapping[str, pl.LazyFrame], days: Collection[date]
) -> tuple[dict[str, Change], dict[str, Difference]]:
    """Fill the tables that are empty; what changes in each, and the differences that are to be applied."""
    changes, differences = {table.name: Change() for table in GOLD_TABLES}, {}
    for table in (table for table in UNPARTITIONED if table.name in tables):
        name = identifier(table)
        if connection.execute(sql.SQL("select from {} limit 1").format(name)).fetchone() is None:
            changes[table.name] = Change(inserted=copy_rows(connection, tables[table.name], name, table))
        else:
            differences[table.name] = _find_difference(connection, table, name, tables[table.name], days)
            changes[table.name] = differences[table.name].change
    return changes, differences


def _find_difference(
    connection: psycopg.Connection,
    table: Table,
    target: sql.Identifier,
    frame: pl.LazyFrame,
    days: Collection[date],
) -> Difference:
    """The difference to a frame: of a whole table, of one with days that of these days."""
    stage = create_stage(connection, target)
    copy_rows(connection, frame, stage, table)
    columns, key = warehouse_columns(table), warehouse_key(table)
    return Difference(connection, target, stage, columns, key, _on_days(table, days))


def _missing_months(connection: psycopg.Connection, months: Iterable[date]) -> list[date]:
    with connection.transaction():
        return sorted(set(months) - existing_months(connection))


def _change_facts(
    connection: psycopg.Connection, facts: pl.LazyFrame, days: Mapping[date, int], bulk: Mapping[date, int]
) -> Change:
    """Change the months that are there, one after the other; what changes, with the months filled in bulk."""
    change = Change(inserted=sum(bulk.values()))
    for month in sorted({day.replace(day=1) for day in days} & existing_months(connection) - bulk.keys()):
        month_days = [day for day in days if day.replace(day=1) == month]
        rows = facts.filter(pl.col(str(FACT_SALE.month)) == month)
        difference = _find_difference(connection, FACT_SALE, month_identifier(month), rows, month_days)
        difference.upsert()
        difference.delete()
        change += difference.change
    return change


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


def _on_days(table: Table, days: Collection[date]) -> sql.SQL | sql.Composed:
    if table.day is None:
        return EVERY_ROW
    return sql.SQL("{} = any({}::date[])").format(sql.Identifier(table.day), sql.Literal(sorted(days)))


def _record(connection: psycopg.Connection, days: Mapping[date, int], consumed: Mapping[str, int], run_id: str) -> int:
    found = connection.execute(
        "insert into platform.load (run_id, first_day, last_day, day_count, row_count)"
        " values (%s, %s, %s, %s, %s) returning load_id",
        [run_id, min(days, default=None), max(days, default=None), len(days), sum(days.values())],
    ).fetchone()
    assert found is not None
    load_id = int(found[0])
    connection.cursor().executemany(
        "insert into platform.consumed values (%s, %s)"
        " on conflict (table_name) do update set version = excluded.version",
        list(consumed.items()),
    )
    return load_id


def _await_marts(connection: psycopg.Connection, days: Collection[date], load_id: int) -> None:
    connection.execute(
        "insert into platform.pending_day select unnest(%s::date[]), %s"
        " on conflict (sale_date) do update set load_id = excluded.load_id",
        [list(days), load_id],
    )


def loaded_span(connection: psycopg.Connection) -> tuple[date, date] | None:
    """The first loaded day and the day after the last one; None when no fact is loaded."""
    with connection.transaction():
        row = connection.execute("select min(sale_date), max(sale_date) + 1 from gold.fact_sale").fetchone()
    assert row is not None
    return None if row[0] is None else (row[0], row[1])
