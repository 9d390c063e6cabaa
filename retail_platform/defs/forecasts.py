"""What looks ahead, and what was not as it should have been: both as of the newest closed week.

The open week changes nothing here: a day's run sums the facts of the closed ones and makes these tables again only when
the sums are other ones. Models and bands are in `transforms/`.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import (
    DEMAND_FORECAST,
    DIM_COUNTRY,
    DIM_PRODUCT,
    FACT_SALE,
    FORECAST_BACKTEST,
    REVENUE_ANOMALIES,
    REVENUE_FORECAST,
)
from retail_platform.contracts.forecasts import ALL_COUNTRIES
from retail_platform.defs.closed import fingerprint, kept, open_week, standing, stands, with_plots
from retail_platform.defs.layers import AFTER_MARTS, LAKE_POOL, key_of, table_spec
from retail_platform.defs.plots import forecast_plot, revenue_band_plot, revenue_bands_plot
from retail_platform.defs.reports import BLOCKING, check_specs, require, result_of
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.reference.bank_holidays import read_bank_holidays
from retail_platform.transforms.anomalies import (
    anomalies_are_few,
    every_judged_day_is_in_the_facts,
    largest_members,
    revenue_anomalies,
)
from retail_platform.transforms.forecasts import DEMAND, REVENUE
from retail_platform.transforms.outlook import (
    Outlook,
    bands_cover_as_promised,
    forecast_is_complete,
    outlook,
    published_models_beat_naive,
)
from retail_platform.transforms.quality import Finding, contract_holds, keys_are_unique
from retail_platform.transforms.revenue_series import (
    country_group,
    demand_by_product,
    revenue_by_group,
    revenue_by_member,
)

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]

SOURCES = (key_of(FACT_SALE), key_of(DIM_COUNTRY), key_of(DIM_PRODUCT))
SUBJECTS = {REVENUE_FORECAST: REVENUE, DEMAND_FORECAST: DEMAND}
PAST_DRAWN = timedelta(days=90)
MEMBERS_DRAWN = {"total": 1, "country": 3, "category": 4}


@dg.multi_asset(
    name="forecasts",
    specs=[table_spec(table, *SOURCES) for table in (*SUBJECTS, FORECAST_BACKTEST)],
    check_specs=[
        *(spec for table in SUBJECTS for spec in check_specs(key_of(table), *BLOCKING, forecast_is_complete)),
        *check_specs(key_of(FORECAST_BACKTEST), *BLOCKING, published_models_beat_naive),
        *check_specs(key_of(FORECAST_BACKTEST), bands_cover_as_promised, blocking=False),
    ],
    pool=LAKE_POOL,
)
def forecasts(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Foretell revenue and demand, when a week has closed, or a closed day, a country's group or holidays changed."""
    tables, days, position = (*SUBJECTS, FORECAST_BACKTEST), _closed_days(lake), lake.position(FACT_SALE)
    groups = lake.scan(DIM_COUNTRY).select("country_key", country_group()).sort("country_key").collect()
    made_from = fingerprint(days.end, groups, version("holidays"))
    stand = all(stands(lake, table, days, made_from, FACT_SALE) for table in tables)
    more: dict[str, Any] = {"made_again": not stand}
    frames = Outlook(*(lake.scan(table).collect() for table in tables)) if stand else _made(lake, days)
    fan = with_plots(context, lake, REVENUE_FORECAST, frames.revenue, more, partial(_fan, lake))
    for table, frame in zip(tables, frames, strict=True):
        yield from require(key_of(table), [contract_holds(table, frame), keys_are_unique(table, frame)])
    for table, subject in SUBJECTS.items():
        series = frames.backtest.filter(subject=subject.name)["series"].unique().to_list()
        frame = frames[tables.index(table)]
        yield from require(key_of(table), [forecast_is_complete(frame, series, subject)])
    yield from require(key_of(FORECAST_BACKTEST), [published_models_beat_naive(frames)])
    coverage = bands_cover_as_promised(frames.backtest)
    yield result_of(coverage, key_of(FORECAST_BACKTEST), dg.AssetCheckSeverity.WARN)
    for table, frame in zip(tables, frames, strict=True):
        yield kept(lake, table, frame, position, fan if table is REVENUE_FORECAST else more, made_from)


