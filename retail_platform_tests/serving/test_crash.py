"""The embedded server under a running API: one that crashes is started again, one that is stopped stays so."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from retail_platform.serving.app import WATCH_SECONDS, create_app
from retail_platform.settings import Settings
from retail_platform.warehouse.server import ensure_server, server_pid, stop_server
from retail_platform_tests.serving.servers import serving

PATIENCE_SECONDS = 60.0


@pytest.fixture
def own_settings() -> Iterator[Settings]:
    # Not under pytest's tmp_path: pytest closes that folder to other users, and as root the server runs as another one.
    home = Path(tempfile.mkdtemp(prefix="retail-"))
    settings = Settings(home=home, database_url=None, dagster_database_url=None)
    ensure_server(settings)
    yield settings
    stop_server(settings)
    shutil.rmtree(home)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_crashed_server_comes_back_and_a_stopped_one_stays_away(own_settings: Settings) -> None:
    with serving(create_app(own_settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
        wrong = {"X-API-Key": f"rk_{'0' * 16}_{'A' * 43}"}  # asks the database who that is
        assert client.get("/api/v1/auth/me", headers=wrong).status_code == 401
        pid = server_pid(own_settings)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server_pid(own_settings) not in (None, pid))
        wait_until(lambda: client.get("/api/v1/auth/me", headers=wrong).status_code == 401)
        stop_server(own_settings)
        time.sleep(2 * WATCH_SECONDS)
        assert server_pid(own_settings) is None
        assert client.get("/api/v1/auth/me", headers=wrong).status_code == 503
