"""Trading days: which days to come the shop is expected to be open on, from its own past."""

from datetime import date, timedelta

import numpy as np
import pytest

from retail_platform.transforms.trading_days import (
    CHRISTMAS,
    HOLIDAY,
    ORDINARY,
    Dates,
    Flags,
    expected_open,
    filled,
    kinds,
    usual_weekdays,
    weekdays,
)

HOLIDAYS = [date(2010, 4, 2), date(2010, 4, 5), date(2010, 12, 27), date(2011, 4, 22), date(2011, 4, 25)]
"""Good Friday, Easter Monday, a substitute for Christmas Day; and Easter of the year after."""


def days(first: date, count: int) -> Dates:
    return np.array([first + timedelta(days=n) for n in range(count)], dtype="datetime64[D]")


def shop(known: Dates, closed: set[date]) -> Flags:
    """Open but on Saturdays and the given days."""
    return np.array([day.isoweekday() != 6 and day not in closed for day in known.astype(object)])


def test_weekdays_count_from_monday() -> None:
    assert weekdays(days(date(2010, 4, 5), 7)).tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        (date(2010, 4, 1), ORDINARY),
        (date(2010, 4, 2), HOLIDAY),
        (date(2010, 4, 4), HOLIDAY),  # Easter Sunday: between two bank holidays, itself none
        (date(2010, 4, 11), ORDINARY),
        (date(2010, 12, 23), ORDINARY),
        (date(2010, 12, 24), CHRISTMAS),
        (date(2010, 12, 27), CHRISTMAS),
        (date(2011, 1, 2), CHRISTMAS),
        (date(2011, 1, 3), ORDINARY),
    ],
)
def test_a_day_is_of_a_kind(day: date, kind: int) -> None:
    assert kinds(days(day, 1), HOLIDAYS).tolist() == [kind]


def test_a_weekday_that_is_mostly_closed_is_not_usual() -> None:
    known = days(date(2010, 1, 4), 70)
    usual = usual_weekdays(known, shop(known, {date(2010, 1, 6)}), kinds(known, HOLIDAYS))
    assert usual.tolist() == [True] * 5 + [False, True]


def test_a_shop_that_closed_at_easter_is_expected_to_close_at_the_next() -> None:
    known = days(date(2010, 1, 4), 400)
    closed = {date(2010, 4, 2), date(2010, 4, 4), date(2010, 4, 5)}
    easter = days(date(2011, 4, 21), 6)  # Thursday to Tuesday
    assert expected_open(known, shop(known, closed), easter, HOLIDAYS).tolist() == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert expected_open(known, shop(known, set()), easter, HOLIDAYS).tolist() == [True, True, False, True, True, True]


def test_a_kind_that_was_never_seen_is_taken_to_be_open() -> None:
    known = days(date(2011, 1, 10), 70)
    assert expected_open(known, shop(known, set()), days(date(2011, 12, 26), 1), HOLIDAYS).tolist() == [True]


def test_a_closed_day_is_filled_from_its_weekday_alone() -> None:
    values = np.array([1.0, 10.0, 3.0, 10.0, 0.0, 10.0, 5.0, 10.0, 9.0, 10.0])
    is_open = np.array([True] * 10)
    is_open[4] = False
    assert filled(values, is_open, season=2).tolist()[4] == 4.0  # the median of 1, 3, 5, 9
