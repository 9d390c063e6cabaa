"""The country dimension, and which country a shop's spelling means.

The packaged tables are read elsewhere (`reference/`) and passed in; a spelling is added there, not here.
"""

from typing import Any

import narwhals as nw
import polars as pl

from retail_platform.contracts import DIM_COUNTRY
from retail_platform.transforms.keys import UNKNOWN_KEY, surrogate_keys
from retail_platform.transforms.sales import NOT_TEXT

UNKNOWN_COUNTRIES = {
    UNKNOWN_KEY: "Unspecified",
    -2: "European Community",
    -3: "Channel Islands",
    -4: "West Indies",
}
"""Members for what the shop writes but no single ISO code means; -1 also stands for null and unmapped spellings."""


def country_dimension(countries: pl.DataFrame) -> pl.DataFrame:
    """Make `dim_country` of the reference table.

    Args:
        countries: the packaged countries (`reference.read_countries`).

    Returns:
        Contract `DimCountry`: the unknown members, then every country by code.
    """
    schema = DIM_COUNTRY.schema
    unknown = pl.DataFrame(
        {"country_key": list(UNKNOWN_COUNTRIES), "country_name": list(UNKNOWN_COUNTRIES.values())},
        schema={name: schema[name] for name in ("country_key", "country_name")},
    )
    known = surrogate_keys(countries.sort("country_code"), ("country_code",), "country_key")
    return pl.concat([unknown, known], how="diagonal").select(*schema)


def alias_keys(aliases: pl.DataFrame) -> pl.DataFrame:
    """Give each known spelling the key of its country.

    Args:
        aliases: the packaged spellings (`reference.read_country_aliases`).

    Returns:
        spelling and country_key, one row per spelling.
    """
    code = pl.col("member").str.contains(r"^[A-Z]{2}$")
    keyed = surrogate_keys(aliases.filter(code), ("member",), "country_key")
    unknown = aliases.filter(~code).with_columns(country_key=pl.col("member").cast(pl.Int64))
    return pl.concat([keyed, unknown]).select("spelling", "country_key")


def country_keys(lines: nw.LazyFrame[Any], spellings: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Add the country of each line.

    Args:
        lines: any rows with a column country, as the shop spells it.
        spellings: the rows of `alias_keys`, on the same engine.

    Returns:
        The rows with country_key; -1 where the country is null or nobody maps its spelling.
    """
    joined = _with_spelling(lines).join(spellings, on="spelling", how="left")
    return joined.with_columns(nw.col("country_key").fill_null(UNKNOWN_KEY)).drop("spelling")


def unmapped_spellings(lines: nw.LazyFrame[Any], spellings: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The spellings that no alias maps, and how many lines carry them.

    Args:
        lines: any rows with a column country.
        spellings: the rows of `alias_keys`, on the same engine.

    Returns:
        country and lines, one row per spelling as written, in no order.
    """
    named = _with_spelling(lines.filter(~nw.col("country").is_null()))
    return named.join(spellings, on="spelling", how="anti").group_by("country").agg(nw.len().alias("lines"))


def unplaced_lines(lines: nw.LazyFrame[Any], spellings: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The lines whose country is null or spelt in a way that no alias maps.

    A line whose spelling is mapped to one of `UNKNOWN_COUNTRIES` is none of them: the shop itself says so.

    Args:
        lines: any rows with a column country, as the shop spells it.
        spellings: the rows of `alias_keys`, on the same engine.
    """
    return _with_spelling(lines).join(spellings, on="spelling", how="anti").drop("spelling")


def _with_spelling(lines: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    # The capital I with a dot is the one letter whose lower case, in some engines, is one of the alphabet.
    country = nw.col("country").str.strip_chars(NOT_TEXT).str.replace_all("\u0130", "i", literal=True)
    return lines.with_columns(spelling=country.str.to_lowercase())
