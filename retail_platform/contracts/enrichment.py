"""What is known of days and countries beside the sales: exchange rates, bank holidays, weather."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

from retail_platform.contracts.base import Contract, Table

Rate = Annotated[pl.Decimal, 18, 6]
"""An exchange rate as published: units of a currency for one euro, at most 6 decimal places."""
CrossRate = Annotated[pl.Decimal, 18, 10]
"""A rate that goes through the euro, rounded to 10 decimal places: to read, not to convert with."""


class ExchangeRates(Contract):
    """One row per day and currency: what one euro, and one unit of the shop's currency, were in it.

    Grain: (rate_date, currency_code).  Source: reference rates of the European Central Bank (docs/reference-data.md).
    Units: units of the currency for one euro, and for one unit of the shop's currency.
    Every day from the first to the last sale, for the shop's currency, EUR and USD. A day without a fixing has the
    last one before it, at most a week old; where that is older there is no row.
    """

    rate_date: pl.Date = pa.Field(description="The day.")
    currency_code: pl.String = pa.Field(
        str_length={"min_value": 3, "max_value": 3}, description="ISO 4217 code of the currency."
    )
    per_eur: Rate = pa.Field(gt=0, description="Units of the currency for one euro, as published.")
    per_shop: CrossRate = pa.Field(
        gt=0,
        nullable=True,
        description="Units of the currency for one of the shop's; null where the shop's currency has no rate.",
    )
    fixed_on: pl.Date = pa.Field(description="Day of the fixing.")
    age_days: pl.Int16 = pa.Field(
        in_range={"min_value": 0, "max_value": 7}, description="Days from the fixing to the day."
    )


EXCHANGE_RATES = Table("gold", "exchange_rates", ExchangeRates, key=("rate_date", "currency_code"))


class BankHolidays(Contract):
    """One row per country and day that is a bank holiday there; of every country that a line was sold to.

    Grain: (country_code, date).  Source: the Python package holidays, for the years of gold/dim_date.
    The United Kingdom has those of England; a substitute for a holiday on a weekend is marked (observed).
    """

    country_code: pl.String = pa.Field(
        str_length={"min_value": 2, "max_value": 2}, description="ISO 3166-1 alpha-2 code of the country."
    )
    date: pl.Date = pa.Field(description="The day.")
    name: pl.String = pa.Field(description="Name of the holiday; several of one day are joined by a semicolon.")


BANK_HOLIDAYS = Table("gold", "bank_holidays", BankHolidays, key=("country_code", "date"))


class DailyWeather(Contract):
    """One row per day: the weather at the capital of the shop's country. Empty unless live providers are asked.

    Grain: (country_code, date).  Source: Open-Meteo's historical weather (docs/reference-data.md); nothing is packaged.
    Units: degrees Celsius, millimetres.
    """

    country_code: pl.String = pa.Field(
        str_length={"min_value": 2, "max_value": 2}, description="ISO 3166-1 alpha-2 code of the country."
    )
    date: pl.Date = pa.Field(description="The day.")
    temperature_mean: pl.Float64 = pa.Field(
        nullable=True, in_range={"min_value": -95, "max_value": 60}, description="Mean temperature of the day."
    )
    temperature_min: pl.Float64 = pa.Field(
        nullable=True, in_range={"min_value": -95, "max_value": 60}, description="Lowest temperature of the day."
    )
    temperature_max: pl.Float64 = pa.Field(
        nullable=True, in_range={"min_value": -95, "max_value": 60}, description="Highest temperature of the day."
    )
    precipitation: pl.Float64 = pa.Field(
        nullable=True, in_range={"min_value": 0, "max_value": 2000}, description="Rain and melted snow of the day."
    )


DAILY_WEATHER = Table("gold", "daily_weather", DailyWeather, key=("country_code", "date"))
