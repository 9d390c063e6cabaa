"""The date dimension: whole years of days, with the bank holidays of England and the shop's fiscal year."""

from datetime import date

import polars as pl

from retail_platform.contracts import DIM_DATE


def date_dimension(first_year: int, last_year: int, fiscal_year_start_month: int) -> pl.DataFrame:
    """Make `dim_date` for whole calendar years.

    Args:
        first_year: the first year.
        last_year: the last year, included.
        fiscal_year_start_month: 1 to 12. A fiscal year is named by the calendar year in which it ends.

    Returns:
        Contract `DimDate`, by day.

    Raises:
        ValueError: the last year is before the first, or the month is none.
    """
    if last_year < first_year:
        raise ValueError(f"years {first_year} to {last_year} were given; the last must not be before the first")
    if not 1 <= fiscal_year_start_month <= 12:
        raise ValueError(f"fiscal_year_start_month is {fiscal_year_start_month}; give a month from 1 to 12")
    day = pl.col("date")
    # Months since January of the calendar year in which the fiscal year starts.
    elapsed = (day.dt.month().cast(pl.Int16) - fiscal_year_start_month) % 12
    ends_next_year = (day.dt.month() >= fiscal_year_start_month) & (fiscal_year_start_month > 1)
    days = _days(first_year, last_year).with_columns(
        date_key=day.dt.strftime("%Y%m%d").cast(pl.Int32),
        year=day.dt.year(),
        quarter=day.dt.quarter(),
        month=day.dt.month(),
        month_name=day.dt.strftime("%B"),
        week=day.dt.week(),
        day_of_month=day.dt.day(),
        day_of_week=day.dt.weekday(),
        day_name=day.dt.strftime("%A"),
        is_weekend=day.dt.weekday() > 5,
        is_holiday=pl.col("holiday_name").is_not_null(),
        fiscal_year=day.dt.year() + ends_next_year.cast(pl.Int32),
        fiscal_quarter=elapsed // 3 + 1,
    )
    return days.select(*DIM_DATE.schema).cast(DIM_DATE.schema)


def _days(first_year: int, last_year: int) -> pl.DataFrame:
    """Every day of the years with holiday_name, null on other days."""
    days = pl.date_range(date(first_year, 1, 1), date(last_year, 12, 31), eager=True).alias("date").to_frame()
    return days.join(_bank_holidays(first_year, last_year), on="date", how="left", maintain_order="left")


def _bank_holidays(first_year: int, last_year: int) -> pl.DataFrame:
    # Only what builds the calendar pays for this import (0.3 s), not every load of the definitions.
    import holidays

    england = holidays.country_holidays("GB", subdiv="ENG", years=range(first_year, last_year + 1))
    return pl.DataFrame(
        {"date": list(england.keys()), "holiday_name": list(england.values())},
        schema={"date": pl.Date, "holiday_name": pl.String},
    )
