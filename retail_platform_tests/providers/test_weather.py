"""Weather: answers written by hand after Open-Meteo's documented format."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retail_platform.providers.client import Client
from retail_platform.providers.provided import Provided
from retail_platform.providers.weather import WEATHER, daily_weather, or_held
from retail_platform.reference import read_countries
from retail_platform_tests.providers.conftest import QUICK, Answer, Server

FIRST, LAST = date(2011, 1, 1), date(2011, 1, 2)
PLACES = read_countries().filter(pl.col("country_code").is_in(["GB"]))
DAYS: dict[str, list[Any]] = {
    "time": ["2011-01-01", "2011-01-02"],
    "temperature_2m_mean": [4.1, None],
    "temperature_2m_max": [6.0, None],
    "temperature_2m_min": [2.5, None],
    "precipitation_sum": [0.3, None],
}


def recorded(**changed: list[Any]) -> Answer:
    about = {
        "latitude": 51.5,
        "longitude": -0.12,
        "generationtime_ms": 0.1,
        "utc_offset_seconds": 0,
        "timezone": "Europe/London",
        "timezone_abbreviation": "GMT",
        "elevation": 16.0,
        "daily_units": {"time": "iso8601", "temperature_2m_mean": "°C", "precipitation_sum": "mm"},
    }
    return Answer(body=json.dumps({**about, "daily": {**DAYS, **changed}}).encode())


def test_without_a_client_there_is_none() -> None:
    provided = daily_weather(None, PLACES, FIRST, LAST)
    assert (provided.frame.schema, provided.frame.height) == (WEATHER, 0)
    assert (provided.source, provided.as_of) == ("none", None)
    assert provided.problem == "no weather is packaged; allow live providers to ask for it"


def test_where_no_day_is_due_nobody_is_asked(server: Server, client: Client) -> None:
    provided = daily_weather(client, PLACES, LAST, FIRST, server.url)
    assert (provided.frame.schema, provided.frame.height, provided.source) == (WEATHER, 0, "none")
    assert provided.problem == "no weather is known yet of days after 2011-01-01; a later run asks"
    assert server.asked == []


def test_what_was_held_stands_in_and_is_told() -> None:
    held = pl.DataFrame([("GB", FIRST, 4.1, 2.5, 6.0, 0.3)], schema=WEATHER, orient="row")
    none = Provided(WEATHER.to_frame(), "none", None, "down")
    assert or_held(none, held) == Provided(held, "held", FIRST, "down")
    assert or_held(none, WEATHER.to_frame()) is none
    live = Provided(held, "live", FIRST)
    assert or_held(live, WEATHER.to_frame()) is live
    empty = Provided(WEATHER.to_frame(), "none", None)
    assert or_held(empty, held) is empty  # the provider said that there is none


def test_days_without_any_value_are_left_out(server: Server, client: Client) -> None:
    server.answers = [recorded()]
    provided = daily_weather(client, PLACES, FIRST, LAST, f"{server.url}/v1/archive")
    assert provided.frame.rows() == [("GB", FIRST, 4.1, 2.5, 6.0, 0.3)]
    assert (provided.source, provided.as_of, provided.problem) == ("live", FIRST, None)
    assert server.asked == [
        "/v1/archive?latitude=51.5085&longitude=-0.1257&start_date=2011-01-01&end_date=2011-01-02&daily="
        "temperature_2m_mean%2Ctemperature_2m_min%2Ctemperature_2m_max%2Cprecipitation_sum&timezone=Europe%2FLondon"
    ]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(500), "status 500"),
        (Answer(400, body=b'{"error":true,"reason":"x"}'), "status 400"),
        (Answer(body=b"{"), "Invalid JSON"),
        (recorded(time=["2011-01-01"]), "1 days are in it, not the 2 from 2011-01-01 to 2011-01-02"),
        (recorded(precipitation_sum=[0.3]), "not one value per day"),
        (recorded(temperature_2m_mean=[400, None]), "less than or equal to 60"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_answer_is_no_weather_and_says_why(server: Server, client: Client, answer: Answer, problem: str) -> None:
    server.answers = [answer]
    provided = daily_weather(client, PLACES, FIRST, LAST, server.url)
    assert (provided.frame.schema, provided.frame.height, provided.source) == (WEATHER, 0, "none")
    assert re.search(f"^1 countries have no weather, the first GB: .*{problem}", provided.problem or "", re.DOTALL)


def test_a_dead_host_is_not_asked_for_every_country(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(503)]
    with Client(tmp_path, replace(QUICK, failures=3)) as client:
        provided = daily_weather(client, read_countries(), FIRST, LAST, server.url)
    assert provided.source == "none"
    assert len(server.asked) == 3


def test_one_country_that_fails_takes_nothing_from_the_others(server: Server, client: Client) -> None:
    places = read_countries().filter(pl.col("country_code").is_in(["FR", "GB", "AQ"]))  # AQ has no capital
    server.answers = [Answer(404), recorded()]
    provided = daily_weather(client, places, FIRST, LAST, server.url)
    assert provided.frame["country_code"].to_list() == ["GB"]
    assert (provided.source, len(server.asked)) == ("live", 2)
    assert (provided.problem or "").startswith("1 countries have no weather, the first FR: ")
