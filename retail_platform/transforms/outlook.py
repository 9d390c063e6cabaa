"""The tables that look ahead, of forecasts as they are made, and what must hold of them before they are written."""

from collections.abc import Collection
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import polars as pl
import polars.selectors as cs

from retail_platform.contracts import DEMAND_FORECAST, FORECAST_BACKTEST, REVENUE_FORECAST, Table
from retail_platform.contracts.forecasts import NAIVE, SCENARIOS
from retail_platform.transforms.forecasts import DEMAND, REVENUE, Subject, forecasts, shop_of
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

COVERAGE_80, COVERAGE_95 = (65.0, 95.0), (85.0, 100.0)
"""Percent of the backtest's days or weeks that the bands of the published models may cover."""


class Outlook(NamedTuple):
    """Frames of the contracts `RevenueForecast`, `DemandForecast` and `ForecastBacktest`."""

    revenue: pl.DataFrame
    demand: pl.DataFrame
    backtest: pl.DataFrame


def outlook(revenue: pl.DataFrame, demand: pl.DataFrame, as_of: date, holidays: Collection[date]) -> Outlook:
    """Forecast revenue and demand after a day, and say how well that went before.

    Args:
        revenue: series (country group), sale_date, amount; up to as_of.
        demand: series (product), sale_date, amount in units; up to as_of.
        as_of: Sunday of the newest closed week.
        holidays: bank holidays of every year from the first sale to the end of the horizon.
    """
    shop = shop_of(revenue["sale_date"], as_of, holidays)
    told, wanted = forecasts(REVENUE, shop, revenue), forecasts(DEMAND, shop, demand)
    is_open = (pl.col("open_days") > 0).alias("is_open")
    return Outlook(
        _shaped(REVENUE_FORECAST, told.forecast.with_columns(is_open), as_of, ("country_group", "forecast_date")),
        _shaped(DEMAND_FORECAST, wanted.forecast, as_of, ("stock_code", "week_start")),
        _shaped(FORECAST_BACKTEST, pl.concat([told.backtest, wanted.backtest]), as_of, ("series", "origin_date")),
    )


def pooled_backtest(backtest: pl.DataFrame) -> pl.DataFrame:
    """The figures of every series and model over all origins.

    Args:
        backtest: contract `ForecastBacktest`.

    Returns:
        subject, series, model, is_chosen, mase (null where the naive makes no error), coverage_80_pct, coverage_95_pct;
        by subject, series and model.
    """
    return (
        backtest.group_by("subject", "series", "model", "is_chosen")
        .agg(
            pl.col("mae", "naive_mae").sum(),
            pl.col("coverage_80_pct", "coverage_95_pct").mean(),
        )
        .with_columns(mase=pl.when(pl.col("naive_mae") > 0).then(pl.col("mae") / pl.col("naive_mae")))
        .drop("mae", "naive_mae")
        .sort("subject", "series", "model")
    )


def published_models_beat_naive(made: Outlook) -> Finding:
    """Whether every series is forecast by the one model that is chosen: the naive, or one with a smaller error than it.

    Args:
        made: forecasts and backtest.
    """
    pooled = pooled_backtest(made.backtest)
    chosen = pooled.filter("is_chosen")
    lost = chosen.filter((pl.col("model") != NAIVE) & ~(pl.col("mase") < 1).fill_null(False))
    counted = pooled.group_by("subject", "series").agg(published=pl.col("is_chosen").sum())
    undecided = counted.filter(pl.col("published") != 1)
    naive = chosen.filter(pl.col("model") == NAIVE)
    names = ("subject", "series", "model")
    told = pl.concat(
        frame.select(pl.lit(subject.name).alias("subject"), pl.col(series).alias("series"), "model").unique()
        for frame, subject, series in (
            (made.revenue, REVENUE, "country_group"),
            (made.demand, DEMAND, "stock_code"),
        )
    )
    others = told.join(chosen, on=names, how="anti").sort(names)
    return Finding(
        "published_models_beat_naive",
        lost.is_empty() and undecided.is_empty() and others.is_empty(),
        f"{chosen.height} series are published, {naive.height} of them as naive; {lost.height} by a model that the "
        f"naive beats, {undecided.height} by none or by several; {others.height} are forecast by another model than "
        f"the chosen one; expected none of these.",
        {"lost": lost.head(EVIDENCE_ROWS), "others": others.head(EVIDENCE_ROWS), "published": _by_model(chosen)},
    )


