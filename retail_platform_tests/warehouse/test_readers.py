"""Readers that ask all through loads and publications get no error and never see two marts disagree."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date

import asyncpg  # type: ignore[import-untyped]
import polars as pl
import psycopg
import pytest
from psycopg import IsolationLevel

from retail_platform.warehouse import load
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.load import load_gold, pending_days
from retail_platform.warehouse.publish import publish_marts
from retail_platform_tests.warehouse.gold_frames import GoldFrames, gold_frames

CYCLES = 6
GOLD = gold_frames(date(2010, 12, 20), days=40, lines_per_day=100)
DAILY = "select sum(net_revenue), sum(line_count) from marts.daily_sales"
MONTHLY = "select sum(net_revenue), sum(line_count) from marts.monthly_sales"
FACTS = "select sum(total_amount), count(*) from gold.fact_sale join gold.dim_product using (product_key)"
BOTH = f"select d.*, m.* from ({DAILY}) as d, ({MONTHLY}) as m"


class Readers:
    """Threads that read until told to stop; keeps what they counted and what went wrong."""

    def __init__(self) -> None:
        self.reads: dict[str, int] = {}
        self.faults: list[str] = []
        self.seen: set[object] = set()
        self.stop = threading.Event()

    @contextmanager
    def running(self, name: str, read: Callable[[], None]) -> Iterator[None]:
        """Call `read` again and again in a thread of its own."""
        thread = threading.Thread(target=self._loop, args=(name, read))
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()

    def compare(self, name: str, left: object, right: object) -> None:
        """Count a read; the two totals have to be equal."""
        self.reads[name] = self.reads.get(name, 0) + 1
        self.seen.add(left)
        if left != right:
            self.faults.append(f"{name}: {left} is not {right}")

    def _loop(self, name: str, read: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                read()
            except Exception as error:
                self.faults.append(f"{name}: {error!r}")
                return


def build_marts(connection: psycopg.Connection, cycle: int) -> None:
    """What dbt does: tables dropped and built anew, from the second half on with one more column."""
    more = ", max(quantity) as most" if cycle >= CYCLES // 2 else ""
    connection.execute("create schema if not exists marts_build")
    for mart, grain in (("daily_sales", "sale_date"), ("monthly_sales", "date_trunc('month', sale_date)::date")):
        with connection.transaction():
            connection.execute(f"drop table if exists marts_build.{mart}")
            connection.execute(
                f"create table marts_build.{mart} as select {grain} as period, sum(total_amount) as net_revenue,"
                f" count(*) as line_count{more} from gold.fact_sale group by 1"
            )
            connection.execute(f"alter table marts_build.{mart} add primary key (period)")


def load_and_publish(connection: psycopg.Connection, gold: GoldFrames, cycle: int) -> None:
    run_id = f"run-{cycle}"
    load_gold(
        connection,
        tables=gold.tables,
        days=gold.days,
        consumed={},
        run_id=run_id,
    )
    built = pending_days(connection)
    build_marts(connection, cycle)
    publish_marts(connection, fingerprints={}, built=built, run_id=run_id)


def state(cycle: int) -> GoldFrames:
    """Gold of a cycle: a longer stretch of days each time, so months are added, and other quantities in all of them."""
    days = sorted(GOLD.days)[: 10 + 5 * cycle]
    gold = GOLD.of(days)
    amount = (pl.col("total_amount") * (cycle + 1)).cast(pl.Decimal(18, 4))
    return replace(gold, facts=gold.facts.with_columns(total_amount=amount))


def read_by_psycopg(readers: Readers, connection: psycopg.Connection) -> None:
    """Both marts in one statement of a prepared plan, and the facts beside them."""
    row = connection.execute(BOTH).fetchone()
    assert row is not None
    readers.compare("psycopg", row[:2], row[2:])
    connection.execute(FACTS).fetchone()


def read_in_one_snapshot(readers: Readers, connection: psycopg.Connection) -> None:
    """Each mart twice, in REPEATABLE READ: all four answers are of one state, and so are the facts."""
    facts = connection.execute(FACTS).fetchone()
    first = [connection.execute(query).fetchone() for query in (DAILY, MONTHLY)]
    second = [connection.execute(query).fetchone() for query in (MONTHLY, DAILY)]
    readers.compare("repeatable read", *first)
    readers.compare("repeatable read", *second)
    readers.compare("repeatable read", first[0], second[0])
    readers.compare("repeatable read", facts, connection.execute(FACTS).fetchone())
    connection.rollback()


def read_by_asyncpg(readers: Readers, url: str, connected: threading.Event) -> None:
    """One connection and its cached statements until the end."""

    async def read() -> None:
        connection = await asyncpg.connect(url)
        connected.set()
        try:
            while not readers.stop.is_set():
                row = tuple(await connection.fetchrow(BOTH))
                readers.compare("asyncpg", row[:2], row[2:])
        finally:
            await connection.close()

    asyncio.run(read())


@pytest.mark.parametrize("bulk_rows", [1, 1_000_000])
def test_readers_see_one_state_or_the_next_and_never_an_error(
    warehouse: psycopg.Connection, fresh_database: Database, monkeypatch: pytest.MonkeyPatch, bulk_rows: int
) -> None:
    monkeypatch.setattr(load, "BULK_ROWS", bulk_rows)
    load_and_publish(warehouse, state(0), 0)
    readers, connected = Readers(), threading.Event()
    with ExitStack() as stack:
        prepared = stack.enter_context(fresh_database.connect(autocommit=True, prepare_threshold=0))
        snapshot = stack.enter_context(fresh_database.connect(prepare_threshold=0))
        snapshot.isolation_level = IsolationLevel.REPEATABLE_READ
        stack.enter_context(readers.running("psycopg", lambda: read_by_psycopg(readers, prepared)))
        stack.enter_context(readers.running("repeatable read", lambda: read_in_one_snapshot(readers, snapshot)))
        url = fresh_database.url()
        stack.enter_context(readers.running("asyncpg", lambda: read_by_asyncpg(readers, url, connected)))
        assert connected.wait(10)
        for cycle in range(1, CYCLES):
            load_and_publish(warehouse, state(cycle), cycle)
    assert readers.faults == []
    assert readers.reads.keys() == {"psycopg", "repeatable read", "asyncpg"}
    assert len(readers.seen) > 2
    assert warehouse.execute("select count(most) from marts.daily_sales").fetchone() == (10 + 5 * (CYCLES - 1),)
