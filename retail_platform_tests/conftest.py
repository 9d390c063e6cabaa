"""What tests of many rooms share: a platform in a home of its own, and its PostgreSQL server."""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest
from psycopg import sql

from retail_platform.settings import Settings
from retail_platform.sources.online_retail import split
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import ensure_server, stop_server
from retail_platform_tests.platforms import new_platform, retail


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape in a report what no UTF-8 can hold (the log of a test about such text): it goes between processes."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    """A platform of this test session, with nothing in it; its server, when one was started, is stopped at the end."""
    # Not under pytest's tmp_path: pytest closes that folder to other users, and as root the server runs as another one.
    home = Path(tempfile.mkdtemp(prefix="retail-"))
    settings = Settings(home=home, database_url=None, dagster_database_url=None)
    yield settings
    stop_server(settings)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def database(settings: Settings) -> Database:
    """The warehouse of the session's platform, shared by its tests."""
    return ensure_server(settings)


@pytest.fixture
def fresh_database(database: Database) -> Iterator[Database]:
    """An empty database of one test, on the session's server."""
    fresh = replace(database, dbname=f"test_{uuid4().hex}")
    name = sql.Identifier(fresh.dbname)
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(name))
        yield fresh
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture(scope="session")
def raw_file() -> Path:
    """The real data as they were published; for tests marked `real`."""
    return Path(os.environ["RETAIL_REAL_DATA"], "online_retail_II.parquet")


@pytest.fixture(scope="session")
def real_sheets(raw_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The real data as one file a sheet."""
    return split(raw_file, tmp_path_factory.mktemp("sheets"), by="sheet")


@pytest.fixture(scope="session")
def real_platform(
    database: Database, real_sheets: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A platform with all of the real data, landed and run by the command; tests leave its content as it is."""
    with new_platform(database, tmp_path_factory.mktemp("real"), "real") as settings:
        result = retail(settings, "ingest", *map(str, real_sheets))
        assert result.returncode == 0, result.stdout + result.stderr
        yield settings


@pytest.fixture(scope="session")
def raw_lines(raw_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The silver lines, made from the raw file by SQL of its own."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table numbered as select row_number() over () - 1 as n, * from read_parquet($file);
            create table lines as
            with typed as (
                select n >= 525461 as in_sheet_2, trim(Invoice) as invoice, upper(trim(StockCode)) as code,
                    regexp_replace(trim(Description), ' +', ' ', 'g') as description, Quantity::integer as quantity,
                    InvoiceDate::timestamp as invoiced, InvoiceDate::date as sold, Price::decimal(18, 4) as price,
                    "Customer ID" as customer, Country as country
                from numbered
            ), ranked as (
                select *, bool_or(in_sheet_2) over (partition by invoice, sold) and not in_sheet_2 as is_old from typed
            ), good as (
                select * from ranked where not is_old and price > 0 and quantity <> 0 and invoice not like 'A%'
                    and code not like 'TEST%'
            )
            select distinct in_sheet_2, invoice, code, description, quantity, invoiced, sold, price, customer, country
            from good
            """.replace("$file", f"'{raw_file}'")
        )
        yield connection
