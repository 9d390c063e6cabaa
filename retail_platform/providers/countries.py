"""Figures of countries that change from year to year: population and income.

Packaged: `reference/countries.csv`, of the end of 2011. Live: the World Bank's Indicators API, version 2, by its
documentation ("API Basic Call Structures"): a list of two, what page it is and the rows, one per country and
aggregate; a wrong question is answered with status 200 and a list of one message. The other facts (name, currency,
zone, place, tax) are packaged only.
"""

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Annotated

import polars as pl
from pydantic import BaseModel, Field, TypeAdapter

from retail_platform.providers.provided import Provided, live_or
from retail_platform.reference import read_countries

if TYPE_CHECKING:
    from retail_platform.providers.client import Client

WORLD_BANK = "https://api.worldbank.org/v2"
KEPT = timedelta(days=30)
PACKAGED_YEAR = 2011

POPULATION = "SP.POP.TOTL"
INCOME = "NY.GDP.PCAP.CD"
"""Gross domestic product per inhabitant, current US dollars."""

_FEWEST = 150
"""Countries with a figure; the World Bank lists 217."""
_MOST = {POPULATION: Decimal(3 * 10**9), INCOME: Decimal(10**6)}
"""About twice what any country has."""


class _Page(BaseModel):
    pages: int = Field(le=1)


class _Code(BaseModel):
    id: str


class _Row(BaseModel):
    country: _Code
    date: str
    value: Annotated[Decimal, Field(gt=0)] | None


_ANSWER = TypeAdapter(tuple[_Page, list[_Row]])


def country_facts(client: "Client | None", year: int = PACKAGED_YEAR, url: str = WORLD_BANK) -> Provided:
    """Every country of ISO 3166-1, with its figures of a year.

    Args:
        client: None for the packaged figures.
        year: of the live figures.
        url: where the API is.

    Returns:
        The columns of `reference.read_countries`, by code; population and gdp_per_capita are live where the World Bank
        has them, packaged elsewhere.
    """
    countries = read_countries()
    packaged = Provided(countries, "packaged", date(PACKAGED_YEAR, 12, 31))
    if client is None:
        return packaged
    return live_or(lambda: _live(client, countries, year, url), packaged)


def _live(client: "Client", countries: pl.DataFrame, year: int, url: str) -> Provided:
    codes = frozenset(countries["country_code"])
    population = _ask(client, POPULATION, year, codes, url)
    income = _ask(client, INCOME, year, codes, url)
    figures: dict[str, dict[str, int] | dict[str, Decimal]] = {
        "population": {code: int(value) for code, value in population.items()},
        "gdp_per_capita": {code: value.quantize(Decimal("0.01"), ROUND_HALF_UP) for code, value in income.items()},
    }
    for column, of_country in figures.items():
        schema = {"country_code": pl.String(), column: countries.schema[column]}
        live = pl.DataFrame({"country_code": list(of_country), column: list(of_country.values())}, schema=schema)
        countries = countries.update(live, on="country_code")
    return Provided(countries, "live", date(year, 12, 31))


def _ask(client: "Client", indicator: str, year: int, codes: frozenset[str], url: str) -> dict[str, Decimal]:
    """The figure of each country that has one."""

    def parse(body: bytes) -> dict[str, Decimal]:
        _, rows = _ANSWER.validate_json(body)
        told = ((row.country.id, row.value) for row in rows if row.date == str(year))
        return _judged({code: value for code, value in told if value is not None and code in codes}, indicator)

    params = {"format": "json", "date": str(year), "per_page": "1000"}
    return client.get(f"{url}/country/all/indicator/{indicator}", parse, max_age=KEPT, params=params)


def _judged(figures: dict[str, Decimal], indicator: str) -> dict[str, Decimal]:
    absurd = {code: value for code, value in figures.items() if value > _MOST[indicator]}
    if absurd:
        raise ValueError(f"{indicator} is more than {_MOST[indicator]:,} for {absurd}")
    if len(figures) < _FEWEST:
        raise ValueError(f"{len(figures)} countries have a figure of {indicator} in it, at least {_FEWEST} were due")
    return figures
