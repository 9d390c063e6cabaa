"""Windows: a run's days cut into groups of whole days, each of no more rows than fit in memory.

Where a month fits it is not cut: a table is laid out by month, and a cut month is written twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import NamedTuple

import polars as pl

from retail_platform.lakehouse.days import ONE_DAY, Days, month_of

RowsByDay = Mapping[date | None, int]
"""Day (None: rows without one) -> rows."""


class Window(NamedTuple):
    """Days that are read, worked on, checked and written together.

    Attributes:
        days: their ranges.
        is_last: whether it is the run's last; rows without a day go with it, and so does the record of what the
            run has consumed.
        parts: the days again, in groups to be looked at one after the other: what a cluster makes may be more than
            fits here.
    """

    days: tuple[Days, ...]
    is_last: bool
    parts: tuple[tuple[Days, ...], ...]

    def holds(self, day: pl.Expr) -> pl.Expr:
        """Whether a row of this day (null: without one) belongs to the window."""
        return pl.any_horizontal(day.is_null() & self.is_last, *(day.is_between(*each, "left") for each in self.days))


def rows_by_day(states: pl.DataFrame) -> RowsByDay:
    """Rows of each day from a table of day states (sale_date, rows)."""
    return dict(states.select("sale_date", "rows").iter_rows())


def windows_of(rows: RowsByDay, ranges: Sequence[Days], fitting: int, *, by: str = "day") -> list[tuple[Days, ...]]:
    """Cut day ranges into groups of whole days that hold no more rows than fit.

    Args:
        rows: rows of each day; a day that is not named has none.
        ranges: the days, each once, in order.
        fitting: rows that fit; a day (or month) with more is a window of its own.
        by: `day`; or `month`, for what is worked on by whole months: `ranges` are such.

    Returns:
        The groups in order, together exactly `ranges`; the last may be without a day, for the rows that have none.
    """
    if sum(rows.values()) <= fitting:
        return [tuple(ranges)]
    groups: list[list[Days]] = [[]]
    held = 0
    for days, count in [*_pieces(rows, ranges, fitting, by), (None, rows.get(None, 0))]:
        if groups[-1] and count and held + count > fitting:
            groups.append([])
            held = 0
        held += count
        if days is not None:
            _extend(groups[-1], days)
    return [tuple(group) for group in groups]


def _pieces(rows: RowsByDay, ranges: Sequence[Days], fitting: int, by: str) -> Iterator[tuple[Days, int]]:
    """Months (the parts of them in the ranges) with their rows; where one does not fit, its days."""
    for each in ranges:
        for _, grouped in groupby(each.every(), key=month_of):
            days = list(grouped)
            count = sum(rows.get(day, 0) for day in days)
            if count <= fitting or by == "month":
                yield _range(days), count
            else:
                yield from ((_range([day]), rows.get(day, 0)) for day in days)


def _range(days: Sequence[date]) -> Days:
    return Days(days[0], days[-1] + ONE_DAY)


def _extend(group: list[Days], days: Days) -> None:
    """Add days to a group, as part of its last range where they follow it."""
    if group and group[-1].end == days.start:
        group[-1] = Days(group[-1].start, days.end)
    else:
        group.append(days)
