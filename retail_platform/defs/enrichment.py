"""Enrichment in gold: exchange rates, bank holidays and weather, packaged or of live providers."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import (
    BANK_HOLIDAYS,
    DAILY_WEATHER,
    DAY_QUALITY,
    DIM_COUNTRY,
    DIM_DATE,
    EXCHANGE_RATES,
    FACT_SALE,
)
from retail_platform.defs.layers import AFTER_MARTS, LAKE_POOL, key_of, table_spec
from retail_platform.defs.provided import provider_client, told
from retail_platform.defs.reports import BLOCKING, check_specs, require, result_of, written
from retail_platform.lakehouse.days import stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.providers import weather
from retail_platform.providers.rates import ECB, fixings
from retail_platform.reference import read_countries
from retail_platform.reference.bank_holidays import read_bank_holidays
from retail_platform.settings import Settings
from retail_platform.transforms.enrichment import (
    countries_have_holidays,
    moved_days,
    rates_of_days,
    sale_days_have_rates,
    temperatures_are_ordered,
    with_held_fixings,
)
from retail_platform.transforms.quality import contract_holds, keys_are_unique

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]

RATES, HOLIDAYS, WEATHER = map(key_of, (EXCHANGE_RATES, BANK_HOLIDAYS, DAILY_WEATHER))
WEATHER_DELAY = timedelta(days=8)
"""The reanalysis ends some days before today, and what is later is refused."""


@dg.multi_asset(
    name="exchange_rates",
    specs=[table_spec(EXCHANGE_RATES, key_of(DAY_QUALITY))],
    check_specs=[*check_specs(RATES, *BLOCKING), *check_specs(RATES, sale_days_have_rates, blocking=False)],
    pool=LAKE_POOL,
)
def exchange_rates(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> Results:
    """Write the rates of the days from the first to the last sale, and name the days whose rates moved."""
    days, before = _sale_days(lake), lake.scan(EXCHANGE_RATES).collect()
    with provider_client(settings) as client:
        provided = fixings(client, _today(), settings.provider_urls.get("rates", ECB))
    known = provided.frame if provided.source == "live" else with_held_fixings(provided.frame, before)
    frame = rates_of_days(known, days, settings.shop_currency)
    yield from require(RATES, [contract_holds(EXCHANGE_RATES, frame), keys_are_unique(EXCHANGE_RATES, frame)])
    yield result_of(sale_days_have_rates(days, frame, settings.shop_currency), RATES, dg.AssetCheckSeverity.WARN)
    moved = moved_days(before, frame)
    version = lake.replace(EXCHANGE_RATES, frame, stretches(moved))
    counts = {"moved_days": len(moved), "held_fixings": known.height - provided.frame.height}
    yield written(lake, EXCHANGE_RATES, frame, version, **counts, **told(provided))


@dg.multi_asset(
    name="bank_holidays",
    specs=[table_spec(BANK_HOLIDAYS, key_of(FACT_SALE), key_of(DIM_COUNTRY), key_of(DIM_DATE))],
    check_specs=[*check_specs(HOLIDAYS, *BLOCKING), *check_specs(HOLIDAYS, countries_have_holidays, blocking=False)],
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def bank_holidays(lake: dg.ResourceParam[Lake]) -> Results:
    """Write the bank holidays of every country that a line was sold to, in the years of the calendar."""
    position, by_month = lake.position(FACT_SALE), _sold_to(lake)
    keys = {key for keys in by_month.values() for key in keys}
    sold_to = lake.scan(DIM_COUNTRY).filter(pl.col("country_key").is_in(list(keys))).collect()
    years = lake.scan(DIM_DATE).select(pl.col("year").cast(pl.Int32).unique().sort()).collect().to_series().to_list()
    frame, unknown = read_bank_holidays(sold_to["country_code"].drop_nulls(), years)
    yield from require(HOLIDAYS, [contract_holds(BANK_HOLIDAYS, frame), keys_are_unique(BANK_HOLIDAYS, frame)])
    yield result_of(countries_have_holidays(sold_to, years, frame, unknown), HOLIDAYS, dg.AssetCheckSeverity.WARN)
    version = lake.replace(BANK_HOLIDAYS, frame, consumed=position, note=json.dumps(by_month))
    yield written(lake, BANK_HOLIDAYS, frame, version, countries=len(sold_to))


def _sold_to(lake: Lake) -> dict[str, list[int]]:
    """Month -> keys of the countries that its lines were sold to: those noted, found again where facts have changed."""
    noted = json.loads(lake.note(BANK_HOLIDAYS) or "{}")
    changed = lake.changed_months(FACT_SALE, lake.consumed(BANK_HOLIDAYS, FACT_SALE))
    facts = lake.scan_months(FACT_SALE, changed).group_by("sale_month").agg(pl.col("country_key").unique().sort())
    found = {str(month): keys for month, keys in facts.collect(engine="streaming").iter_rows()}
    held = {month: keys for month, keys in noted.items() if date.fromisoformat(month) not in changed}
    return dict(sorted((held | found).items()))


@dg.multi_asset(
    name="daily_weather",
    specs=[table_spec(DAILY_WEATHER, key_of(DAY_QUALITY))],
    check_specs=check_specs(WEATHER, *BLOCKING, temperatures_are_ordered),
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def daily_weather(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> Results:
    """Write the weather at the shop's capital from the first to the last sale; only live providers add to it."""
    known = _today() - WEATHER_DELAY
    days = _sale_days(lake).to_list() or [_today()]
    is_shop = pl.col("country_code") == settings.shop_country
    is_due = pl.col("date").is_between(days[0], days[-1])
    with provider_client(settings) as client:
        url = settings.provider_urls.get("weather", weather.OPEN_METEO)
        place = read_countries().filter(is_shop)
        provided = weather.daily_weather(client, place, days[0], min(days[-1], known), url)
    provided = weather.or_held(provided, lake.scan(DAILY_WEATHER).filter(is_shop, is_due).collect())
    frame = provided.frame
    checks = [contract_holds(DAILY_WEATHER, frame), keys_are_unique(DAILY_WEATHER, frame)]
    yield from require(WEATHER, [*checks, temperatures_are_ordered(frame)])
    yield written(lake, DAILY_WEATHER, frame, lake.replace(DAILY_WEATHER, frame), **told(provided))


def _sale_days(lake: Lake) -> pl.Series:
    """The days with a sale, in order."""
    days = lake.scan(DAY_QUALITY).filter(pl.col("accepted_rows") > 0)
    return days.select(pl.col("sale_date").sort()).collect().to_series()


def _today() -> date:
    """Only live answers are judged by it."""
    return datetime.now(UTC).date()
