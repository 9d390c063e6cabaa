"""The whole application: its routes, its start, and `retail serve` as a program."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest
from fastapi.routing import iter_route_contexts

from retail_platform.serving.access import accounts
from retail_platform.serving.access.principals import Role
from retail_platform.serving.access.tables import prepare_access
from retail_platform.serving.access.tokens import NoSecretError, token_secret
from retail_platform.serving.app import create_app
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.serving.access.conftest import PASSWORD, SECRET
from retail_platform_tests.serving.servers import serving

OPEN = {
    "/api/graphql/assets/{name}": "scripts of the page that GraphiQL is in",
    "/api/v1/auth/refresh": "the token is the name",
    "/api/v1/auth/revoke": "the same",
    "/api/v1/auth/token": "where one gets a name",
    "/api/v1/health": "says little to strangers",
    "/auth/token": "where one gets a name",
    "/docs": "a page",
    "/docs/files/{digest}/{name}": "its scripts",
    "/livez": "for machines that watch",
    "/openapi.json": "the API is no secret",
    "/readyz": "for machines that watch",
    "/redoc": "a page",
}
"""Routes that answer a stranger, and why."""


def settings_of(database: Database, home: Path) -> Settings:
    url = database.url()
    return Settings(
        home=home,
        database_url=url,
        dagster_database_url=url,
        token_secret=SECRET,
        rate_limits={"anonymous": "100000/minute"},
    )


def test_every_route_but_the_open_ones_refuses_strangers(fresh_database: Database, tmp_path: Path) -> None:
    app = create_app(settings_of(fresh_database, tmp_path))
    answered = set()
    with serving(app) as url, httpx.Client(base_url=url) as stranger:
        for route in iter_route_contexts(app.routes):
            for method in route.methods or ():
                path = str(route.path)
                answer = stranger.request(method, path.replace("{", "").replace("}", ""))
                if answer.status_code != 401:
                    answered.add(path)
    assert answered ^ OPEN.keys() == set()


def test_every_operation_of_openapi_says_how_to_come_in(fresh_database: Database, tmp_path: Path) -> None:
    schema = create_app(settings_of(fresh_database, tmp_path)).openapi()
    assert schema["components"]["securitySchemes"].keys() == {"token", "bearer", "key", "basic"}
    without = {path for path, methods in schema["paths"].items() for each in methods.values() if "security" not in each}
    assert without <= OPEN.keys()


def test_before_the_first_load_routes_say_what_to_do(fresh_database: Database, tmp_path: Path) -> None:
    with fresh_database.connect(autocommit=True) as owner:
        prepare_access(owner)
        accounts.add_user(owner, "ana", Role.ANALYST, PASSWORD)
    with serving(create_app(settings_of(fresh_database, tmp_path))) as url:
        answer = httpx.get(f"{url}/api/v1/sales", auth=("ana", PASSWORD))
        assert httpx.get(f"{url}/livez").status_code == 200
    assert answer.status_code == 503
    assert "retail" in answer.json()["detail"]


def test_the_api_s_own_login_reads_and_owns_nothing(fresh_database: Database, tmp_path: Path) -> None:
    """As deploy/databases.sql makes it: `retail_api` is a member of the two roles."""
    with fresh_database.connect(autocommit=True) as owner:
        prepare_access(owner)
        accounts.add_user(owner, "ana", Role.ANALYST, PASSWORD)
        owner.execute("do $$ begin create role test_api login; exception when duplicate_object then null; end $$")
        owner.execute("do $$ begin create role retail_reader; exception when duplicate_object then null; end $$")
        owner.execute("grant retail_access, retail_reader to test_api")
    login = replace(fresh_database, user="test_api")
    with login.connect(autocommit=True) as connection:
        for forbidden in ("create schema mine", "update access.users set role = 'admin'", "delete from access.keys"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
        connection.execute("set role retail_reader")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from access.users")
    with serving(create_app(settings_of(login, tmp_path))) as url:
        assert httpx.post(f"{url}/auth/token", json={"username": "ana", "password": PASSWORD}).status_code == 200
    with fresh_database.connect(autocommit=True) as owner:
        owner.execute("drop owned by test_api; drop role test_api")


def test_a_database_without_users_tells_its_owner_what_to_do(fresh_database: Database, tmp_path: Path) -> None:
    with serving(create_app(settings_of(fresh_database, tmp_path))) as url:
        with fresh_database.connect(autocommit=True) as owner:
            owner.execute("drop schema access cascade")
        answer = httpx.get(f"{url}/api/v1/auth/me", auth=("ana", PASSWORD))
    assert answer.status_code == 503
    assert "retail user add" in answer.json()["detail"]


def test_the_secret_is_the_settings_or_one_made_for_this_home(tmp_path: Path) -> None:
    embedded = Settings(home=tmp_path, database_url=None, token_secret=None)
    made = token_secret(embedded)
    assert len(made) == 64
    assert token_secret(embedded) == made
    assert (tmp_path / "secrets" / "token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    with pytest.raises(NoSecretError, match="RETAIL_TOKEN_SECRET"):
        token_secret(Settings(home=tmp_path, database_url="postgresql://a@b/c", token_secret=None))


@contextmanager
def retail_serve(database: Database, home: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """`retail serve` as a program: its address, and the file of its output."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RETAIL_")}
    environment |= {"RETAIL_HOME": str(home), "RETAIL_DATABASE_URL": database.url(), "RETAIL_TOKEN_SECRET": SECRET}
    command = [str(Path(sys.executable).with_name("retail")), "serve", "--port", port, *options]
    log, url = home / "serve.log", f"http://127.0.0.1:{port}"
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            for _ in range(600):
                try:
                    httpx.get(f"{url}/livez")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.1)
            yield url, log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.slow
def test_two_workers_share_users_and_what_is_revoked(fresh_database: Database, tmp_path: Path) -> None:
    with fresh_database.connect(autocommit=True) as owner:
        prepare_access(owner)
        accounts.add_user(owner, "ana", Role.ANALYST, PASSWORD)
    login = {"username": "ana", "password": PASSWORD}
    with retail_serve(fresh_database, tmp_path, "--workers", "2") as (url, log):
        given = httpx.post(f"{url}/auth/token", json=login).raise_for_status().json()

        def statuses() -> set[int]:
            """Of connections of their own, which the workers take in turn."""
            headers = {"Authorization": f"Bearer {given['access_token']}"}
            return {httpx.get(f"{url}/api/v1/auth/me", headers=headers).status_code for _ in range(12)}

        assert statuses() == {200}
        httpx.post(f"{url}/api/v1/auth/revoke", json={"refresh_token": given["refresh_token"]}).raise_for_status()
        time.sleep(5)
        assert statuses() == {401}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    asked = [line for line in lines if line["logger"] == "retail.audit" and line["path"] == "/api/v1/auth/me"]
    assert len(asked) == 24
    assert {line["principal"] for line in asked} == {"ana", None}