@dg.multi_asset(
    name="revenue_anomalies",
    specs=[table_spec(REVENUE_ANOMALIES, *SOURCES)],
    check_specs=[
        *check_specs(key_of(REVENUE_ANOMALIES), *BLOCKING, every_judged_day_is_in_the_facts),
        *check_specs(key_of(REVENUE_ANOMALIES), anomalies_are_few, blocking=False),
    ],
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def anomalies(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Judge every closed day, when a week has closed or a closed day has changed."""
    key, days = key_of(REVENUE_ANOMALIES), _closed_days(lake)
    position, made_from = lake.position(FACT_SALE), fingerprint(days.end, *_members(lake, days))
    more: dict[str, Any] = {"made_again": not stands(lake, REVENUE_ANOMALIES, days, made_from, FACT_SALE)}
    if more["made_again"]:
        frame, findings = _judged(lake, days)
    else:
        frame = lake.scan(REVENUE_ANOMALIES).collect()
        findings = standing(REVENUE_ANOMALIES, *BLOCKING, every_judged_day_is_in_the_facts)
    more = with_plots(context, lake, REVENUE_ANOMALIES, frame, more, _band)
    yield from require(key, findings)
    yield result_of(anomalies_are_few(frame), key, dg.AssetCheckSeverity.WARN)
    more["anomalies"] = int(frame["is_anomaly"].sum())
    yield kept(lake, REVENUE_ANOMALIES, frame, position, more, made_from)


def _judged(lake: Lake, days: Days) -> tuple[pl.DataFrame, list[Finding]]:
    """Every closed day judged, and what is found of that."""
    facts = lake.scan(FACT_SALE, days)
    daily = revenue_by_member(facts, lake.scan(DIM_COUNTRY), lake.scan(DIM_PRODUCT))
    judged = revenue_anomalies(daily).with_columns(as_of_date=pl.lit(days.end - ONE_DAY))
    frame = judged.select(list(REVENUE_ANOMALIES.schema)).sort(REVENUE_ANOMALIES.key)
    totals = facts.group_by("sale_date").agg(net_revenue=pl.col("total_amount").sum()).collect(engine="streaming")
    findings = [contract_holds(REVENUE_ANOMALIES, frame), keys_are_unique(REVENUE_ANOMALIES, frame)]
    return frame, [*findings, every_judged_day_is_in_the_facts(frame, totals)]


def _members(lake: Lake, days: Days) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Names of the countries, and categories of the products that closed days may have sold: what facts are summed by.

    A product first sold in the open week is left out, else each would have every closed day judged again.
    """
    countries = lake.scan(DIM_COUNTRY).select("country_key", "country_name").sort("country_key")
    sold = lake.scan(DIM_PRODUCT).filter(pl.col("valid_from") < days.end)
    return countries.collect(), sold.select("product_key", "category").sort("product_key").collect()


def _closed_days(lake: Lake) -> Days:
    return Days(date.min, open_week(lake))


def _band(frame: pl.DataFrame) -> dict[str, Any]:
    total, title = frame.filter(dimension="total"), "Net revenue per day and its expected band"
    members = revenue_bands_plot(largest_members(frame, MEMBERS_DRAWN), f"{title}, largest members")
    return {"revenue": revenue_band_plot(total, title), "members": members}


def _made(lake: Lake, days: Days) -> Outlook:
    as_of, facts = days.end - ONE_DAY, lake.scan(FACT_SALE, days)
    revenue = revenue_by_group(facts, lake.scan(DIM_COUNTRY))
    demand = demand_by_product(facts, lake.scan(DIM_PRODUCT), as_of)
    return outlook(revenue, demand, as_of, _holidays(revenue, as_of))


def _holidays(revenue: pl.DataFrame, as_of: date) -> list[date]:
    """The shop's bank holidays from the year of the first sale to the one in which the forecast may end."""
    first = revenue["sale_date"].min()
    years = range(first.year if isinstance(first, date) else as_of.year, as_of.year + 2)
    return read_bank_holidays(["GB"], years).frame["date"].to_list()


def _fan(lake: Lake, frame: pl.DataFrame) -> dict[str, Any]:
    """The forecast of all countries after the days that came, those of the open week among them."""
    told = frame.filter(country_group=ALL_COUNTRIES)
    as_of = told["as_of_date"].item(0)
    facts = lake.scan(FACT_SALE, Days(as_of + ONE_DAY - PAST_DRAWN, date.max))
    came = revenue_by_group(facts, lake.scan(DIM_COUNTRY)).filter(series=ALL_COUNTRIES)
    title = f"Net revenue per day: what came up to {came['sale_date'].sort().item(-1)}, and the forecast as of {as_of}"
    return {"forecast": forecast_plot(told, came, title)}
