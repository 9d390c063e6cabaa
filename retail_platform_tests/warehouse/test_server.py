"""The embedded server: started by anyone, once, and again after every kind of end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from retail_platform.settings import Settings
from retail_platform.warehouse import server
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import (
    ServerError,
    dagster_database,
    ensure_server,
    psql_path,
    server_pid,
    stop_server,
    warehouse_database,
)

START = (
    "import sys; from pathlib import Path; from retail_platform.settings import Settings;"
    "from retail_platform.warehouse.server import ensure_server;"
    "print(ensure_server(Settings(home=Path(sys.argv[1]))).connect().info.dbname)"
)


@pytest.fixture
def new_settings() -> Iterator[Settings]:
    """A platform that never had a server."""
    with tempfile.TemporaryDirectory(prefix="retail-") as home:
        settings = Settings(home=Path(home), database_url=None, dagster_database_url=None)
        yield settings
        stop_server(settings)


@pytest.fixture(scope="module")
def own_settings() -> Iterator[Settings]:
    """A platform whose server these tests stop and break, with one row in table `kept`."""
    with tempfile.TemporaryDirectory(prefix="retail-") as home:
        settings = Settings(home=Path(home), database_url=None, dagster_database_url=None)
        with ensure_server(settings).connect() as connection:
            connection.execute("create table kept as select 1")
        yield settings
        stop_server(settings)


def scalar(database: Database, query: str) -> object:
    with database.connect() as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def test_both_databases_are_there(settings: Settings, database: Database) -> None:
    assert scalar(warehouse_database(settings), "select current_database()") == "retail"
    assert scalar(dagster_database(settings), "select current_database()") == "dagster"


def test_only_dagster_does_not_wait_for_the_disk(settings: Settings, database: Database) -> None:
    assert scalar(database, "show synchronous_commit") == "on"
    assert scalar(dagster_database(settings), "show synchronous_commit") == "off"


def test_answers_do_not_depend_on_the_machine(database: Database) -> None:
    assert scalar(database, "show timezone") == "UTC"
    assert scalar(database, "select array_agg(x order by x) from unnest(array['b', 'A', 'a', 'B']) x") == list("ABab")


def test_listens_on_its_socket_only(database: Database) -> None:
    assert scalar(database, "show listen_addresses") == ""
    assert Path(database.host).is_dir()


def test_running_server_is_found_quickly(settings: Settings, database: Database) -> None:
    began = time.perf_counter()
    for _ in range(20):
        assert ensure_server(settings) == database
    assert (time.perf_counter() - began) / 20 < 0.1


def test_settings_name_other_servers() -> None:
    settings = Settings(database_url="postgresql://ana@one/w", dagster_database_url="postgresql://ana@two/d")
    assert warehouse_database(settings).host == "one"
    assert dagster_database(settings).host == "two"


def test_many_processes_start_one_server_that_outlives_them(new_settings: Settings) -> None:
    command = [sys.executable, "-c", START, str(new_settings.home)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) for _ in range(3)]
    assert [starter.communicate()[0].split() for starter in starters] == [[b"retail"]] * 3
    pid = running_pid(new_settings)
    assert os.getsid(pid) == pid


def test_stopped_server_keeps_its_data(own_settings: Settings) -> None:
    ensure_server(own_settings)
    stop_server(own_settings)
    assert server_pid(own_settings) is None
    stop_server(own_settings)
    assert scalar(ensure_server(own_settings), "select count(*) from kept") == 1


def test_starts_again_after_kill_of_the_server(own_settings: Settings) -> None:
    ensure_server(own_settings)
    os.kill(running_pid(own_settings), signal.SIGKILL)
    assert scalar(ensure_server(own_settings), "select count(*) from kept") == 1


@pytest.mark.parametrize("content", [[], [str(os.getpid())]], ids=["empty", "number of another program"])
def test_starts_again_over_a_stale_pid_file(own_settings: Settings, content: list[str]) -> None:
    ensure_server(own_settings)
    pid_file = own_settings.postgres / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    stop_server(own_settings)
    pid_file.write_text("\n".join([*content, *lines[1:]]) if content else "")
    assert server_pid(own_settings) is None
    assert scalar(ensure_server(own_settings), "select 1") == 1


def test_long_path_gets_a_socket_elsewhere_after_a_killed_first_start(new_settings: Settings) -> None:
    settings = new_settings.model_copy(update={"home": new_settings.home / ("long" * 25)})
    half = settings.home / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    folder = Path(ensure_server(settings).host)
    try:
        assert folder != settings.postgres
        assert scalar(ensure_server(settings), "select 1") == 1
    finally:
        stop_server(settings)
    assert not folder.exists()


def test_failing_start_tells_the_servers_own_words(own_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_server(own_settings)
    monkeypatch.setitem(server.SERVER_OPTIONS, "shared_buffers", "lots")
    monkeypatch.setattr(server, "RETRY_SECONDS", 0)
    with pytest.raises(ServerError, match=r'invalid value for parameter "shared_buffers"'):
        ensure_server(own_settings)


def test_psql_reads_the_address(database: Database) -> None:
    command = [str(psql_path()), database.url(), "-Atc", "select current_database()"]
    assert subprocess.check_output(command, text=True) == "retail\n"


def test_stop_disconnects_clients(own_settings: Settings) -> None:
    connection = ensure_server(own_settings).connect()
    stop_server(own_settings)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")


def running_pid(settings: Settings) -> int:
    pid = server_pid(settings)
    assert pid is not None
    return pid
