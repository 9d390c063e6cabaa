"""Day ranges: half-open (start, end), as Dagster's partition windows are. Delta predicates and runs use them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple

ONE_DAY = timedelta(days=1)


class Days(NamedTuple):
    """A contiguous range of days, end excluded."""

    start: date
    end: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day < self.end

    def every(self) -> list[date]:
        """Every day of the range."""
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days)]

    def months(self) -> list[date]:
        """The first day of every month the range touches."""
        return sorted({month_of(day) for day in self.every()})

    def months_around(self) -> list[date]:
        """The months of the range with the one before and the one after."""
        before = month_of(self.start) - ONE_DAY
        return Days(before, next_month(self.end - ONE_DAY) + ONE_DAY).months()


def stretches(days: Iterable[date]) -> list[Days]:
    """The contiguous ranges that cover exactly the given days, in order."""
    ranges: list[Days] = []
    for day in sorted(set(days)):
        if ranges and ranges[-1].end == day:
            ranges[-1] = Days(ranges[-1].start, day + ONE_DAY)
        else:
            ranges.append(Days(day, day + ONE_DAY))
    return ranges


def settled_states(published: Mapping[date | None, str], held: Mapping[date | None, str]) -> dict[date | None, str]:
    """What is there of each published day: its state, or `lost` when the lake does not hold that state any more.

    Args:
        published: day (None: rows without one) -> fingerprint that the marts show.
        held: the same of what the lake holds.
    """
    return {day: state if held.get(day) == state else "lost" for day, state in published.items()}


def waiting_stretches(
    wanted: Mapping[date | None, str], present: Mapping[date | None, str], first_day: date
) -> list[Days]:
    """The ranges of days whose wanted state is not the present one, each as long as no settled day lies between.

    Days that hold nothing (a closed shop) do not end a range. Rows without a day travel with any run: when nothing
    else waits, with that of the newest day, or of the platform's first day.

    Args:
        wanted: day (None: rows without one) -> fingerprint of what should be there.
        present: the same of what is there.
        first_day: the platform's first day.

    Returns:
        The ranges, in order.
    """
    waiting = {day for day in wanted.keys() | present.keys() if wanted.get(day) != present.get(day)}
    known = sorted(day for day in wanted.keys() | present.keys() if day is not None) or [first_day]
    if waiting == {None}:
        waiting = {known[-1]}
    ranges = []
    for is_waiting, days in groupby(known, key=lambda day: day in waiting):
        listed = list(days)
        if is_waiting:
            ranges.append(Days(listed[0], listed[-1] + ONE_DAY))
    return ranges


def month_of(day: date) -> date:
    """The first day of the day's month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after the day's."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def days_in(ranges: Sequence[Days]) -> set[date]:
    """Every day of the ranges."""
    return {day for days in ranges for day in days.every()}
