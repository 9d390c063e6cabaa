"""The measured process of `core`: lands files and runs their days in the stored instance, and writes what it took.

`python -m retail_platform_tests.benchmarks.measured PLAN OUT`, with RETAIL_HOME set. PLAN is JSON, a list of
{"name": …, "files": [path, …]}: each is landed, registered and run by itself, in this process.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

STARTED = time.time() - psutil.Process().create_time()
"""Seconds from the start of the process to here: Python itself."""
MEBIBYTE = 2**20


class MemoryWatch(threading.Thread):
    """Peaks, in bytes: of the processes started by this one (dbt), and of the PostgreSQL server's processes."""

    def __init__(self, server_pid: int) -> None:
        super().__init__(daemon=True)
        self.children, self.server, self._server_pid, self._done = 0, 0, server_pid, threading.Event()

    def run(self) -> None:
        own, server = psutil.Process(), psutil.Process(self._server_pid)
        while not self._done.wait(0.25):
            self.children = max(self.children, sum(map(_proportional, own.children(recursive=True))))
            self.server = max(self.server, sum(map(_proportional, [server, *server.children(recursive=True)])))

    def stop(self) -> dict[str, float]:
        """The peaks in MiB, with that of this process itself."""
        self._done.set()
        self.join()
        own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return {
            "process": int(own.split()[1]) / 1024,
            "its children": self.children / MEBIBYTE,
            "PostgreSQL": self.server / MEBIBYTE,
        }


def _proportional(process: psutil.Process) -> int:
    """Memory of a process, its share of shared pages only; none when it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_full_info().pss)
    return 0


@contextmanager
def timed_events() -> Iterator[list[float]]:
    """Collect the seconds of every write to Dagster's event log, steps' own events included."""
    from retail_platform.instance.storage import BulkEventLogStorage

    seconds: list[float] = []
    lock = threading.local()
    original = {name: getattr(BulkEventLogStorage, name) for name in ("store_event", "store_event_batch")}

    def timed(write: Callable[..., Any]) -> Callable[..., Any]:
        def store(*arguments: Any) -> Any:
            if getattr(lock, "inside", False):  # a batch that writes its events one by one
                return write(*arguments)
            lock.inside, began = True, time.perf_counter()
            try:
                return write(*arguments)
            finally:
                lock.inside = False
                seconds.append(time.perf_counter() - began)

        return store

    for name, write in original.items():
        setattr(BulkEventLogStorage, name, timed(write))
    try:
        yield seconds
    finally:
        for name, write in original.items():
            setattr(BulkEventLogStorage, name, write)


def measure(name: str, files: list[str]) -> dict[str, Any]:
    """Land, register and run files; seconds of each part."""
    from retail_platform.cli import land
    from retail_platform.lakehouse.days import Days
    from retail_platform.lakehouse.landing import register_arrivals
    from retail_platform.runs import run_job
    from retail_platform.settings import get_settings
    from retail_platform.status import days_waiting

    settings, began = get_settings(), time.perf_counter()
    land(settings, [Path(file) for file in files])
    register_arrivals(settings)
    waiting = days_waiting(settings)
    registered = time.perf_counter() - began
    with timed_events() as events:
        outcome = run_job(settings, Days(waiting[0].start, waiting[-1].end), lambda *_: None)
    if not outcome.success:
        raise SystemExit(f"{name}: run {outcome.run_id} failed: {outcome.failures}")
    steps = sum(outcome.steps.values())
    return {
        "name": name,
        "land and register": registered,
        "steps": outcome.steps,
        "all steps": steps,
        "Dagster around the steps": outcome.seconds - steps,
        "writing events, in both": sum(events),
        "in all": registered + outcome.seconds,
    }


def main(plan: Path, out: Path) -> None:
    """Load the definitions, then run the plan."""
    began = time.perf_counter()
    from retail_platform.instance.home import prepare_dagster_home
    from retail_platform.settings import get_settings
    from retail_platform.warehouse.server import server_pid, warehouse_database

    settings = get_settings()
    os.environ.update(prepare_dagster_home(settings))
    imported = time.perf_counter()
    warehouse_database(settings)
    served = time.perf_counter()
    from retail_platform.definitions import defs

    defs.resolve_job_def("run_days")
    loaded = time.perf_counter()
    watch = MemoryWatch(server_pid(settings) or 0)
    watch.start()
    phases = [measure(**phase) for phase in json.loads(plan.read_text())]
    start = {
        "Python and imports": STARTED + imported - began,
        "PostgreSQL": served - imported,
        "definitions": loaded - served,
    }
    out.write_text(json.dumps({"start": start, "phases": phases, "peak MiB": watch.stop()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
