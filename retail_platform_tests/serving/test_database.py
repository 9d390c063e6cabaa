"""The pool: what it counts, keeps and does when the server is slow, busy, restarted, empty or away."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from retail_platform.serving.database import (
    NothingLoadedError,
    TooBusyError,
    TooSlowError,
    UnreachableError,
    open_warehouse,
)
from retail_platform.serving.query.shapes import Condition, Operator, Page, Question, Rows, Total, Value
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import ensure_server, stop_server
from retail_platform_tests.serving.asked import EXACT, Asked, fill, loaded

POSITIVE = Condition(("quantity",), Operator.GT)
PAGE = Page("fact_sale", (Rows("rows", (Value("quantity", ("quantity",)),)), Total("total")), POSITIVE, has_offset=True)
COUNTRIES = Page("dim_country", (Rows("rows", (Value("name", ("country_name",)),)),))


@pytest.fixture
def asked(database: Database) -> Iterator[Asked]:
    with loaded(database, api_statement_seconds=1, api_wait_seconds=1, api_connections=2) as asked:
        yield asked


def total(asked: Asked, quantity: int, offset: int) -> int:
    return int(json.loads(asked.answers(Question(PAGE, (quantity, 1, offset))).json[0])["total"])


def test_a_total_is_counted_once_per_version_of_the_warehouse(asked: Asked) -> None:
    assert [total(asked, 0, 0), total(asked, 0, 5), total(asked, 6, 0)] == [240, 240, 120]
    assert asked.warehouse.statements == 3
    with asked.database.connect(autocommit=True) as connection:
        connection.execute("delete from gold.fact_sale where quantity = 1")
        # Without a load it is the same version, so the total is still the one that was counted.
        assert total(asked, 0, 0) == 240
        connection.execute("insert into platform.load (run_id, day_count, row_count) values ('run-2', 0, 0)")
    assert total(asked, 0, 0) == 220
    assert asked.warehouse.statements == 6
    assert total(asked, 0, 0) == 220
    assert asked.warehouse.statements == 7


def test_the_version_moves_with_loads_and_publications(asked: Asked) -> None:
    assert asked.run(asked.warehouse.version()) == "1.0"
    with asked.database.connect(autocommit=True) as connection:
        connection.execute("insert into platform.publication (version, run_id, marts) values (7, 'run', '{}')")
    assert asked.run(asked.warehouse.version()) == "1.7"
    assert asked.answers(Question(COUNTRIES, (1,))).version == "1.7"


def test_the_connections_are_a_readers(asked: Asked) -> None:
    async def write() -> None:
        async with asked.warehouse._of_gold.acquire() as connection:
            assert await connection.fetchval("select current_user") == "retail_reader"
            await connection.execute("set default_transaction_read_only = off")
            await connection.execute("delete from gold.fact_sale")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asked.run(write())


def test_a_slow_statement_is_stopped_by_the_server(asked: Asked) -> None:
    with asked.database.connect() as writer:
        writer.execute("lock table gold.dim_country in access exclusive mode")
        with pytest.raises(TooSlowError, match="longer than 1 s"):
            asked.answers(Question(COUNTRIES, (1,)))
    assert asked.answers(Question(COUNTRIES, (1,))).rows == [1]


def test_more_questions_than_connections_wait_their_turn(asked: Asked) -> None:
    async def many() -> list[int]:
        answers = await asyncio.gather(*[asked.warehouse.ask([Question(COUNTRIES, (3,))], EXACT) for _ in range(200)])
        return [answer.rows[0] for answer in answers]

    assert asked.run(many()) == [3] * 200


def test_whoever_waits_too_long_for_a_connection_is_told_so(asked: Asked) -> None:
    async def busy() -> None:
        warehouse, pool = asked.warehouse, asked.warehouse._of_gold
        async with warehouse._turn(pool), warehouse._turn(pool):
            await asked.warehouse.ask([Question(COUNTRIES, (1,))], EXACT)

    with pytest.raises(TooBusyError, match="became free within 1 s"):
        asked.run(busy())


def test_lost_connections_are_replaced(asked: Asked) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*[asked.warehouse.ask([Question(COUNTRIES, (3,))], EXACT) for _ in range(20)])

    asked.run(all_at_once())
    with asked.database.connect(autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
    assert len(ended) == 2
    assert asked.answers(Question(COUNTRIES, (1,))).rows == [1]


def test_a_warehouse_without_tables_says_what_to_do(fresh_database: Database) -> None:
    async def ask() -> None:
        warehouse = await open_warehouse(Settings(database_url=fresh_database.url()))
        try:
            await warehouse.ask([Question(COUNTRIES, (1,))], EXACT)
        finally:
            await warehouse.close()

    with pytest.raises(NothingLoadedError, match="Load it first"):
        asyncio.run(ask())


def test_a_mart_that_is_not_published_yet_says_what_to_do(asked: Asked) -> None:
    mart = Page("country_sales", (Rows("rows", (Value("c", ("country_name",)),)),), bare=True)
    with pytest.raises(NothingLoadedError, match=r"marts.country_sales.*not published yet: run days"):
        asked.answers(Question(mart, (1,)))


def test_a_server_that_is_away_and_comes_back() -> None:
    # Not under pytest's tmp_path, as the session's own platform is not.
    home = Path(tempfile.mkdtemp(prefix="retail-"))
    settings = Settings(home=home, database_url=None)
    database = ensure_server(settings)
    fill(database)
    asked = Asked(database, settings)
    try:
        assert asked.answers(Question(COUNTRIES, (1,))).rows == [1]
        stop_server(settings)
        with pytest.raises(UnreachableError, match="does not answer"):
            asked.answers(Question(COUNTRIES, (1,)))
        ensure_server(settings)
        assert asked.answers(Question(COUNTRIES, (1,))).rows == [1]
    finally:
        asked.close()
        stop_server(settings)
        shutil.rmtree(home)
