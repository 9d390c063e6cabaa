"""What tests of many rooms share: a platform in a home of its own, and its PostgreSQL server."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg import sql

from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import ensure_server, stop_server


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
