"""Assets that ask providers: packaged unless others are allowed, live from a server here, degraded when it is down."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import narwhals as nw
import pytest

from retail_platform.contracts import DAILY_WEATHER, DAY_QUALITY, DIM_COUNTRY, EXCHANGE_RATES, SILVER_REJECTS, Table
from retail_platform.defs.enrichment import daily_weather, exchange_rates
from retail_platform.defs.gold import calendar_and_countries
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.transforms.day_quality import quality_of_days
from retail_platform_tests.providers.conftest import Answer, Server
from retail_platform_tests.providers.test_countries import figures
from retail_platform_tests.providers.test_countries import recorded as recorded_figures
from retail_platform_tests.providers.test_rates import LAST_PACKAGED, packaged_text, zipped
from retail_platform_tests.transforms.frames import silver_lines

FRIDAY, MONDAY = date(2010, 9, 10), date(2010, 9, 13)
ON_FRIDAY = {"EUR": Decimal(1), "GBP": Decimal("0.8234"), "USD": Decimal("1.2725")}
"""As the Banque de France has them."""

LATER = {"USD": "1.1", "GBP": "0.8"}
"""On the days after the packaged file ends."""
DOWN = Answer(503)


def rates_file(usd_on_friday: str = "1.2725") -> Answer:
    """The packaged file with perhaps another rate on the Friday, and fixings on every day since it ended."""
    header, _, rest = packaged_text().partition("\n")
    codes, rows = header.split(","), [row.split(",") for row in rest.splitlines()]
    for row in (row for row in rows if row[0] == str(FRIDAY)):
        row[codes.index("USD")] = usd_on_friday
    days = max((datetime.now(UTC).date() - LAST_PACKAGED).days, 1)
    told = [LATER.get(code, "N/A") for code in codes[1:-1]]
    newer = [[str(LAST_PACKAGED + timedelta(days=n)), *told, ""] for n in range(days, 0, -1)]
    return Answer(body=zipped("\n".join([header, *map(",".join, [*newer, *rows])])))


@pytest.fixture
def live(tmp_path: Path, server: Server) -> Settings:
    """A platform with sales of a Friday and a Monday that asks the server, once."""
    urls = {"rates": f"{server.url}/rates", "countries": f"{server.url}/v2", "weather": f"{server.url}/weather"}
    settings = Settings(
        home=tmp_path, live_providers=True, provider_urls=urls, provider_attempts=1, provider_seconds=0.3
    )
    sell(settings, Days(FRIDAY, date(2010, 9, 14)), {"sale_date": FRIDAY}, {"sale_date": MONDAY, "invoice_no": "2"})
    return settings


def sell(settings: Settings, days: Days, *lines: dict[str, Any]) -> None:
    """Put these sales, counted by day, in place of what the days had."""
    sold, none = silver_lines(*lines).lazy(), SILVER_REJECTS.empty().lazy()
    counted = quality_of_days(nw.from_native(sold), nw.from_native(none)).to_native().collect()
    Lake(settings.lake).replace_days(DAY_QUALITY, counted, [days])


@pytest.fixture
def packaged(live: Settings) -> Settings:
    return live.model_copy(update={"live_providers": False})


def made(settings: Settings, asset: dg.AssetsDefinition, table: Table) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """The rows of the table once its asset has run, and the metadata told of them."""
    lake = Lake(settings.lake)
    result = dg.materialize([asset], resources={"settings": settings, "lake": lake})
    materialised = {event.asset_key: event for event in result.asset_materializations_for_node(asset.op.name)}
    told = materialised[dg.AssetKey([table.layer, table.name])].metadata
    return lake.scan(table).collect().rows(), {name: value.value for name, value in told.items()}


def forget(settings: Settings) -> None:
    """As when answers have expired."""
    shutil.rmtree(settings.providers)


def rates_on(settings: Settings, day: date) -> dict[str, Decimal]:
    rows = Lake(settings.lake).scan(EXCHANGE_RATES).collect().filter(rate_date=day)
    return dict(rows.select("currency_code", "per_eur").iter_rows())


def test_rates_are_the_packaged_ones_unless_others_are_allowed(packaged: Settings, server: Server) -> None:
    rows, told = made(packaged, exchange_rates, EXCHANGE_RATES)
    assert len(rows) == 3 * 4  # currencies, days from Friday to Monday
    assert rates_on(packaged, FRIDAY) == rates_on(packaged, date(2010, 9, 12)) == ON_FRIDAY
    assert (told["source"], told["as_of"], "degraded" in told) == ("packaged", str(LAST_PACKAGED), False)
    assert server.asked == []
    assert not packaged.providers.exists()


def test_a_live_rate_moves_its_days(live: Settings, packaged: Settings, server: Server) -> None:
    made(packaged, exchange_rates, EXCHANGE_RATES)
    lake = Lake(live.lake)
    version = lake.version(EXCHANGE_RATES)
    server.answers = [rates_file("1.3")]
    _, told = made(live, exchange_rates, EXCHANGE_RATES)
    assert rates_on(live, FRIDAY) == {**ON_FRIDAY, "USD": Decimal("1.3")}
    assert (told["source"], told["moved_days"], "degraded" in told) == ("live", 3, False)
    assert lake.changed_days(EXCHANGE_RATES, version) == {FRIDAY, date(2010, 9, 11), date(2010, 9, 12)}


def test_a_server_that_fails_is_left_alone_and_the_packaged_rates_stand_in(live: Settings, server: Server) -> None:
    server.answers = [DOWN]
    _, told = made(live, exchange_rates, EXCHANGE_RATES)
    assert rates_on(live, FRIDAY) == ON_FRIDAY
    assert told["source"] == "packaged"
    assert "status 503" in told["degraded"]
    _, told = made(live, exchange_rates, EXCHANGE_RATES)
    assert "left alone" in told["degraded"]
    assert len(server.asked) == 1


def test_a_server_that_is_slow_degrades(live: Settings, server: Server) -> None:
    server.answers = [Answer(delay=0.6)]
    _, told = made(live, exchange_rates, EXCHANGE_RATES)
    assert (told["source"], rates_on(live, FRIDAY)) == ("packaged", ON_FRIDAY)
    assert "ReadTimeout" in told["degraded"]


@pytest.mark.parametrize("is_allowed", [True, False])
def test_what_a_server_said_of_later_days_outlives_it(live: Settings, server: Server, is_allowed: bool) -> None:
    later = LAST_PACKAGED + timedelta(days=1)
    span = Days(FRIDAY, later + timedelta(days=1))
    sell(live, span, {"sale_date": later})
    server.answers = [rates_file(), DOWN]
    made(live, exchange_rates, EXCHANGE_RATES)
    forget(live)
    afterwards = live.model_copy(update={"live_providers": is_allowed})
    _, told = made(afterwards, exchange_rates, EXCHANGE_RATES)
    assert (told["source"], told["moved_days"], told["held_fixings"]) == ("packaged", 0, 3)
    assert rates_on(live, later) == {"EUR": Decimal(1), "GBP": Decimal("0.8"), "USD": Decimal("1.1")}


def test_facts_of_countries(live: Settings, packaged: Settings, server: Server) -> None:
    _, told = made(packaged, calendar_and_countries, DIM_COUNTRY)
    before = Lake(live.lake).scan(DIM_COUNTRY).collect()
    assert (told["source"], told["as_of"]) == ("packaged", "2011-12-31")
    server.answers = [recorded_figures([{**row, "date": "2011"} for row in figures(1000)])]
    _, told = made(live, calendar_and_countries, DIM_COUNTRY)
    after = Lake(live.lake).scan(DIM_COUNTRY).collect()
    assert told["source"] == "live"
    assert set(after.drop_nulls("country_code")["population"][:200]) == {1000}
    assert after.drop("population", "gdp_per_capita").equals(before.drop("population", "gdp_per_capita"))


def test_weather_is_live_or_none(live: Settings, packaged: Settings, server: Server) -> None:
    rows, told = made(packaged, daily_weather, DAILY_WEATHER)
    assert (rows, told["source"]) == ([], "none")
    assert "no weather is packaged" in told["degraded"]
    days = [str(FRIDAY + timedelta(days=n)) for n in range(4)]
    values = {"temperature_2m_mean": 15.0, "temperature_2m_min": 11.5, "temperature_2m_max": 19.0}
    daily = {"time": days, **{name: [value] * 4 for name, value in {**values, "precipitation_sum": 0.0}.items()}}
    server.answers = [Answer(body=json.dumps({"daily": daily}).encode()), DOWN]
    rows, told = made(live, daily_weather, DAILY_WEATHER)
    assert rows[0] == ("GB", FRIDAY, 15.0, 11.5, 19.0, 0.0)
    assert (len(rows), told["source"], told["as_of"]) == (4, "live", str(MONDAY))
    assert made(live, daily_weather, DAILY_WEATHER)[0] == rows  # kept, nothing is asked again
    assert len(server.asked) == 1
    forget(live)
    outlived, told = made(live, daily_weather, DAILY_WEATHER)
    assert (outlived, len(server.asked)) == (rows, 2)
    assert (told["source"], told["as_of"]) == ("held", str(MONDAY))
    assert "status 503" in told["degraded"]
    outlived, told = made(packaged, daily_weather, DAILY_WEATHER)
    assert (outlived, told["source"], told["as_of"]) == (rows, "held", str(MONDAY))
    abroad = packaged.model_copy(update={"shop_country": "FR"})
    assert made(abroad, daily_weather, DAILY_WEATHER)[0] == []


def test_weather_of_the_last_days_is_waited_for(live: Settings, server: Server) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    span = Days(FRIDAY, yesterday + timedelta(days=1))
    sell(live, span, {"sale_date": yesterday})
    rows, told = made(live, daily_weather, DAILY_WEATHER)
    assert (rows, told["source"], server.asked) == ([], "none", [])
    assert "no weather is known yet" in told["degraded"]
