"""The warehouse as the API reads it: a pool of connections that may only read, and the statements it runs.

Lives here: running questions, what can go wrong with the server, and the totals of pages that were counted. Stays out:
SQL (`query.sql`), and what HTTP says of an error (`problems`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import asyncpg

from retail_platform.serving.catalogue import Catalogue, read_catalogue
from retail_platform.serving.query.shapes import Encoding, Filter, Page, Question, Values
from retail_platform.serving.query.sql import Statement, compile_statement
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import READER

KEPT_TOTALS = 10_000
"""Totals of pages that are remembered; each is a key of some hundred bytes and a number."""

LOST_SECONDS = 5
"""How much longer than the server's own limit a statement is waited for before the connection counts as lost."""


class WarehouseError(Exception):
    """The warehouse does not answer a question that is right."""


class TooSlowError(WarehouseError):
    """The statement took longer than `api_statement_seconds`."""


class NothingLoadedError(WarehouseError):
    """The tables are not there, or not readable: nothing was loaded yet, or the code is newer than the warehouse."""


class UnreachableError(WarehouseError):
    """No connection to the server."""


class TooBusyError(WarehouseError):
    """No connection became free within `api_wait_seconds`."""


@dataclass(frozen=True)
class Answers:
    """What a statement gave.

    Attributes:
        version: of the warehouse; changes with each load and publication.
        json: of each question, UTF-8; `null` of a lookup that found nothing.
        rows: of each question, how many rows are in it.
    """

    version: str
    json: list[bytes]
    rows: list[int]


class Warehouse:
    """Connections that may only read: one pool for statements that read gold, one for those that read marts only.

    A plan for the values of each request is worth its millisecond on the large tables of gold, where a plan for any
    values is up to ten times as slow (measured: a page at offset 5,000, 15 ms against 180). Marts are small, and there
    the plan that is kept halves the time of a statement.

    Attributes:
        statements: how many were run.
    """

    def __init__(self, of_gold: asyncpg.Pool, of_marts: asyncpg.Pool, catalogue: Catalogue, settings: Settings) -> None:
        self._of_gold = of_gold
        self._of_marts = of_marts
        # In turn: a connection that is given back goes to whoever asks next, not to who has waited longest.
        self._turns = {pool: asyncio.Semaphore(settings.api_connections) for pool in (of_gold, of_marts)}
        self._catalogue = catalogue
        self._settings = settings
        self._totals = _Totals()
        self.statements = 0

    async def ask(self, questions: Sequence[Question], encoding: Encoding) -> Answers:
        """Answer questions by one statement, or by two when a total that was kept turns out to be of an older load.

        Args:
            questions: any number.
            encoding: how values look in JSON, and for whom.

        Raises:
            NotAllowedError: a question asks who a customer is where the encoding masks customers.
            TooSlowError: it took longer than `api_statement_seconds`.
            TooBusyError: no connection became free within `api_wait_seconds`.
            UnreachableError: the server does not answer.
            NothingLoadedError: the tables are missing.
        """
        statement = compile_statement(self._catalogue, tuple(question.query for question in questions), encoding)
        values = tuple(chain.from_iterable(question.values for question in questions))
        counted = [_counted(questions[number], slots) for number, slots in statement.totals]
        if statement.given is not None and (known := self._totals.get(counted)) is not None:
            version, totals = known
            row = await self._row(statement.given, (*values, *totals))
            if row[0] == version:
                return _answers(row, len(questions))
        row = await self._row(statement, values)
        self._totals.keep(row[0], counted, row[1 + 2 * len(questions) :])
        return _answers(row, len(questions))

    async def version(self) -> str:
        """The warehouse's version, as in `Answers`.

        Raises:
            WarehouseError: as of `ask`.
        """
        return (await self.ask((), Encoding(decimals_as_text=True, masks_customers=True))).version

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are in use, and how many are open beside them."""
        pools = (self._of_gold, self._of_marts)
        idle = sum(pool.get_idle_size() for pool in pools)
        return sum(pool.get_size() for pool in pools) - idle, idle

    async def close(self) -> None:
        """Close all connections when they are done; those still at work after a few seconds at once."""
        for pool in (self._of_gold, self._of_marts):
            try:
                await asyncio.wait_for(pool.close(), LOST_SECONDS)
            except TimeoutError:
                pool.terminate()

    async def _row(self, statement: Statement, values: Values) -> Sequence[Any]:
        """The statement's row; tried once more when the connection was lost, as after a restart of the server."""
        arguments = [values[position] for position in statement.order]
        pool = self._of_gold if statement.reads_gold else self._of_marts
        try:
            return await self._fetch(pool, statement.sql, arguments)
        except _LOST:
            await pool.expire_connections()
        try:
            return await self._fetch(pool, statement.sql, arguments)
        except _LOST as error:
            raise UnreachableError(f"PostgreSQL does not answer: {error}. Is the server running?") from error

    async def _fetch(self, pool: asyncpg.Pool, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        self.statements += 1
        try:
            async with self._turn(pool), pool.acquire() as connection:
                row: Sequence[Any] = await connection.fetchrow(sql, *arguments)
        except asyncpg.QueryCanceledError as error:
            raise TooSlowError(
                f"The statement took longer than {self._settings.api_statement_seconds:g} s. "
                "Ask for less: narrower filters, or an order by an indexed column such as a date."
            ) from error
        except _UNPREPARED as error:
            what_to_do = PUBLISH_FIRST if '"marts.' in str(error) else LOAD_FIRST
            raise NothingLoadedError(f"The warehouse cannot be read: {error}. {what_to_do}") from error
        return row

    @asynccontextmanager
    async def _turn(self, pool: asyncpg.Pool) -> AsyncIterator[None]:
        """Wait for a connection to be free."""
        turns = self._turns[pool]
        try:
            async with asyncio.timeout(self._settings.api_wait_seconds):
                await turns.acquire()
        except TimeoutError as error:
            raise TooBusyError(
                f"No connection to the warehouse became free within {self._settings.api_wait_seconds:g} s "
                f"(all {self._settings.api_connections} are in use). Ask again later."
            ) from error
        try:
            yield
        finally:
            turns.release()


async def open_warehouse(settings: Settings) -> Warehouse:
    """Make the pool; its connections are opened on use, so that the API starts also while the server is down.

    Args:
        settings: where the warehouse is (the embedded server is started), and the limits.

    Raises:
        ValueError: `database_url` cannot be read.
        ServerError: the embedded server does not start.
    """
    database = await asyncio.to_thread(warehouse_database, settings)
    of_gold = await _pool(database, settings, plan_cache_mode="force_custom_plan")
    of_marts = await _pool(database, settings, plan_cache_mode="auto")
    return Warehouse(of_gold, of_marts, read_catalogue(), settings)


async def _pool(database: Database, settings: Settings, *, plan_cache_mode: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password or None,
        database=database.dbname,
        min_size=0,
        max_size=settings.api_connections,
        timeout=settings.api_wait_seconds,
        statement_cache_size=200,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
        command_timeout=settings.api_statement_seconds + LOST_SECONDS,
        init=_prepare,
        reset=_keep_as_it_is,
        server_settings={
            "application_name": "retail serve",
            "role": READER,
            "default_transaction_read_only": "on",
            "statement_timeout": f"{settings.api_statement_seconds * 1000:.0f}",
            "plan_cache_mode": plan_cache_mode,
            "timezone": "UTC",
            "jit": "off",
        },
    )


_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    OSError,
)
_UNPREPARED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidParameterValueError,
)
LOAD_FIRST = "Load it first: `retail demo`, or `retail ingest` with files in landing."
PUBLISH_FIRST = (
    "The table is not published yet: run days, by `retail run` or the task run_days. A running `retail serve` knows "
    "the marts of its start; start it anew after a change of them."
)


