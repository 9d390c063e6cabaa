"""An API whose users the tests make, on a database without any sales."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from retail_platform.serving.access import accounts
from retail_platform.serving.access.principals import Role
from retail_platform.serving.app import create_app
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.serving.servers import new_users_database, serving

PASSWORD = "correct horse battery"
SECRET = "a secret of these tests, long enough"
ME = "/api/v1/auth/me"


@dataclass(frozen=True)
class Api:
    """A running API, and the connection by which its owner changes users."""

    url: str
    owner: psycopg.Connection

    def me(self, **how: Any) -> httpx.Response:
        return httpx.get(self.url + ME, **how)

    def bearer(self, token: str) -> httpx.Response:
        return self.me(headers={"Authorization": f"Bearer {token}"})

    def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return httpx.post(f"{self.url}/api/v1/auth/token", json={"username": name, "password": password}, timeout=60)

    def add_user(self, role: Role = Role.ANALYST) -> str:
        name = f"user-{uuid4().hex[:8]}"
        accounts.add_user(self.owner, name, role, PASSWORD)
        return name


@pytest.fixture(scope="session")
def users_database(database: Database) -> Iterator[Database]:
    """A database with the tables of users only."""
    with new_users_database(database) as fresh:
        yield fresh


StartApi = Callable[..., AbstractContextManager[Api]]


@pytest.fixture(scope="session")
def start_api(users_database: Database, tmp_path_factory: pytest.TempPathFactory) -> StartApi:
    """Starts APIs with settings of their own on the one database of users."""

    @contextmanager
    def start(**settings: Any) -> Iterator[Api]:
        home: Path = tmp_path_factory.mktemp("home")
        url = users_database.url()
        all_settings: dict[str, Any] = {"token_secret": SECRET, "database_url": url, "dagster_database_url": url}
        app = create_app(Settings(home=home, **(all_settings | settings)))
        with users_database.connect(autocommit=True) as owner, serving(app) as address:
            yield Api(address, owner)

    return start


@pytest.fixture(scope="module")
def api(start_api: StartApi) -> Iterator[Api]:
    """An API with limits that these tests do not reach."""
    many = {name: "100000/minute" for name in ("anonymous", "viewer", "analyst", "operator", "admin")}
    with start_api(rate_limits=many) as running:
        yield running
