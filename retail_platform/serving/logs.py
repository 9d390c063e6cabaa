"""What the API writes down: JSON, one object a line, among them one for each request (logger `retail.audit`).

Lives here: the lines and where they go. Lines are made and written in a thread of their own, so that no request waits
for a disk; at the end of the process all of them are written. A line that cannot be made, or a place that takes none,
costs no other: what is lost is told on stderr, and where lines are still taken. Stays out: what is said of a request
(`middleware`).
"""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from functools import lru_cache, partial
from itertools import pairwise
from logging.handlers import QueueHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import unquote_plus

from retail_platform.serving.texts import json_of
from retail_platform.settings import Settings

AUDIT = "retail.audit"
AUDIT_BYTES = 50 * 2**20
AUDIT_FILES = 5
"""Files of `AUDIT_BYTES` that are kept beside the one being written."""

BATCH = 1_000
"""Lines that are written at once at most."""
GATHER_SECONDS = 0.05
"""How long lines are gathered: a thread that wakes for each takes a quarter of the requests' time from them."""

WAITING = 100_000
"""Lines that wait at most, as when nobody reads stdout; those beyond are lost, and counted."""

HIDDEN = "***"
HARMLESS = frozenset(
    {"page", "size", "limit", "offset", "sort", "order", "granularity", "metric", "top_n", "format", "compression"}
    | {"date_from", "date_to", "day", "country", "countries", "columns", "group_by", "measures", "include_aggregations"}
    | {"eq", "ne", "gt", "gte", "lt", "lte", "in", "like", "ilike", "is_null", "operationName"}
)
"""Parameters whose values are written down, beside columns that are not personal; every other one is hidden."""
COUNTS = frozenset({"page", "size", "limit", "offset", "top_n"})
"""Those of them that are numbers: elsewhere a number may be a customer's."""
NUMBER = re.compile(r"[0-9]{1,9}")
WORDS = re.compile(r"(?:[A-Za-z_]+|[0-9]{4}-[0-9]{2}-[0-9]{2}|[,.: -])*")
PARAMETER = re.compile(r"[A-Za-z_.\[\]]{1,100}")

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonLines(logging.Formatter):
    """A record as one JSON object; what the audit says of a request is the object itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": moment, "level": record.levelname, "logger": record.name}
        if isinstance(record.msg, dict):
            line |= record.msg
        else:
            line |= {"message": record.getMessage(), "request_id": getattr(record, "request_id", None)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json_of(line).decode()


class _Queue(QueueHandler):
    """Hands records on as they are, with the request they belong to, which the other thread cannot know."""

    def __init__(self, writer: "_Writer") -> None:
        super().__init__(writer.queue)
        self._writer = writer

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.request_id = REQUEST_ID.get()
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._writer.queue.qsize() < WAITING:
            self._writer.queue.put(record)
        else:
            self._writer.overflowed += 1


class _Sink:
    """A place where lines go, which may fail and work again."""

    def __init__(self, name: str, put: Callable[[str], None]) -> None:
        self._name = name
        self._put = put
        self._lost = 0

    def write(self, lines: Sequence[str]) -> str | None:
        """Write lines, as far as that is possible.

        Returns:
            What has to be told elsewhere: that no line can be written any more, or that they can again.
        """
        lost = self._lost
        try:
            self._put("".join(lines))
        except Exception as error:  # whatever it is, the other lines have to be written
            self._lost += len(lines)
            return None if lost else f"Lines cannot be written to {self._name}, and are lost: {error!r}."
        self._lost = 0
        return f"Lines are written to {self._name} again; {lost} were lost." if lost else None


class _Writer(threading.Thread):
    """Writes what is in the queue, all that waits at once: one write costs more than making a line."""

    def __init__(self, audit: Path | None) -> None:
        super().__init__(name="log", daemon=True)
        self.queue: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self.overflowed = 0
        self._stdout = _Sink("stdout", _print)
        self._audit = _Sink(str(audit), partial(append, audit)) if audit else None
        self._lines = JsonLines()

    def run(self) -> None:
        """Write until `stop`."""
        going = True
        while going:
            waiting = [self.queue.get()]
            time.sleep(GATHER_SECONDS)
            with suppress(Empty):
                while len(waiting) < BATCH:
                    waiting.append(self.queue.get_nowait())
            going = None not in waiting
            self._write([record for record in waiting if record is not None])

    def stop(self) -> None:
        """Have everything written that was said, and end."""
        self.queue.put(None)
        self.join()

    def _write(self, records: Sequence[logging.LogRecord]) -> None:
        lines = [(record.name, self._line(record)) for record in records]
        if lost := self.overflowed:
            self.overflowed -= lost
            lines.append((__name__, self._told(f"{lost} lines are lost: {WAITING} waited to be written already.")))
        asked = [line for name, line in lines if name == AUDIT]
        said = self._stdout.write([line for _, line in lines])
        if said is not None:
            asked.append(self._told(said))
        if self._audit is not None and asked and (said := self._audit.write(asked)):
            self._stdout.write([self._told(said)])

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return f"{self._lines.format(record)}\n"
        except Exception as error:  # as arguments that do not fit the message: the line is lost, and no other
            return self._told(f"A line of {record.name} ({record.pathname}:{record.lineno}) cannot be made: {error!r}.")

    def _told(self, message: str) -> str:
        """A line of the writer's own, told on stderr as well."""
        line = f"{self._lines.format(logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, None))}\n"
        with suppress(OSError, ValueError, AttributeError):  # stderr is closed too: nobody is left to be told
            sys.stderr.write(line)
            sys.stderr.flush()
        return line


