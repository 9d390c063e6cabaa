"""A generated sample of sales files, of any size, with the quirks of a real shop's data in their real proportions.

Written a stretch of a day at a time, so that memory does not grow with the size. The proportions are in
`proportions.py`, the shop in `shop.py`, its invoices in `till.py`.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from retail_platform.sources import proportions as real
from retail_platform.sources.shop import Floats, Ints, draw_assortment, draw_customers, opening_days
from retail_platform.sources.till import Stretch, Till

Span = Literal["daily", "monthly", "yearly"]
"""What a file of a sample holds."""

COMPLETE_FROM = 20_000
"""Lines from which on every quirk and every country occurs at least once."""

_NAME_FORMATS: dict[Span, str] = {"daily": "%Y-%m-%d", "monthly": "%Y-%m", "yearly": "%Y"}
_DELIVERED_AT = timedelta(days=1, hours=4)  # after the start of a file's last day; chosen: early the next morning
_STRETCH_LINES = 200_000  # lines made at once: bounds memory (about 0.2 GiB), costs no time


def write_sample(
    folder: Path,
    lines: int,
    *,
    seed: int = 1,
    start: date = date(2009, 12, 1),
    days: int = 739,
    files: Span = "monthly",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write a sample as CSV files with the column names of the published data.

    Some files begin with the last days of the file before once more, a few lines of them corrected. A file's name ends
    with the time of its delivery in UTC, the morning after its last day. Files appear under their names when complete.

    Args:
        folder: where to write; made when missing.
        lines: how many lines, days delivered again included, exactly.
        seed: the same seed with the same other arguments gives the same bytes.
        start: the first calendar day.
        days: how many calendar days.
        files: what a file holds; a day, month or year without lines has none.
        on_progress: told the lines written so far, and `lines`.

    Returns:
        The files, in the order of their deliveries.

    Raises:
        ValueError: there are no lines to write, the shop is closed on all the days, or `files` is not a span.
    """
    if lines < 1:
        raise ValueError(f"a sample has at least 1 line, not {lines}")
    if files not in _NAME_FORMATS:
        raise ValueError(f"files of a sample are one of {', '.join(get_args(Span))}, not {files!r}")
    rng = np.random.default_rng([seed, lines])
    calendar = _calendar(rng, lines, start, days)
    months = calendar[-1].month + 1
    assortment, customers = draw_assortment(rng, lines, months), draw_customers(rng, lines, months)
    writer = _Writer(Till.for_size(rng, assortment, customers, lines / len(calendar)), lines, on_progress)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        return list(_write_files(writer, _periods(calendar, files), Path(unfinished), folder))


@dataclass(frozen=True)
class _Day:
    """A day with sales: its month from 0, the share of lines up to its end, and the invoices planned for it."""

    day: date
    month: int
    until: float
    planned: Ints


def _calendar(rng: np.random.Generator, lines: int, start: date, days: int) -> list[_Day]:
    """The days with sales, in order."""
    opened, weights = opening_days(rng, start, days)
    planned = _planned(rng, lines, weights)
    until = weights.cumsum()
    until[-1] = 1.0  # whatever the rounding of the sum
    months = [(day.year - opened[0].year) * 12 + day.month - opened[0].month for day in opened]
    return [_Day(*values) for values in zip(opened, months, until.tolist(), planned, strict=True)]


def _planned(rng: np.random.Generator, lines: int, weights: Floats) -> list[Ints]:
    """By day, the invoices that are there in a number, not by chance: odd codes, then one for each country."""
    least = int(lines >= COMPLETE_FROM)
    odd = [max(least, round(entry.lines * lines / real.LINES)) for entry in real.ODD_CODES]
    what = np.repeat(np.arange(len(odd) + len(real.COUNTRIES)), [*odd, *[least] * len(real.COUNTRIES)])
    when = rng.choice(len(weights), len(what), p=weights)
    order = np.argsort(when, kind="stable")
    return np.split(what[order], np.searchsorted(when[order], np.arange(1, len(weights))))


