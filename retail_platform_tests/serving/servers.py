"""The API over real HTTP, in a thread of the test's process, and databases that hold users only."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from psycopg import sql

from retail_platform.serving.access.tables import prepare_access
from retail_platform.warehouse.connection import Database


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port of this machine.

    Yields:
        Its address, `http://127.0.0.1:<port>`.
    """
    config = uvicorn.Config(
        app, port=0, loop="uvloop", http="httptools", ws="none", log_config=None, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def new_users_database(database: Database) -> Iterator[Database]:
    """A database beside another one, with the tables of users and nothing else."""
    fresh = replace(database, dbname=f"users_{uuid4().hex}")
    name = sql.Identifier(fresh.dbname)
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(name))
        with fresh.connect(autocommit=True) as owner:
            prepare_access(owner)
        yield fresh
        connection.execute(sql.SQL("drop database {} with (force)").format(name))
