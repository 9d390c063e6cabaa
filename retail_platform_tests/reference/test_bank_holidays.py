"""Bank holidays of countries: known days, and the same for England as the calendar has."""

from datetime import date

import polars as pl

from retail_platform.reference.bank_holidays import read_bank_holidays
from retail_platform.transforms.calendar import date_dimension

YEARS = (2009, 2010, 2011)


def test_known_days_in_english() -> None:
    frame, unknown = read_bank_holidays(["FR", "DE", "FR"], [2010])
    names = {(code, day): name for code, day, name in frame.iter_rows()}
    assert names["FR", date(2010, 7, 14)] == "National Day"
    assert names["DE", date(2010, 10, 3)] == "German Unity Day"
    assert ("DE", date(2010, 7, 14)) not in names
    assert frame.equals(frame.sort("country_code", "date"))
    assert unknown.is_empty()


def test_england_has_the_days_of_the_calendar() -> None:
    holidays = read_bank_holidays(["GB"], YEARS).frame
    days = date_dimension(2009, 2011, 4).filter("is_holiday")
    assert holidays.select("date", "name").rows() == days.select("date", "holiday_name").rows()


def test_what_the_package_does_not_know_is_listed() -> None:
    frame, unknown = read_bank_holidays(["RW", "SX", "GB"], YEARS)  # Rwanda is absent, Sint Maarten begins in 2011
    assert unknown.rows() == [("RW", 2009), ("RW", 2010), ("RW", 2011), ("SX", 2009), ("SX", 2010)]
    assert frame.filter(pl.col("country_code") == "SX")["date"].dt.year().unique().to_list() == [2011]


def test_nothing_asked() -> None:
    frame, unknown = read_bank_holidays([], [])
    assert (frame.height, unknown.height) == (0, 0)
