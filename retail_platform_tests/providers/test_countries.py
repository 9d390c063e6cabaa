"""Country facts: packaged, and live answers written by hand after the World Bank's documented format."""

import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from retail_platform.providers.client import Client
from retail_platform.providers.countries import INCOME, POPULATION, country_facts
from retail_platform.reference import read_countries
from retail_platform_tests.providers.conftest import Answer, Server

CODES = read_countries()["country_code"].to_list()[:200]
PATH = "/v2/country/all/indicator/"


def row(code: str, value: float | None, year: int = 2024) -> dict[str, Any]:
    return {
        "indicator": {"id": POPULATION, "value": "Population, total"},
        "country": {"id": code, "value": "…"},
        "countryiso3code": "…",
        "date": str(year),
        "value": value,
        "unit": "",
        "obs_status": "",
        "decimal": 0,
    }


def recorded(rows: list[dict[str, Any]], pages: int = 1) -> Answer:
    page = {"page": 1, "pages": pages, "per_page": 1000, "total": len(rows), "sourceid": "2", "lastupdated": "…"}
    return Answer(body=json.dumps([page, rows]).encode())


def figures(value: float) -> list[dict[str, Any]]:
    return [row(code, value) for code in CODES]


def test_packaged_facts_are_those_of_the_reference_table() -> None:
    provided = country_facts(None)
    assert provided.frame.equals(read_countries())
    assert (provided.source, provided.as_of, provided.problem) == ("packaged", date(2011, 12, 31), None)


def test_live_figures_are_laid_over_the_packaged_ones(server: Server, client: Client) -> None:
    aggregate, unknown = row("1W", 8e9), row(CODES[0], None)
    server.by_path = {
        PATH + POPULATION: recorded([aggregate, unknown, *figures(1000)[1:]]),
        PATH + INCOME: recorded(figures(1234.565)),
    }
    provided = country_facts(client, 2024, f"{server.url}/v2")
    packaged, live = read_countries(), provided.frame
    figure_columns = ("population", "gdp_per_capita")
    assert live.drop(figure_columns).equals(packaged.drop(figure_columns))
    assert live["population"].to_list() == [packaged["population"][0], *[1000] * 199, *packaged["population"][200:]]
    assert set(live["gdp_per_capita"][:200]) == {Decimal("1234.57")}
    assert (provided.source, provided.as_of, provided.problem) == ("live", date(2024, 12, 31), None)
    assert server.asked[0] == f"{PATH}{POPULATION}?format=json&date=2024&per_page=1000"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(500), "status 500"),
        (Answer(body=b"<html>"), "Invalid JSON"),
        (Answer(body=b'[{"message":[{"id":"120","key":"Invalid value","value":"x"}]}]'), "Field required"),
        (recorded(figures(1000), pages=2), "less than or equal to 1"),
        (recorded([row(code, 1000, 2023) for code in CODES]), "0 countries have a figure"),
        (recorded(figures(1000)[:10]), "10 countries have a figure"),
        (recorded(figures(4e9)), "more than 3,000,000,000"),
        (recorded(figures(-1)), "greater than 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_answer_degrades_and_says_why(server: Server, client: Client, answer: Answer, problem: str) -> None:
    server.answers = [answer]
    provided = country_facts(client, 2024, f"{server.url}/v2")
    assert provided.frame.equals(read_countries())
    assert (provided.source, provided.as_of) == ("packaged", date(2011, 12, 31))
    assert re.search(problem, provided.problem or "")
    assert len(provided.problem or "") < 700