async def _prepare(connection: asyncpg.Connection) -> None:
    """Have JSON as the bytes that it is, without decoding it to text and back."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


async def _keep_as_it_is(connection: asyncpg.Connection) -> None:
    """Nothing is left behind by reading one row, so a connection needs no cleaning, which would be a statement."""


def _answers(row: Sequence[Any], count: int) -> Answers:
    return Answers(row[0], [row[1 + 2 * n] or b"null" for n in range(count)], [row[2 + 2 * n] for n in range(count)])


_Counted = tuple[str, Filter, Values]
"""What a total counts: the rows of a table that pass a filter with its values."""


def _counted(question: Question, slots: int) -> _Counted:
    page = question.query
    assert isinstance(page, Page)
    return page.table, page.filter, tuple(tuple(v) if isinstance(v, list) else v for v in question.values[:slots])


class _Totals:
    """Totals of pages and the warehouse's version that they hold for; the least recently used goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Counted, tuple[str, int]] = OrderedDict()

    def get(self, counted: Sequence[_Counted]) -> tuple[str, list[int]] | None:
        """All of the totals and their one version, or None."""
        found = [self._kept.get(each) for each in counted]
        known = [each for each in found if each is not None]
        if len(known) < len(counted) or len({version for version, _ in known}) != 1:
            return None
        for each in counted:
            self._kept.move_to_end(each)
        return known[0][0], [total for _, total in known]

    def keep(self, version: str, counted: Sequence[_Counted], totals: Sequence[int]) -> None:
        for each, total in zip(counted, totals, strict=True):
            self._kept[each] = (version, total)
            self._kept.move_to_end(each)
        while len(self._kept) > KEPT_TOTALS:
            self._kept.popitem(last=False)
