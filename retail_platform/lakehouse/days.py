"""Day ranges: half-open (start, end), as Dagster's partition windows are. Delta predicates and runs are made of them."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

ONE_DAY = timedelta(days=1)


class Days(NamedTuple):
    """A contiguous range of days, end excluded."""

    start: date
    end: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day < self.end

    def list(self) -> list[date]:
        """Every day of the range."""
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days)]

    def months(self) -> list[date]:
        """The first day of every month the range touches."""
        return sorted({month_of(day) for day in self.list()})


def stretches(days: Iterable[date]) -> list[Days]:
    """The contiguous ranges that cover exactly the given days, in order."""
    ranges: list[Days] = []
    for day in sorted(set(days)):
        if ranges and ranges[-1].end == day:
            ranges[-1] = Days(ranges[-1].start, day + ONE_DAY)
        else:
            ranges.append(Days(day, day + ONE_DAY))
    return ranges


def month_of(day: date) -> date:
    """The first day of the day's month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after the day's."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def days_in(ranges: Sequence[Days]) -> set[date]:
    """Every day of the ranges."""
    return {day for days in ranges for day in days.list()}
