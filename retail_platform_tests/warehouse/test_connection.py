"""The address of a database, in every shape its clients want."""

import asyncio

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from retail_platform.warehouse.connection import Database

OVER_TCP = Database(host="db.example", port=6543, user="ana", password="p@ss/w:rd", dbname="retail")
OVER_SOCKET = Database(host="/var/run/my home", port=5432, user="postgres", password="", dbname="retail")


@pytest.mark.parametrize("database", [OVER_TCP, OVER_SOCKET], ids=["tcp", "socket"])
def test_url_reads_back_as_the_same_address(database: Database) -> None:
    assert Database.from_url(database.url()) == database


@pytest.mark.parametrize("database", [OVER_TCP, OVER_SOCKET], ids=["tcp", "socket"])
def test_url_names_the_driver_for_sqlalchemy(database: Database) -> None:
    url = make_url(database.url("psycopg2"))
    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password or "", url.database) == (database.user, database.password, database.dbname)
    assert (url.host or url.query["host"]) == database.host


def test_host_and_port_have_defaults() -> None:
    assert Database.from_url("postgresql://ana@/retail") == Database("localhost", 5432, "ana", "", "retail")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://ana@host/retail", "Not a PostgreSQL address"),
        ("postgresql://host/retail", "user"),
        ("postgresql://ana@host", "dbname"),
        ("postgresql://ana@host/retail?sslmode=require", "PGSSLMODE"),
    ],
)
def test_bad_address_says_what_is_wrong(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Database.from_url(url)


def test_password_is_not_shown() -> None:
    assert OVER_TCP.password not in repr(OVER_TCP)


def test_environment_is_what_dbt_reads() -> None:
    assert OVER_TCP.environment() == {
        "RETAIL_PG_HOST": "db.example",
        "RETAIL_PG_PORT": "6543",
        "RETAIL_PG_USER": "ana",
        "RETAIL_PG_PASSWORD": "p@ss/w:rd",
        "RETAIL_PG_DBNAME": "retail",
    }


def test_asyncpg_takes_the_url(database: Database) -> None:
    async def current_database() -> object:
        connection = await asyncpg.connect(database.url())
        try:
            return await connection.fetchval("select current_database()")
        finally:
            await connection.close()

    assert asyncio.run(current_database()) == database.dbname
