"""A command in a process of its own, watched from outside: seconds, processor seconds and memory, by span if asked.

What is sampled is the process with its children, and the PostgreSQL server of a home. Processor seconds tell more than
seconds where other things run on the machine. Nothing is measured inside the process, which it would slow down.
"""

import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]

EVERY = 0.2  # seconds between two samples
LOOK_AROUND = 5  # samples between two looks for processes and at shared memory: those cost a tenth of a processor
MEBIBYTE = 2**20


class DidNotEndWellError(Exception):
    """The command failed or took too long; the message holds the end of what it said."""


class Sample(NamedTuple):
    """What there was at a moment.

    Attributes:
        at: seconds since the epoch.
        cpu: processor seconds of the process and its children so far, those that have ended included.
        server_cpu: the same of PostgreSQL.
        own: resident bytes of the process.
        children: bytes of its children, their share of shared pages only.
        server: the same of PostgreSQL.
    """

    at: float
    cpu: float
    server_cpu: float
    own: int
    children: int
    server: int


@dataclass(frozen=True)
class Watched:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        cpu: processor seconds of the process and its children.
        samples: what was seen on the way.
        high_water: most resident bytes of the process itself, as the kernel counts (VmHWM).
    """

    seconds: float
    cpu: float
    samples: list[Sample]
    high_water: int

    def figures(self) -> dict[str, float]:
        """The whole command: seconds, processor seconds, and the peaks in MiB."""
        peaks = {name: max((getattr(s, name) for s in self.samples), default=0) for name in ("children", "server")}
        both = max((s.own + s.children + s.server for s in self.samples), default=0)
        return {
            "seconds": self.seconds,
            "cpu": self.cpu,
            "cpu_postgres": self._between("server_cpu", self.samples[0].at, self.samples[-1].at),
            "peak_mib": self.high_water / MEBIBYTE,
            "peak_children_mib": peaks["children"] / MEBIBYTE,
            "peak_postgres_mib": peaks["server"] / MEBIBYTE,
            "peak_together_mib": both / MEBIBYTE,
        }

    def span(self, start: float, end: float) -> dict[str, float]:
        """A part of the time: the same, with the peak of the process alone."""
        return {
            "seconds": end - start,
            "cpu": self._between("cpu", start, end),
            "cpu_postgres": self._between("server_cpu", start, end),
            "peak_mib": max((s.own for s in self.samples if start <= s.at <= end), default=0) / MEBIBYTE,
        }

    def _between(self, column: str, start: float, end: float) -> float:
        """What a counter has risen by, read off between samples."""
        return max(0.0, self._at(column, end) - self._at(column, start))

    def _at(self, column: str, moment: float) -> float:
        before = self.samples[0]
        for sample in self.samples:
            if sample.at >= moment:
                share = (moment - before.at) / (sample.at - before.at) if sample.at > before.at else 0.0
                low, high = getattr(before, column), getattr(sample, column)
                return float(low + (high - low) * min(max(share, 0.0), 1.0))
            before = sample
        return float(getattr(before, column))


def watch(command: Sequence[str], log: Path, environment: Mapping[str, str], home: Path, limit: float) -> Watched:
    """Run a command to its end.

    Args:
        command: what to run.
        log: what it says is added there.
        environment: its variables, in place of those of this process.
        home: the platform whose embedded PostgreSQL is watched too, when it runs.
        limit: seconds after which it is ended.

    Raises:
        DidNotEndWellError: it failed or did not end in time.
    """
    samples: list[Sample] = []
    before = _ended_children()
    with log.open("ab") as said:
        began = time.time()
        process = subprocess.Popen(command, env=dict(environment), stdout=said, stderr=said, start_new_session=True)
        done = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, home, samples, done), daemon=True)
        sampler.start()
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            _end(process)
            raise DidNotEndWellError(f"did not end within {limit:.0f} s: {' '.join(command)}") from None
        except BaseException:
            _end(process)
            raise
        finally:
            ended = time.time()
            done.set()
            sampler.join()
    if code:
        raise DidNotEndWellError(f"ended with {code}: {' '.join(command)}\n{log.read_text()[-3000:]}")
    after = _ended_children()
    return Watched(ended - began, after - before, samples, max((s.own for s in samples), default=0))


def _ended_children() -> float:
    """Processor seconds of all children that have ended, exact to the last one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with what it started itself; a PostgreSQL server lives in a session of its own."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    process.wait()


def _sample(pid: int, home: Path, samples: list[Sample], done: threading.Event) -> None:
    highest = number = children_bytes = server_bytes = 0
    children: list[Any] = []
    server: list[Any] = []
    while not done.wait(EVERY):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            # The kernel's own peak: what comes and goes between two samples counts too.
            highest = max(highest, _high_water(pid))
            if number % LOOK_AROUND == 0:
                children, server = process.children(recursive=True), list(_server(home))
                children_bytes, server_bytes = (sum(map(_proportional, each)) for each in (children, server))
            number += 1
            samples.append(
                Sample(
                    at=time.time(),
                    cpu=sum(map(_cpu, [process, *children])),
                    server_cpu=sum(map(_cpu, server)),
                    own=process.memory_info().rss,
                    children=children_bytes,
                    server=server_bytes,
                )
            )
    if samples:
        samples[-1] = samples[-1]._replace(own=max(samples[-1].own, highest))


def _server(home: Path) -> Iterator[Any]:
    """The processes of the PostgreSQL server of a home, if it runs."""
    with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        server = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0]))
        yield server
        yield from server.children(recursive=True)


def _cpu(process: Any) -> float:
    """Processor seconds of a process and its children that have ended; none when it has just ended itself."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _proportional(process: Any) -> int:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return 0


def _high_water(pid: int) -> int:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return 0


def inherited(home: Path, **more: str) -> dict[str, str]:
    """The environment of a measured process: this one's, less every setting of a platform, with another home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RETAIL_", "DAGSTER_"))}
    return {**kept, "RETAIL_HOME": str(home), **more}
