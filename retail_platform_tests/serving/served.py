"""The API as a client meets it: a real server on a free port, with a key for each role."""

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from retail_platform.serving.access.accounts import add_key
from retail_platform.serving.access.principals import Role
from retail_platform.serving.access.tables import prepare_access
from retail_platform.serving.app import create_app
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import warehouse_database

NO_LIMITS = {str(role): "1000000/second" for role in Role}


@dataclass(frozen=True)
class Served:
    """A running API.

    Attributes:
        app: the application, in this process.
        url: where it listens.
        clients: one for each role.
    """

    app: FastAPI
    url: str
    database: Database
    clients: Mapping[Role, httpx.Client]

    def get(self, path: str, role: Role = Role.ANALYST, **headers: str) -> httpx.Response:
        """Ask as a role."""
        return self.clients[role].get(path, headers=headers)

    def json(self, path: str, role: Role = Role.ANALYST) -> Any:
        """The answer to a request that has to succeed."""
        response = self.get(path, role)
        assert response.status_code == 200, response.text
        return response.json()

    @property
    def statements(self) -> int:
        """How many statements the warehouse has been asked."""
        return int(self.app.state.warehouse.statements)


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """Serve a platform on a free port of this machine.

    Args:
        settings: of the platform; its rate limits are taken away.
    """
    own = {"rate_limits": NO_LIMITS, "token_secret": SecretStr(secrets.token_hex(32))}
    settings = settings.model_copy(update=own)
    app, database = create_app(settings), warehouse_database(settings)
    with database.connect() as connection:
        prepare_access(connection)
    with _running(app) as url, database.connect(autocommit=True) as connection:
        keys = {role: add_key(connection, f"{role}-{time.monotonic_ns()}", role, None) for role in Role}
        clients = {
            role: httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) for role, key in keys.items()
        }
        yield Served(app, url, database, clients)
        for client in clients.values():
            client.close()


@contextmanager
def _running(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
