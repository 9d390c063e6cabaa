from datetime import date, timedelta

import hypothesis.strategies as st
import polars as pl
from hypothesis import given

from retail_platform.engines.windows import Window, rows_by_day, windows_of
from retail_platform.lakehouse.days import Days, days_in, stretches

JAN, FEB, MAR = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
MID = date(2011, 1, 16)


def test_what_fits_is_one_window() -> None:
    assert windows_of({JAN: 3, None: 2}, [Days(JAN, MAR)], 5) == [(Days(JAN, MAR),)]
    assert windows_of({}, [], 1) == [()]


def test_months_that_fit_are_not_cut() -> None:
    rows = {JAN: 3, MID: 3, FEB: 4}
    assert windows_of(rows, [Days(JAN, MAR)], 8) == [(Days(JAN, FEB),), (Days(FEB, MAR),)]


def test_a_month_that_does_not_fit_is_cut_by_days() -> None:
    rows = {JAN: 3, MID: 3, FEB: 1}
    assert windows_of(rows, [Days(JAN, MAR)], 4) == [(Days(JAN, MID),), (Days(MID, MAR),)]
    assert windows_of(rows, [Days(JAN, MAR)], 4, by="month") == [(Days(JAN, FEB),), (Days(FEB, MAR),)]


def test_ranges_stay_apart() -> None:
    ranges = [Days(JAN, MID), Days(FEB, MAR)]
    assert windows_of({JAN: 1, FEB: 9}, ranges, 20) == [tuple(ranges)]
    assert windows_of({JAN: 1, FEB: 9}, ranges, 9) == [(Days(JAN, MID),), (Days(FEB, MAR),)]


def test_rows_without_a_day_come_last() -> None:
    assert windows_of({JAN: 3, None: 3}, [Days(JAN, FEB)], 4) == [(Days(JAN, FEB),), ()]
    assert windows_of({JAN: 3, None: 1}, [Days(JAN, FEB)], 3) == [(Days(JAN, FEB),), ()]


days = st.dates(JAN, date(2011, 4, 30))


@given(
    st.dictionaries(days, st.integers(1, 50), min_size=1),
    st.sets(days, min_size=1),
    st.integers(1, 200),
    st.integers(0, 80),
)
def test_windows_cover_the_ranges_once_and_hold_what_fits(
    rows: dict[date, int], asked: set[date], fitting: int, undated: int
) -> None:
    ranges = stretches(asked)
    counted = {day: count for day, count in rows.items() if day in asked} | {None: undated}
    windows = windows_of(counted, ranges, fitting)
    flat = [day for window in windows for each in window for day in each.every()]
    assert flat == sorted(asked)
    for window in windows[:-1]:
        held = [counted.get(day, 0) for day in days_in(list(window))]
        assert sum(held) <= fitting or sum(count > 0 for count in held) == 1


def test_a_window_holds_its_days_and_in_the_end_rows_without_one() -> None:
    seen = pl.DataFrame({"day": [JAN, MID, FEB, None]}, schema={"day": pl.Date})
    ranges = (Days(JAN, JAN + timedelta(days=1)), Days(FEB, MAR))
    for is_last, expected in ((False, [JAN, FEB]), (True, [JAN, FEB, None])):
        window = Window(ranges, is_last, (ranges,))
        assert seen.filter(window.holds(pl.col("day")))["day"].to_list() == expected


def test_rows_by_day() -> None:
    states = pl.DataFrame({"sale_date": [JAN, None], "rows": [2, 3], "fingerprint": ["a", "b"]})
    assert rows_by_day(states) == {JAN: 2, None: 3}
