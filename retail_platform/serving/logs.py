"""What the API writes down: JSON, one object a line, among them one for each request (logger `retail.audit`).

Lives here: the lines and where they go. Lines are made and written in a thread of their own, so that no request waits
for a disk; at the end of the process all of them are written. Stays out: what is said of a request (`middleware`).
"""

import fcntl
import logging
import queue
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, WatchedFileHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from retail_platform.settings import Settings

AUDIT = "retail.audit"
AUDIT_BYTES = 50 * 2**20
AUDIT_FILES = 5
"""Files of `AUDIT_BYTES` that are kept beside the one being written."""

HIDDEN = "***"
HARMLESS = frozenset(
    {"page", "size", "limit", "offset", "sort", "order", "granularity", "metric", "top_n", "format", "compression"}
    | {"date_from", "date_to", "day", "country", "countries", "columns", "group_by", "measures", "include_aggregations"}
    | {"eq", "ne", "gt", "gte", "lt", "lte", "in", "like", "ilike", "is_null", "operationName"}
)
"""Parameters whose values are written down, beside columns that are not personal; every other one is hidden."""

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
        return orjson.dumps(line, default=str).decode()


class _ToThread(QueueHandler):
    """Hands records on as they are, with the request they belong to, which the other thread cannot know."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.request_id = REQUEST_ID.get()
        return record


class AuditFile(WatchedFileHandler):
    """A file that several processes write to; the first to find it full moves it aside, and the others follow."""

    def __init__(self, path: Path, max_bytes: int = AUDIT_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, encoding="utf-8")
        self._path, self._max_bytes = path, max_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, to a new file when this one is full."""
        if self._path.exists() and self._path.stat().st_size >= self._max_bytes:
            self._move_aside()
        super().emit(record)

    def _move_aside(self) -> None:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._path.stat().st_size < self._max_bytes:
                return  # another process was first
            for number in range(AUDIT_FILES - 1, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    older.replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Have this process log as JSON lines to stdout, and requests to a file too where the platform is embedded."""
    output = logging.StreamHandler(sys.stdout)
    handlers: list[logging.Handler] = [output]
    if settings.database_url is None:
        file = AuditFile(settings.logs / "audit.jsonl")
        file.addFilter(lambda record: record.name == AUDIT)
        handlers.append(file)
    for handler in handlers:
        handler.setFormatter(JsonLines())
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(lines, *handlers)
    listener.start()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = [_ToThread(lines)]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        listener.stop()
        for handler in handlers:
            handler.close()


def scrubbed(query: str, columns: Collection[str]) -> str:
    """A query string in which the values of all parameters but harmless ones are hidden.

    Args:
        query: as it was sent.
        columns: names of columns that are not personal.

    Returns:
        `page=2&customer_id=***`.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, value if _is_harmless(name, columns) else HIDDEN) for name, value in pairs], safe="*:,.[]")


def _is_harmless(name: str, columns: Collection[str]) -> bool:
    return all(word in HARMLESS or word in columns for word in re.findall(r"\w+", name))
