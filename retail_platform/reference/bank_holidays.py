"""Bank holidays of countries, from the Python package `holidays` (its release is the source's year).

Those of `dim_date` are made in `transforms/calendar.py`, the same for England.
"""

from collections.abc import Collection, Iterable
from itertools import product
from typing import NamedTuple

import polars as pl

_SUBDIVISIONS = {"GB": "ENG"}
"""Countries whose shops keep the holidays of a part: the United Kingdom has few in common."""
_LANGUAGE = "en_US"
"""Every country that the package has in several languages has this one; the others are in English, or in their own."""

_SCHEMA = pl.Schema({"country_code": pl.String(), "date": pl.Date(), "name": pl.String()})


class BankHolidays(NamedTuple):
    """Bank holidays, and what is not known.

    Attributes:
        frame: (country_code, date, name) by country and day, a row per day; several holidays of one day are joined.
        unknown: (country_code, year) that the package has nothing for: an absent country, or a year before its first.
    """

    frame: pl.DataFrame
    unknown: pl.DataFrame


def read_bank_holidays(country_codes: Iterable[str], years: Collection[int]) -> BankHolidays:
    """Bank holidays of countries, with their substitutes (marked `(observed)`), in whole years.

    Args:
        country_codes: ISO 3166-1 alpha-2.
        years: calendar years.
    """
    codes = sorted(set(country_codes))
    rows = [row for code in codes for row in _of_country(code, years)]
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("country_code", "date")
    asked = pl.DataFrame(
        list(product(codes, years)), schema={"country_code": pl.String(), "year": pl.Int32()}, orient="row"
    )
    known = frame.select("country_code", year=pl.col("date").dt.year())
    unknown = asked.join(known, on=["country_code", "year"], how="anti").sort("country_code", "year")
    return BankHolidays(frame, unknown)


def _of_country(code: str, years: Collection[int]) -> list[tuple[str, object, str]]:
    # Only what builds the table pays for this import (0.3 s), not every load of the definitions.
    import holidays

    if code not in holidays.list_supported_countries(include_aliases=False):
        return []
    found = holidays.country_holidays(code, subdiv=_SUBDIVISIONS.get(code), years=years, language=_LANGUAGE)
    return [(code, day, name) for day, name in found.items()]
