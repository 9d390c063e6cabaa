"""Platforms of tests: a home and two databases of their own on the session's server, and `retail` run on them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from psycopg import sql

from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database


@contextmanager
def new_platform(database: Database, home: Path, name: str) -> Iterator[Settings]:
    """A platform with nothing in it; its databases are dropped at the end.

    Args:
        database: any on the server that it shall use.
        home: its folder, which exists.
        name: of the databases, with something added that makes them unique.
    """
    names = [f"{name}_{kind}_{uuid4().hex}" for kind in ("retail", "dagster")]
    with database.connect(autocommit=True) as connection:
        for each in names:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(each)))
        urls = [replace(database, dbname=each).url() for each in names]
        settings = Settings(home=home, database_url=urls[0], dagster_database_url=urls[1])
        settings.landing.mkdir()
        yield settings
        for each in names:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(each)))


def environment(settings: Settings) -> dict[str, str]:
    """The variables by which a process works on a platform of `new_platform`."""
    urls = {
        "RETAIL_DATABASE_URL": str(settings.database_url),
        "RETAIL_DAGSTER_DATABASE_URL": str(settings.dagster_database_url),
    }
    return {**os.environ, "RETAIL_HOME": str(settings.home), **urls}


def command(*arguments: str) -> list[str]:
    """The `retail` command as a user writes it."""
    return [str(Path(sys.executable).with_name("retail")), *arguments]


def retail(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the `retail` command on a platform."""
    return subprocess.run(command(*arguments), env=environment(settings), capture_output=True, text=True)
