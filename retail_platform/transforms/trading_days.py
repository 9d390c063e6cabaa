"""On which days the shop sells: what its own past says of weekdays, bank holidays and the days around Christmas.

A day is open when the shop sold anything on it. What is to come is judged by kind of day: a weekday, a bank holiday
(and the Sunday between two of them, at Easter), or a day from 24 December to 2 January. A kind on which the shop was
closed more often than not is expected to be closed. Which days are bank holidays is passed in.
"""

from collections.abc import Collection
from datetime import date

import numpy as np
import numpy.typing as npt

Dates = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

ORDINARY, HOLIDAY, CHRISTMAS = 0, 1, 2
USUAL_SHARE = 0.5
"""Of the days of a kind that must have been open for the next one to be expected open."""
_DAY = np.timedelta64(1, "D")


def weekdays(days: Dates) -> Ints:
    """0 for Monday to 6 for Sunday."""
    return (days.astype("datetime64[D]").astype(np.int64) + 3) % 7


def kinds(days: Dates, holidays: Collection[date]) -> Ints:
    """`ORDINARY`, `HOLIDAY` or `CHRISTMAS` of each day.

    Args:
        days: the days.
        holidays: bank holidays, at least of the years of the days.
    """
    free = np.array(sorted(holidays), dtype="datetime64[D]")
    is_easter = np.isin(days - 2 * _DAY, free) & np.isin(days + _DAY, free) & (weekdays(days) == 6)
    is_free = np.isin(days, free) | is_easter
    month_days = [(day.month, day.day) for day in days.astype(object)]
    is_christmas = np.array([at >= (12, 24) or at <= (1, 2) for at in month_days], dtype=bool)
    return np.where(is_christmas, CHRISTMAS, np.where(is_free, HOLIDAY, ORDINARY)).astype(np.int64)


def usual_weekdays(days: Dates, is_open: Flags, kind: Ints) -> Flags:
    """Whether the shop is usually open on each of the seven weekdays, by its ordinary days.

    Args:
        days: the known days.
        is_open: whether the shop sold on them.
        kind: their kinds.

    Returns:
        Seven answers, from Monday; a weekday never seen is taken to be open.
    """
    ordinary = kind == ORDINARY
    at = weekdays(days)
    return np.array([_usual(is_open[ordinary & (at == weekday)]) for weekday in range(7)])


def expected_open(known: Dates, is_open: Flags, coming: Dates, holidays: Collection[date]) -> Flags:
    """Whether the shop is expected to sell on days to come, from the known days alone.

    Args:
        known: every calendar day so far.
        is_open: whether the shop sold on them.
        coming: the days asked about.
        holidays: bank holidays of all years concerned.
    """
    kind = kinds(known, holidays)
    usual = usual_weekdays(known, is_open, kind)
    counted = usual[weekdays(known)]
    by_kind = np.array([True, *(_usual(is_open[counted & (kind == each)]) for each in (HOLIDAY, CHRISTMAS))])
    return np.asarray(usual[weekdays(coming)] & by_kind[kinds(coming, holidays)])


def filled(values: Floats, is_open: Flags, season: int) -> Floats:
    """The values, where the shop was closed the median of the same weekday in up to two open weeks on either side.

    Args:
        values: one for each usual day.
        is_open: whether the shop sold on it.
        season: usual days in a week.
    """
    complete = values.copy()
    for at in np.flatnonzero(~is_open):
        before = [near for near in range(at - season, -1, -season) if is_open[near]][:2]
        after = [near for near in range(at + season, values.size, season) if is_open[near]][:2]
        complete[at] = np.median(values[before + after] if before + after else values[is_open])
    return complete


def _usual(is_open: Flags) -> bool:
    return is_open.size == 0 or bool(is_open.mean() >= USUAL_SHARE)
