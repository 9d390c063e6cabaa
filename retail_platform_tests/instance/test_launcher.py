"""A run whose process is gone is told from one that still works."""

import os
import subprocess
import time

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from retail_platform.instance.home import open_instance
from retail_platform.instance.launcher import _exists
from retail_platform.settings import Settings


@dg.job
def nothing() -> None:
    pass


def dead_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("pid", "tags", "status"),
    [
        (os.getpid(), {}, WorkerStatus.RUNNING),
        (dead_pid(), {}, WorkerStatus.NOT_FOUND),
        (dead_pid(), {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/s"}'}, WorkerStatus.NOT_FOUND),
        (dead_pid(), {GRPC_INFO_TAG: '{"host": "code-server", "port": 4000}'}, WorkerStatus.RUNNING),
        (None, {}, WorkerStatus.RUNNING),
    ],
    ids=["alive", "dead", "dead, of a local code server", "on another machine", "process not named yet"],
)
def test_health_of_a_run(settings: Settings, pid: int | None, tags: dict[str, str], status: WorkerStatus) -> None:
    with open_instance(settings) as instance:
        run = instance.create_run_for_job(nothing, tags=tags)
        if pid is not None:
            instance.report_engine_event("started", run, EngineEventData.in_process(pid))
        assert instance.run_launcher.check_run_worker_health(run).status == status


def test_later_process_of_the_same_number_is_another() -> None:
    assert _exists(os.getpid(), seen_at=time.time())
    assert not _exists(os.getpid(), seen_at=0.0)