def _periods(calendar: list[_Day], files: Span) -> list[tuple[str, list[_Day]]]:
    """The period that each file is named after, and its days."""
    grouped = groupby(calendar, key=lambda day: day.day.strftime(_NAME_FORMATS[files]))
    return [(name, list(days)) for name, days in grouped]


def _file_name(period: str, last: date) -> str:
    delivered_at = datetime.combine(last, datetime.min.time()) + _DELIVERED_AT
    return f"sales_{period}__{delivered_at:%Y%m%dT%H%M%SZ}.csv"


class _Writer:
    """Rings up days and writes them, counting lines."""

    def __init__(self, till: Till, lines: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.till = till
        self.lines = lines
        self.on_progress = on_progress
        self.first = 0  # lines written for the first time
        self.again = 0  # lines of days delivered again

    def write(self, day: _Day, file: "_File", following: "_File | None") -> None:
        """Write a day to its file and, when it is delivered again, corrected to the following one."""
        due = round(day.until * (self.lines - self.again)) - self.first
        for frame in self._frames(day, due, copies=2 if following else 1):
            file.append(frame)
            file.last = day.day
            self.first += len(frame)
            if following:
                following.append(_corrected(self.till.rng, frame))
                self.again += len(frame)
            if self.on_progress:
                self.on_progress(self.first + self.again, self.lines)

    def _frames(self, day: _Day, due: int, copies: int) -> Iterator[pl.DataFrame]:
        """The lines of a day, in stretches."""
        done, planned = 0, day.planned
        while done < due or len(planned):
            at_most = (self.lines - self.first - self.again) // copies
            if at_most == 0:
                return
            stretch = min(max(due - done, 0), _STRETCH_LINES)
            part = (done / due, (done + stretch) / due) if due > 0 else (0.0, 1.0)
            frame = self.till.ring_up(Stretch(day.day, day.month, part, stretch, at_most, planned))
            yield frame
            done, planned = done + len(frame), planned[:0]


class _File:
    """One CSV file: opened by its first lines, under a name that is not its own until it is complete.

    Its delivery follows its last day with lines of its own: in a small sample one large invoice may be all that the
    days after it would have had.
    """

    def __init__(self, unfinished: Path, folder: Path, period: str, last: date) -> None:
        self.folder, self.period, self.last = folder, period, last
        self.part = unfinished / f"{period}.part"

    def append(self, frame: pl.DataFrame) -> None:
        """Write lines, the header before the first."""
        first = not self.part.exists()
        with self.part.open("ab") as file:
            frame.write_csv(file, include_header=first)

    def finish(self) -> Iterator[Path]:
        """Give the file its name, if it has lines."""
        if self.part.exists():
            path = self.folder / _file_name(self.period, self.last)
            os.replace(self.part, path)
            yield path


def _write_files(
    writer: _Writer, periods: list[tuple[str, list[_Day]]], unfinished: Path, folder: Path
) -> Iterator[Path]:
    """Write each period's days to its file; a share of days, the last of their files, to the following one too."""
    files = [_File(unfinished, folder, name, days[-1].day) for name, days in periods]
    owed = 0.0
    for number, (_, days) in enumerate(periods):
        following = files[number + 1] if number + 1 < len(files) else None
        owed += real.OVERLAP * len(days)
        again = min(int(owed), len(days))
        owed -= again
        for position, day in enumerate(days):
            writer.write(day, files[number], following if position >= len(days) - again else None)
        yield from files[number].finish()


def _corrected(rng: np.random.Generator, frame: pl.DataFrame) -> pl.DataFrame:
    """Lines as delivered again: of some invoices, the first among them at least, one more unit of the first line."""
    candidates = np.flatnonzero(frame["Invoice"].is_first_distinct() & (frame["Quantity"] > 0))
    chosen = candidates[(rng.random(len(candidates)) < real.CORRECTED_INVOICES) | (candidates == candidates[:1])]
    more = np.zeros(len(frame), np.int64)
    more[chosen] = 1
    return frame.with_columns(pl.col("Quantity") + more)
