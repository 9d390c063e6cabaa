"""Countries as people write them."""

import pytest

from retail_platform.serving.countries import read_country
from retail_platform.serving.query.errors import QuestionError


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("UK", "GB"),
        ("gb", "GB"),
        ("GBR", "GB"),
        (" United Kingdom ", "GB"),
        ("USA", "US"),
        ("US", "US"),
        ("EIRE", "IE"),
        ("Deutschland", "DE"),
        ("Channel Islands", None),
    ],
)
def test_names_codes_and_short_forms(written: str, code: str | None) -> None:
    assert read_country(written, "country").code == code


def test_the_key_is_that_of_dim_country() -> None:
    assert read_country("Unspecified", "country").key == -1
    assert read_country("France", "country").key > 0


def test_an_unknown_country_is_told_its_near_matches() -> None:
    with pytest.raises(QuestionError) as refused:
        read_country("Untied Kingdom", "countries")
    assert refused.value.argument == "countries"
    assert "'Untied Kingdom'" in refused.value.detail
    assert "United Kingdom" in refused.value.detail


@pytest.mark.parametrize("written", ["", "'; drop table gold.fact_sale; --", "x" * 10_000, "\x00"])
def test_nonsense_is_refused_shortly(written: str) -> None:
    with pytest.raises(QuestionError) as refused:
        read_country(written, "country")
    assert len(refused.value.detail) < 400
