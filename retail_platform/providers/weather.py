"""Daily weather at the capitals of countries.

Nothing is packaged. Live: Open-Meteo's Historical Weather API, by its documentation: reanalysis since 1940 that ends
some days before today, free without a key for other than commercial use; its answer has one list of days and one of as
many values for each variable asked, null where a day has none yet.
"""

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import BaseModel, Field

from retail_platform.providers.provided import Provided, ProviderError

if TYPE_CHECKING:
    from retail_platform.providers.client import Client

OPEN_METEO = "https://archive-api.open-meteo.com/v1/archive"
KEPT = timedelta(days=30)

_Celsius = Annotated[float, Field(ge=-95, le=60)]
"""The records are -89.2 and 56.7."""
_Millimetres = Annotated[float, Field(ge=0, le=2000)]
"""The record of a day is 1,825."""

WEATHER = pl.Schema(
    {
        "country_code": pl.String(),
        "date": pl.Date(),
        "temperature_mean": pl.Float64(),
        "temperature_min": pl.Float64(),
        "temperature_max": pl.Float64(),
        "precipitation": pl.Float64(),
    }
)


class _Days(BaseModel):
    """One value per day; degrees Celsius and millimetres are the API's defaults."""

    time: list[date]
    temperature_2m_mean: list[_Celsius | None]
    temperature_2m_min: list[_Celsius | None]
    temperature_2m_max: list[_Celsius | None]
    precipitation_sum: list[_Millimetres | None]


class _Answer(BaseModel):
    daily: _Days


_VARIABLES = tuple(_Days.model_fields)[1:]


def daily_weather(
    client: "Client | None", places: pl.DataFrame, first: date, last: date, url: str = OPEN_METEO
) -> Provided:
    """The weather of each day at each place.

    Args:
        client: None for no weather. With none of the days due (last before first), nobody is asked.
        places: country_code, latitude and longitude (degrees) and timezone (IANA; null is Greenwich), for example of
            `reference.read_countries`; rows without a place are left out.
        first: the first day.
        last: the last day; the API refuses days that it has not yet, so leave out those of the last week.
        url: where the API is.

    Returns:
        (country_code, date, temperature_mean, temperature_min, temperature_max, precipitation) by country and day, in
        degrees Celsius and millimetres; the days that have any of it. Countries whose answer failed are missing, and
        the problem names them.
    """
    if client is None:
        return Provided(WEATHER.to_frame(), "none", None, "no weather is packaged; allow live providers to ask for it")
    if first > last:
        return Provided(
            WEATHER.to_frame(), "none", None, f"no weather is known yet of days after {last}; a later run asks"
        )
    frames, problems = [WEATHER.to_frame()], []
    for place in places.drop_nulls(["latitude", "longitude"]).sort("country_code").iter_rows(named=True):
        try:
            frames.append(_ask(client, place, first, last, url))
        except ProviderError as error:
            problems.append(f"{place['country_code']}: {error}")
    frame = pl.concat(frames)
    newest = frame["date"].max()
    problem = f"{len(problems)} countries have no weather, the first {problems[0]}" if problems else None
    return Provided(
        frame, "none" if frame.is_empty() else "live", newest if isinstance(newest, date) else None, problem
    )


def or_held(provided: Provided, held: pl.DataFrame) -> Provided:
    """What is provided or, where nothing was because of a problem, what was provided before.

    Args:
        provided: of `daily_weather`.
        held: the same columns.
    """
    newest = held["date"].max()
    if provided.problem is None or not provided.frame.is_empty() or not isinstance(newest, date):
        return provided
    return replace(provided, frame=held, source="held", as_of=newest)


def _ask(client: "Client", place: dict[str, Any], first: date, last: date, url: str) -> pl.DataFrame:
    def parse(body: bytes) -> pl.DataFrame:
        days = _Answer.model_validate_json(body).daily
        due = (last - first).days + 1
        if days.time != [first + timedelta(days=n) for n in range(due)]:
            raise ValueError(f"{len(days.time)} days are in it, not the {due} from {first} to {last}")
        if any(len(getattr(days, name)) != due for name in _VARIABLES):
            raise ValueError("a variable has not one value per day")
        return _frame(place["country_code"], days)

    return client.get(url, parse, max_age=KEPT, params=_question(place, first, last))


def _question(place: dict[str, Any], first: date, last: date) -> dict[str, str]:
    return {
        "latitude": f"{place['latitude']:.4f}",
        "longitude": f"{place['longitude']:.4f}",
        "start_date": first.isoformat(),
        "end_date": last.isoformat(),
        "daily": ",".join(_VARIABLES),
        "timezone": place["timezone"] or "GMT",
    }


def _frame(country_code: str, days: _Days) -> pl.DataFrame:
    values = dict(zip(tuple(WEATHER)[2:], (getattr(days, name) for name in _VARIABLES), strict=True))
    frame = pl.DataFrame({"country_code": country_code, "date": days.time, **values}, schema=WEATHER)
    return frame.filter(pl.any_horizontal(pl.col(*values).is_not_null()))
