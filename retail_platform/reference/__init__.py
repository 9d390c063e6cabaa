"""Packaged reference tables: countries and the spellings that mean them.

Sources, years and licences are in docs/reference-data.md. Only the reading lives here; what is made of the tables is in
`transforms/countries.py`.
"""

from importlib.resources import files

import polars as pl

_COUNTRIES = pl.Schema(
    {
        "country_code": pl.String(),
        "country_name": pl.String(),
        "region": pl.String(),
        "continent": pl.String(),
        "currency_code": pl.String(),
        "gdp_per_capita": pl.Decimal(18, 4),
        "population": pl.Int64(),
        "timezone": pl.String(),
        "latitude": pl.Float64(),
        "longitude": pl.Float64(),
        "is_eu_member": pl.Boolean(),
        "tax_rate": pl.Decimal(9, 4),
    }
)
_ALIASES = pl.Schema({"spelling": pl.String(), "member": pl.String()})


def read_countries() -> pl.DataFrame:
    """Every country of ISO 3166-1: the columns of `DimCountry` but the key."""
    return _read("countries.csv", _COUNTRIES)


def read_country_aliases() -> pl.DataFrame:
    """Spellings of countries, trimmed and in lower case, with the ISO code or unknown member (-1 to -4) they mean."""
    return _read("country_aliases.csv", _ALIASES)


def _read(name: str, schema: pl.Schema) -> pl.DataFrame:
    return pl.read_csv(files(__name__).joinpath(name).read_bytes(), schema=schema)