def _print(lines: str) -> None:
    sys.stdout.write(lines)
    sys.stdout.flush()


def append(path: Path, lines: str, max_bytes: int = AUDIT_BYTES) -> None:
    """Append lines to a file that other processes append to as well; a full one is moved aside first.

    Args:
        path: the file; those moved aside are `<name>.1`, the newest, to `<name>.5`.
        lines: whole lines.
        max_bytes: from which size on a file is full.
    """
    with path.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if path.exists() and path.stat().st_size >= max_bytes:
            numbered = [path.with_name(f"{path.name}.{number}") for number in range(AUDIT_FILES, 0, -1)]
            for older, newer in pairwise([*numbered, path]):
                if newer.exists():
                    newer.replace(older)
        with path.open("a", encoding="utf-8") as file:
            file.write(lines)


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Have this process log as JSON lines to stdout, and requests to a file too where the platform is embedded."""
    audit = settings.logs / "audit.jsonl" if settings.database_url is None else None
    if audit is not None:
        audit.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    writer = _Writer(audit)
    writer.start()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [_Queue(writer)]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell of every look at Dagster's health
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        writer.stop()


def scrubbed(query: str, columns: frozenset[str]) -> str:
    """A query string with only what cannot say who is meant.

    Args:
        query: as it was sent.
        columns: names of columns that are not personal.

    Returns:
        `page=2&customer_id=***`: values of harmless parameters that look like what they should be (names, days; numbers
        only as those of `COUNTS`) as they are, all others hidden, as are names that cannot be a parameter's.
    """
    return "&".join(_scrubbed(part, columns) for part in query.split("&"))


def _scrubbed(part: str, columns: frozenset[str]) -> str:
    name, equals, value = part.partition("=")
    if not PARAMETER.fullmatch(unquote_plus(name)):
        return f"{HIDDEN}={HIDDEN}"
    plain = unquote_plus(value)
    is_seen = _is_harmless(name, columns) and (WORDS.fullmatch(plain) or (name in COUNTS and NUMBER.fullmatch(plain)))
    return part if is_seen else f"{name}{equals}{HIDDEN}"


@lru_cache(maxsize=1_000)
def _is_harmless(name: str, columns: frozenset[str]) -> bool:
    return all(word in HARMLESS or word in columns for word in re.findall(r"\w+", unquote_plus(name)))
