"""Landing: find the files that are new, keep their bytes, parse them once, and write the ledger.

The folder is the user's: nothing in it is ever changed. Each step may be cut off at any point: bytes and stages appear
whole or not at all and are harmless without the ledger's row, which is written last. What a file holds is asked of
`formats.py` and `mapping.py`, what follows from the ledger of `ledger.py`.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple
from uuid import uuid4

import polars as pl

from retail_platform.lakehouse.formats import CHUNK, SetAside, Sheet, check_content, format_of, read_rows, sheets_of
from retail_platform.lakehouse.ledger import Ledger, Observation
from retail_platform.lakehouse.mapping import Mapping, choose_mapping
from retail_platform.lakehouse.stage import Content, bytes_path, count_days, has_stage, restore_stage, write_stage
from retail_platform.settings import Settings

TEMPORARY_ENDINGS = (".part", ".tmp", ".crdownload", "~")
"""Endings that senders give to files that are not whole yet."""
HIDDEN_BEGINNINGS = (".", "~$")
"""Beginnings of hidden files, and of Excel's locks."""
WORKERS = 3
"""Files taken at once: small ones wait for the disk more than they work, and a workbook of two years takes 1.5 GiB."""
WORKER_BYTES = 2**30
"""Memory of RETAIL_MEMORY that a worker counts for: a CSV file of any size takes 0.65 GiB."""
COMMIT_SECONDS = 5.0
"""Seconds of work between commits: what a kill makes us do again."""
STALE_SECONDS = 24 * 3600.0
"""Age from which a temporary copy has been left behind by a kill."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrival(NamedTuple):
    """A file in landing as listed: its path there, as text relative to landing, bytes, modification time in UTC."""

    file: Path
    path: str
    size: int
    modified_at: datetime


@dataclass
class Registration:
    """What one call of `register_arrivals` did, in files.

    Attributes:
        accepted: files of which at least one sheet was accepted.
        set_aside: files of which none was.
        remaining: new files that were not begun, for lack of time.
    """

    accepted: int = 0
    set_aside: int = 0
    remaining: int = 0


def register_arrivals(
    settings: Settings,
    *,
    on_file: Callable[[str, int, int], None] | None = None,
    time_budget: float | None = None,
) -> Registration:
    """Register every file in landing that the ledger does not know by path, size and modification time.

    Contents whose mapping has changed since they were accepted are parsed again first.

    Args:
        settings: the platform.
        on_file: called before each file, in a thread, with its path, its number from 1 and the number of new files.
        time_budget: seconds after which no further file is begun; None takes all.

    Returns:
        How many files were accepted, set aside, and left for the next call.

    Raises:
        ExceptionGroup: the program failed on these files; they are not registered, all others are.
        StageError: a changed mapping no longer reads what was accepted with it.
    """
    deadline = math.inf if time_budget is None else time.monotonic() + time_budget
    _remove_stale(settings)
    ledger = Ledger(settings)
    ledger.append([_parse_again(settings, ledger, outdated) for outdated in ledger.outdated()])
    arrivals, log, failures = new_arrivals(settings, ledger), _Log(ledger), list[Exception]()

    def observe(number: int, arrival: Arrival) -> list[Observation] | None:
        if time.monotonic() > deadline:
            return None
        if on_file:
            on_file(arrival.path, number, len(arrivals))
        return _observe(settings, ledger, arrival)

    workers = WORKERS if settings.memory is None else max(1, min(WORKERS, settings.memory // WORKER_BYTES))
    for arrival, observed in _in_threads(observe, arrivals, workers):
        try:
            log.add(observed.result())
        except Exception as error:  # raised below: a fault of ours is no verdict on a file, and stops no other one
            error.add_note(f"while registering {arrival.path}")
            failures.append(error)
    log.commit()
    if failures:
        raise ExceptionGroup("these files could not be registered by a fault of the program", failures)
    return log.done


def _in_threads(
    observe: Callable[[int, Arrival], list[Observation] | None], arrivals: Sequence[Arrival], workers: int
) -> Iterator[tuple[Arrival, Future[list[Observation] | None]]]:
    """Begin on the arrivals in order, a few at a time; each with what comes of it, in order."""
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(observe, number, arrival) for number, arrival in enumerate(arrivals, 1)]
        yield from zip(arrivals, futures, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def new_arrivals(settings: Settings, ledger: Ledger) -> list[Arrival]:
    """The files in landing that the ledger does not know, by path."""
    seen = ledger.observations.select("path", "size", "modified_at").unique()
    known = set(seen.iter_rows())
    return sorted(each for each in _listed(settings.landing) if (each.path, each.size, each.modified_at) not in known)


def files_set_aside(settings: Settings, ledger: Ledger) -> pl.DataFrame:
    """The files that are in landing now and were set aside: path, reason, message, by path."""
    aside = ledger.files().filter(pl.col("status") == "set_aside").select("path", "reason", "message")
    return aside.filter(pl.Series([(settings.landing / path).exists() for path in aside["path"]], dtype=pl.Boolean))


class _Log:
    """Observations on their way to the ledger, a commit every few seconds of work."""

    def __init__(self, ledger: Ledger) -> None:
        self.done = Registration()
        self._ledger, self._pending, self._committed = ledger, list[Observation](), time.monotonic()

    def add(self, observations: Sequence[Observation] | None) -> None:
        """Take the observations of one file: empty when it is gone, None when there was no time for it."""
        if observations is None:
            self.done.remaining += 1
            return
        if any(each.status == "accepted" for each in observations):
            self.done.accepted += 1
        elif observations:
            self.done.set_aside += 1
        self._pending += observations
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        self._ledger.append(self._pending)
        self._pending, self._committed = [], time.monotonic()


def _listed(landing: Path) -> Iterator[Arrival]:
    if not landing.is_dir():
        return
    for folder, folders, names in os.walk(landing, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN_BEGINNINGS)]
        for name in names:
            if name.startswith(HIDDEN_BEGINNINGS) or name.lower().endswith(TEMPORARY_ENDINGS):
                continue
            file = Path(folder, name)
            try:
                status = file.stat()
            except FileNotFoundError:  # gone since the folder was listed, or a link to nowhere
                continue
            if S_ISREG(status.st_mode):
                # A name that is no UTF-8 is escaped: the ledger holds text.
                path = file.relative_to(landing).as_posix().encode("utf-8", "backslashreplace").decode()
                yield Arrival(file, path, *_state(status))


def _raise(error: OSError) -> None:
    raise error


def _state(status: os.stat_result) -> tuple[int, datetime]:
    return status.st_size, _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)


def _observe(settings: Settings, ledger: Ledger, arrival: Arrival) -> list[Observation]:
    """Keep and parse one file: an observation of each sheet that is not empty; none when the file is gone."""
    now = datetime.now(UTC)
    seen = Observation(arrival.path, arrival.size, arrival.modified_at, "set_aside", registered_at=now, parsed_at=now)
    try:
        if (kept := _keep(settings, arrival)) is None:
            return []
        seen = replace(seen, sha256=kept)
        seen = replace(seen, format=format_of(arrival.file.name))
        check_content(bytes_path(settings, kept), str(seen.format), settings.max_uncompressed_bytes)
        sheets = sheets_of(bytes_path(settings, kept), str(seen.format))
    except SetAside as verdict:
        return [_set_aside(seen, verdict)]
    observed = [_observe_sheet(settings, ledger, seen, sheet) for sheet in sheets]
    return [each for each in observed if each.reason != "empty"] or observed[:1]


def _observe_sheet(settings: Settings, ledger: Ledger, seen: Observation, sheet: Sheet) -> Observation:
    seen = replace(seen, sheet_index=sheet.index, sheet_name=sheet.name)
    content = Content(str(seen.sha256), sheet.index, str(seen.format))
    name = seen.path.rpartition("/")[2]
    try:
        kept = bytes_path(settings, content.file_sha256)
        rows = read_rows(kept, content.format, content.sheet_index, settings.max_uncompressed_bytes)
        mapping = choose_mapping(ledger.mappings.values(), seen.path, rows.header)
        delivered_at = mapping.delivered_at(name, seen.modified_at)
        if not has_stage(settings, mapping, content):
            write_stage(settings, mapping, content, rows)
    except SetAside as verdict:
        return _set_aside(seen, verdict)
    return replace(
        seen,
        status="accepted",
        delivered_at=delivered_at,
        batch_id=mapping.batch_id(name),
        **_held(settings, mapping, content),
    )


def _set_aside(seen: Observation, verdict: SetAside) -> Observation:
    return replace(seen, reason=verdict.reason, message=verdict.message)


def _parse_again(settings: Settings, ledger: Ledger, outdated: Observation) -> Observation:
    """What an accepted content holds by its mapping as it is now."""
    mapping = ledger.mapping(str(outdated.mapping))
    content = Content(str(outdated.sha256), outdated.sheet_index, str(outdated.format))
    if not has_stage(settings, mapping, content):
        restore_stage(settings, mapping, content)
    return replace(outdated, parsed_at=datetime.now(UTC), **_held(settings, mapping, content))


def _held(settings: Settings, mapping: Mapping, content: Content) -> dict[str, Any]:
    """What a stage says of its rows, as fields of an observation."""
    counted = count_days(settings, mapping, content)
    return {
        "mapping": mapping.name,
        "mapping_fingerprint": mapping.fingerprint,
        "rows": sum(counted.values()),
        "undated_rows": counted.pop(None, 0),
        "days": tuple(counted.items()),
    }


def _keep(settings: Settings, arrival: Arrival) -> str | None:
    """Copy a file to the kept bytes, hashed on the way.

    Returns:
        Its SHA-256; None when it is gone.

    Raises:
        SetAside: it changed since it was listed, or may not be read.
    """
    temporary = _incoming(settings) / uuid4().hex
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        digest = _copy(arrival, temporary)
        kept = bytes_path(settings, digest)
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            temporary.chmod(0o444)
            temporary.replace(kept)
    except FileNotFoundError as error:
        if error.filename != str(arrival.file):
            raise
        return None
    except PermissionError as error:
        if error.filename != str(arrival.file):
            raise
        raise SetAside("unreadable", f"no permission to read the file ({error}): give it, then touch it") from error
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def _copy(arrival: Arrival, target: Path) -> str:
    digest, copied = hashlib.sha256(), 0
    with arrival.file.open("rb") as source, target.open("xb") as copy:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            copied += copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
        size, modified_at = _state(os.fstat(source.fileno()))
    if not copied == size == arrival.size or modified_at != arrival.modified_at:
        raise SetAside(
            "still_being_written",
            f"listed with {arrival.size} bytes of {arrival.modified_at:%F %T}, but {copied} were read, and now it has "
            f"{size} of {modified_at:%F %T}; expected a finished file: it will be looked at again as it is now. Best "
            "write it under a name that ends in .part, and rename it when it is whole",
        )
    return digest.hexdigest()


def _incoming(settings: Settings) -> Path:
    return settings.deliveries / "bytes" / "incoming"


def _remove_stale(settings: Settings) -> None:
    """Remove copies that a kill has left unfinished."""
    for temporary in _incoming(settings).glob("*"):
        try:
            if time.time() - temporary.stat().st_mtime > STALE_SECONDS:
                temporary.unlink()
        except FileNotFoundError:  # finished by another process at this moment
            continue
