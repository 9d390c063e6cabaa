from decimal import Decimal

import polars as pl
import pytest

from retail_platform.contracts import DIM_COUNTRY
from retail_platform.reference import read_countries, read_country_aliases
from retail_platform.transforms.countries import (
    UNKNOWN_COUNTRIES,
    alias_keys,
    country_dimension,
    country_keys,
    unmapped_spellings,
)
from retail_platform_tests.transforms.conftest import Engine
from retail_platform_tests.transforms.frames import rows_of


@pytest.fixture(scope="module")
def dimension() -> pl.DataFrame:
    return country_dimension(read_countries())


@pytest.fixture(scope="module")
def spellings() -> pl.DataFrame:
    return alias_keys(read_country_aliases())


def test_every_country_and_every_unknown_member_is_there(dimension: pl.DataFrame) -> None:
    DIM_COUNTRY.contract.validate(dimension)
    assert dimension.height == 249 + 4
    assert dict(dimension.head(4).select("country_key", "country_name").iter_rows()) == UNKNOWN_COUNTRIES
    assert dimension["country_code"].drop_nulls().is_unique().all()
    assert dimension.filter("is_eu_member").height == 27


def test_figures_of_a_country(dimension: pl.DataFrame) -> None:
    row = dimension.row(by_predicate=pl.col("country_code") == "GB", named=True)

    assert {name: row[name] for name in ("country_name", "region", "continent", "currency_code", "timezone")} == {
        "country_name": "United Kingdom",
        "region": "Northern Europe",
        "continent": "Europe",
        "currency_code": "GBP",
        "timezone": "Europe/London",
    }
    assert row["tax_rate"] == Decimal(20)
    assert row["is_eu_member"]
    assert 40_000 < row["gdp_per_capita"] < 45_000


def test_spellings_are_normalised_unique_and_lead_to_a_member(dimension: pl.DataFrame, spellings: pl.DataFrame) -> None:
    written = spellings["spelling"]

    assert written.is_unique().all()
    assert written.to_list() == written.str.strip_chars().str.to_lowercase().to_list()
    assert set(spellings["country_key"]) == set(dimension["country_key"])


@pytest.mark.parametrize("column", ["country_code", "country_name"])
def test_every_code_and_name_of_a_country_is_a_spelling(
    dimension: pl.DataFrame, spellings: pl.DataFrame, column: str
) -> None:
    named = dimension.filter(pl.col("country_code").is_not_null()).select(
        pl.col(column).str.to_lowercase().alias("spelling"), "country_key"
    )

    assert named.join(spellings, on=["spelling", "country_key"], how="anti").is_empty()


@pytest.mark.parametrize(
    ("spelling", "member"),
    [
        ("EIRE", "Ireland"),
        ("RSA", "South Africa"),
        ("USA", "United States"),
        ("U.K.", "United Kingdom"),
        ("Korea", "South Korea"),
        ("Czech Republic", "Czechia"),
        ("  united KINGDOM ", "United Kingdom"),
        ("NA", "Namibia"),
        ("Channel Islands", "Channel Islands"),
        ("European Community", "European Community"),
        ("West Indies", "West Indies"),
        ("Unspecified", "Unspecified"),
        ("Atlantis", "Unspecified"),
        (None, "Unspecified"),
    ],
)
def test_the_country_of_a_line(
    engine: Engine, dimension: pl.DataFrame, spellings: pl.DataFrame, spelling: str | None, member: str
) -> None:
    lines = pl.DataFrame({"country": [spelling], "n": [7]}, schema={"country": pl.String, "n": pl.Int64})
    found = rows_of(country_keys(engine(lines), engine(spellings)), ["n", "country", "country_key"])
    key = dimension.row(by_predicate=pl.col("country_name") == member, named=True)["country_key"]

    assert found == [(7, spelling, key)]


def test_spellings_that_nobody_maps_are_counted_as_written(engine: Engine, spellings: pl.DataFrame) -> None:
    lines = pl.DataFrame({"country": ["Atlantis", "Atlantis", "Lemuria", "EIRE", None]})

    assert rows_of(unmapped_spellings(engine(lines), engine(spellings)), ["country", "lines"]) == [
        ("Atlantis", 2),
        ("Lemuria", 1),
    ]
