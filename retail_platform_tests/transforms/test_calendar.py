from datetime import date

import polars as pl
import pytest

from retail_platform.contracts import DIM_DATE
from retail_platform.transforms.calendar import date_dimension


def test_whole_years_once_each_day() -> None:
    dates = date_dimension(2011, 2012, 4)

    DIM_DATE.contract.validate(dates)
    assert dates["date"].to_list() == pl.date_range(date(2011, 1, 1), date(2012, 12, 31), eager=True).to_list()
    assert dates["date_key"].to_list()[58:60] == [20110228, 20110301]
    assert dates["date_key"].to_list()[365 + 59] == 20120229


def test_names_and_numbers_of_a_day() -> None:
    row = date_dimension(2010, 2010, 4).row(by_predicate=pl.col("date") == date(2010, 1, 2), named=True)

    assert row == {
        "date_key": 20100102,
        "date": date(2010, 1, 2),
        "year": 2010,
        "quarter": 1,
        "month": 1,
        "month_name": "January",
        "week": 53,
        "day_of_month": 2,
        "day_of_week": 6,
        "day_name": "Saturday",
        "is_weekend": True,
        "is_holiday": False,
        "holiday_name": None,
        "fiscal_year": 2010,
        "fiscal_quarter": 4,
    }


@pytest.mark.parametrize(
    ("start_month", "day", "fiscal_year", "fiscal_quarter"),
    [
        (1, date(2011, 12, 31), 2011, 4),
        (4, date(2011, 3, 31), 2011, 4),
        (4, date(2011, 4, 1), 2012, 1),
        (4, date(2011, 12, 31), 2012, 3),
        (12, date(2011, 11, 30), 2011, 4),
        (12, date(2011, 12, 1), 2012, 1),
    ],
)
def test_a_fiscal_year_is_named_by_the_year_in_which_it_ends(
    start_month: int, day: date, fiscal_year: int, fiscal_quarter: int
) -> None:
    dates = date_dimension(2011, 2011, start_month).filter(pl.col("date") == day)

    assert dates.select("fiscal_year", "fiscal_quarter").row(0) == (fiscal_year, fiscal_quarter)


def test_bank_holidays_are_those_of_england() -> None:
    holidays = date_dimension(2011, 2011, 4).filter("is_holiday")
    names = dict(holidays.select("date", "holiday_name").iter_rows())

    assert names[date(2011, 4, 29)] == "Wedding of William and Catherine"
    assert date(2011, 12, 27) in names
    assert date(2011, 1, 4) not in names, "a holiday in Scotland only"
    assert date(2011, 3, 17) not in names, "a holiday in Northern Ireland only"


def test_years_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match="the last must not be before the first"):
        date_dimension(2012, 2011, 4)


@pytest.mark.parametrize("month", [0, 13])
def test_no_such_month(month: int) -> None:
    with pytest.raises(ValueError, match="give a month from 1 to 12"):
        date_dimension(2011, 2011, month)