def bands_cover_as_promised(backtest: pl.DataFrame) -> Finding:
    """Whether the bands of the published models held 65 to 95 % (80 % band) and 85 to 100 % (95 % band) of past days.

    Args:
        backtest: contract `ForecastBacktest`.
    """
    chosen = pooled_backtest(backtest.filter("is_chosen"))
    # A product has 30 weeks of errors: all products together are judged. A country group has 150 days.
    named = pl.when(pl.col("subject") == REVENUE.name).then("series").otherwise(pl.lit("all products"))
    covered = chosen.group_by("subject", series=named).agg(pl.col("coverage_80_pct", "coverage_95_pct").mean().round(1))
    sound = pl.col("coverage_80_pct").is_between(*COVERAGE_80) & pl.col("coverage_95_pct").is_between(*COVERAGE_95)
    wrong = covered.filter(~sound).sort("subject", "series")
    return Finding(
        "bands_cover_as_promised",
        wrong.is_empty(),
        f"{wrong.height} of {covered.height} bands hold fewer or more past days than they promise; expected none.",
        {"coverage": covered.sort("subject", "series")},
    )


def forecast_is_complete(forecast: pl.DataFrame, series: Collection[str], subject: Subject) -> Finding:
    """Whether every series has every day or week to come in every scenario, its bands nested, in order of scenarios.

    Args:
        forecast: contract `RevenueForecast` or `DemandForecast`.
        series: the series that were backtested.
        subject: what is forecast.
    """
    name, start, point = forecast.columns[0], forecast.columns[2], forecast.columns[5]
    length, ahead = subject.horizon, (pl.col(start) - pl.col("as_of_date")).dt.total_days()
    expected = list(range(1, length * subject.period_days + 1, subject.period_days))
    told = forecast.group_by(name, "scenario").agg(ahead.sort().alias("ahead"))
    whole = told.filter(pl.Series([days.to_list() == expected for days in told["ahead"]], dtype=pl.Boolean))
    lacking = len(SCENARIOS) * len(series) - whole.filter(pl.col(name).is_in(list(series))).height
    order = ("low_95", "low_80", point, "high_80", "high_95")
    crossed = forecast.filter(pl.any_horizontal(pl.col(low) > pl.col(high) for low, high in pairwise(order)))
    by_scenario = {each: pl.col(point).filter(pl.col("scenario") == each).first() for each in SCENARIOS}
    paths = forecast.group_by(name, start).agg(**by_scenario)
    unordered = paths.filter((pl.col("pessimistic") > pl.col("baseline")) | (pl.col("baseline") > pl.col("optimistic")))
    return Finding(
        "forecast_is_complete",
        lacking == 0 and crossed.is_empty() and unordered.is_empty(),
        f"Of {len(series)} series in {len(SCENARIOS)} scenarios {lacking} paths lack a day or week of {length}; "
        f"{crossed.height} rows have bands that cross, {unordered.height} have scenarios out of order; expected none.",
        {"crossed": crossed.head(EVIDENCE_ROWS), "unordered": unordered.head(EVIDENCE_ROWS)},
    )


def _by_model(chosen: pl.DataFrame) -> pl.DataFrame:
    return (
        chosen.group_by("subject", "model")
        .agg(series=pl.len(), mean_mase=pl.col("mase").mean().round(3))
        .sort("subject", "model")
    )


def _shaped(table: Table, frame: pl.DataFrame, as_of: date, names: tuple[str, str]) -> pl.DataFrame:
    """The frame in the columns of a table, which calls the series and the start by names of its own."""
    point = "expected_revenue" if table is REVENUE_FORECAST else "expected_units"
    renamed = frame.rename({"series": names[0], "start": names[1], "expected": point}, strict=False)
    dated = renamed.with_columns(cs.float().round(6), as_of_date=pl.lit(as_of))
    return dated.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()).sort(table.key)
