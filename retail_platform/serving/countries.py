"""Which country a person means: by name, ISO 3166 alpha-2 or alpha-3 code, or a usual short form (UK, USA, EIRE).

The spellings are the packaged ones that the lake itself reads countries by; one is added there
(`reference/country_aliases.csv`), not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from retail_platform.reference import read_countries, read_country_aliases
from retail_platform.serving.query.errors import QuestionError
from retail_platform.transforms.countries import alias_keys, country_dimension


@dataclass(frozen=True)
class Country:
    """A row of dim_country.

    Attributes:
        key: `country_key`.
        code: ISO 3166 alpha-2; None for what is no single country, such as Unspecified.
        name: as served.
    """

    key: int
    code: str | None
    name: str


def read_country(written: str, argument: str) -> Country:
    """The country that somebody wrote.

    Args:
        written: name, code or short form, in any case.
        argument: where it was written, for the error.

    Returns:
        The country.

    Raises:
        QuestionError: no country is written so; the nearest spellings are named.
    """
    countries, spelling = _countries(), written.strip().lower()
    if spelling in countries:
        return countries[spelling]
    near = dict.fromkeys(countries[match].name for match in get_close_matches(spelling, countries, n=5, cutoff=0.6))
    meant = f" Near it: {', '.join(near)}." if near else ""
    raise QuestionError(
        argument,
        f"no country is written {written[:60]!r}; write its English name, its ISO 3166 code (GB, GBR) or a usual short "
        f"form (UK, USA, EIRE).{meant}",
    )


@cache
def _countries() -> Mapping[str, Country]:
    """Country by spelling, in lower case."""
    columns = country_dimension(read_countries()).select("country_key", "country_code", "country_name")
    by_key = {key: Country(key, code, name) for key, code, name in columns.iter_rows()}
    return {spelling: by_key[key] for spelling, key in alias_keys(read_country_aliases()).iter_rows()}
