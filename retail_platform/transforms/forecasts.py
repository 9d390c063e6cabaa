"""Forecasts of revenue and demand: what models would have said at past origins, which one is best, what it says now.

At an origin only what lies before it is known, the shop's closed days included. The model of a series is the one with
the smallest error over all origins, and the seasonal naive is one of them: what does not beat it is published as naive.
Bands are the quantiles of the errors that were made, on the scale of the models, so they hold whatever the model is.
Models are in `forecast_models.py`, closed days in `trading_days.py`.

Sources: Tashman, "Out-of-sample tests of forecasting accuracy", International Journal of Forecasting 16 (2000), for
the rolling origin; Hyndman, Koehler, "Another look at measures of forecast accuracy", International Journal of
Forecasting 22 (2006), for scaled errors (here scaled by the naive's error over the same days).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import polars as pl

from retail_platform.contracts.forecasts import DEMAND_MODELS, REVENUE_MODELS, SCENARIOS
from retail_platform.transforms.forecast_models import MODELS, Known
from retail_platform.transforms.outliers import NORMAL_MAD
from retail_platform.transforms.trading_days import (
    Dates,
    Flags,
    Floats,
    Ints,
    expected_open,
    filled,
    kinds,
    usual_weekdays,
    weekdays,
)

ORIGINS = 6
FEWEST_ORIGINS = 2
LEVELS = (0.1, 0.9, 0.025, 0.975)
"""Quantiles of the errors: ends of the 80 % and of the 95 % band."""
BANDS = ("low_80", "high_80", "low_95", "high_95")
SCALE = 4.0
"""Typical values in the unit of the scale asinh(value / unit): ordinary values keep their distances and only very large
ones are pressed together, so that a model of the mean is not far below the mean (docs/forecasts.md has the figures)."""
SCENARIO_REACH = 1.2816
"""Standard deviations that one normal value in ten exceeds: one total in ten is expected above the optimistic one."""


@dataclass(frozen=True)
class Subject:
    """What is forecast.

    Attributes:
        name: revenue or demand.
        models: names of the candidates, the naive first.
        period_days: 1 for days, 7 for weeks.
        horizon: days or weeks to come.
        fewest: days or weeks before the first origin.
        is_pooled: whether the errors of all series tell the bands and scenarios of each, in units of its own mean
            absolute error: for many series with few errors each.
    """

    name: str
    models: tuple[str, ...]
    period_days: int
    horizon: int
    fewest: int
    is_pooled: bool


REVENUE = Subject("revenue", REVENUE_MODELS, period_days=1, horizon=30, fewest=56, is_pooled=False)
DEMAND = Subject("demand", DEMAND_MODELS, period_days=7, horizon=5, fewest=8, is_pooled=True)


@dataclass(frozen=True)
class Shop:
    """The shop's calendar: every day from its first sale to the as-of date, and whether it sold on it."""

    days: Dates
    is_open: Flags
    holidays: Collection[date]


class Forecasts(NamedTuple):
    """What one subject gives.

    Attributes:
        forecast: series, scenario, start (of the day or week), open_days, expected, the four `BANDS`, model.
        backtest: the columns of contract `ForecastBacktest` without as_of_date.
    """

    forecast: pl.DataFrame
    backtest: pl.DataFrame


@dataclass(frozen=True)
class _Origin:
    """What all series share at an origin.

    Attributes:
        count: periods known.
        is_usual: of each known period, whether it is one on which the shop usually sells.
        coming: the periods to come.
        coming_usual: the same of them.
        expected: days of each on which the shop is expected to sell.
    """

    count: int
    is_usual: Flags
    coming: Dates
    coming_usual: Flags
    expected: Ints


class _Errors(NamedTuple):
    """Past forecasts: arrays by series, model, origin and period; NaN where the shop was expected to be closed.

    Attributes:
        errors: what came less what was foretold, scaled.
        foretold: values foretold.
        came: values that came, without the axis of models.
    """

    errors: Floats
    foretold: Floats
    came: Floats


def shop_of(sale_dates: pl.Series, as_of: date, holidays: Collection[date]) -> Shop:
    """The calendar of a shop.

    Args:
        sale_dates: days with a sale, any number of times, none after as_of.
        as_of: the last day.
        holidays: bank holidays of all years, the coming one too.
    """
    first = sale_dates.min()
    start = np.datetime64(first if isinstance(first, date) else as_of, "D")
    days = np.arange(start, np.datetime64(as_of, "D") + np.timedelta64(1, "D"))
    return Shop(days, np.isin(days, sale_dates.unique().to_numpy()), holidays)


def forecasts(subject: Subject, shop: Shop, series: pl.DataFrame) -> Forecasts:
    """Backtest every model on every series, and foretell each series by its best one.

    Args:
        subject: what is forecast.
        shop: its calendar; a day after its last is not known.
        series: series, sale_date, amount (revenue or units as a float), a row per series and day with a sale.

    Returns:
        The forecasts in three scenarios and the backtest; both empty without two origins' worth of history.
    """
    starts, open_days = _periods(subject, shop)
    names = series["series"].unique().sort().to_list()
    origins = min(ORIGINS, (starts.size - subject.fewest) // subject.horizon)
    if origins < FEWEST_ORIGINS or not names:
        return Forecasts(FORECAST.to_frame(), BACKTEST.to_frame())
    values = _values(subject, starts, series, names)
    counts = [starts.size - subject.horizon * (origins - k) for k in range(origins)]
    past = _errors(subject, shop, starts, open_days, values, counts)
    chosen = _chosen(past)
    backtest = _backtest(subject, names, starts[[count - 1 for count in counts]], past, chosen)
    now = _origin(subject, shop, starts, starts.size)
    frames = [
        _forecast(subject, name, now, open_days, values[at], past, at, int(chosen[at])) for at, name in enumerate(names)
    ]
    return Forecasts(pl.concat(frames).cast(FORECAST), backtest)


FORECAST = pl.Schema(
    {
        "series": pl.String(),
        "scenario": pl.String(),
        "start": pl.Date(),
        "open_days": pl.Int32(),
        "expected": pl.Float64(),
        **dict.fromkeys(BANDS, pl.Float64()),
        "model": pl.String(),
    }
)
BACKTEST = pl.Schema(
    {
        "subject": pl.String(),
        "series": pl.String(),
        "model": pl.String(),
        "origin_date": pl.Date(),
        "horizon": pl.Int32(),
        **dict.fromkeys(("mae", "naive_mae", "mase", "coverage_80_pct", "coverage_95_pct"), pl.Float64()),
        **dict.fromkeys(("expected_total", "actual_total"), pl.Float64()),
        "is_chosen": pl.Boolean(),
    }
)


def _periods(subject: Subject, shop: Shop) -> tuple[Dates, Ints]:
    """The known days, or whole weeks, and the days of each on which the shop sold."""
    skipped = int(-weekdays(shop.days[:1])[0] % 7) if subject.period_days == 7 else 0
    days, is_open = shop.days[skipped:], shop.is_open[skipped:]
    whole = days.size // subject.period_days * subject.period_days
    opened = is_open[:whole].reshape(-1, subject.period_days).sum(axis=1)
    return days[:whole][:: subject.period_days], opened.astype(np.int64)


def _values(subject: Subject, starts: Dates, series: pl.DataFrame, names: Sequence[str]) -> Floats:
    """The amount of each series in each period."""
    series = series.sort("series", "sale_date")  # the same sums to the last bit, whatever the order of rows
    values = np.zeros((len(names), starts.size))
    at = (series["sale_date"].to_numpy().astype("datetime64[D]") - starts[0]).astype(np.int64) // subject.period_days
    row = series["series"].replace_strict(list(names), list(range(len(names)))).to_numpy()
    inside = (at >= 0) & (at < starts.size)
    np.add.at(values, (row[inside], at[inside]), series["amount"].cast(pl.Float64).to_numpy()[inside])
    return values


def _origin(subject: Subject, shop: Shop, starts: Dates, count: int) -> _Origin:
    """What is known, and expected of the shop, at the end of so many periods."""
    length = subject.period_days
    known = int((starts[count - 1] - shop.days[0]).astype(np.int64)) + length
    days, is_open = shop.days[:known], shop.is_open[:known]
    coming_days = days[-1] + np.arange(1, subject.horizon * length + 1).astype("timedelta64[D]")
    expected = expected_open(days, is_open, coming_days, shop.holidays).reshape(-1, length).sum(axis=1)
    coming = coming_days[::length]
    usual = usual_weekdays(days, is_open, kinds(days, shop.holidays)) if length == 1 else np.ones(7, dtype=bool)
    return _Origin(count, usual[weekdays(starts[:count])], coming, usual[weekdays(coming)], expected.astype(np.int64))


def _errors(
    subject: Subject, shop: Shop, starts: Dates, open_days: Ints, values: Floats, counts: Sequence[int]
) -> _Errors:
    """What every model would have said at every origin, and what came."""
    shape = (len(values), len(subject.models), len(counts), subject.horizon)
    errors, foretold = np.full(shape, np.nan), np.zeros(shape)
    came = np.stack([values[:, count : count + subject.horizon] for count in counts], axis=1)
    for k, count in enumerate(counts):
        origin = _origin(subject, shop, starts, count)
        for at, series in enumerate(values):
            known, unit = _known(origin, open_days, series[:count])
            actual = np.arcsinh(came[at, k] / np.maximum(origin.expected, 1) / unit)
            for m, name in enumerate(subject.models):
                scaled = _scaled(origin, known, name)
                errors[at, m, k] = actual - scaled
                foretold[at, m, k] = _value(scaled, unit, origin)
    return _Errors(errors, foretold, came)


def _known(origin: _Origin, open_days: Ints, values: Floats) -> tuple[Known | None, float]:
    """What a model is told of a series from its first sale on, and the unit of its scale; nothing before that sale."""
    sold = np.flatnonzero(values)
    axis = np.flatnonzero(origin.is_usual[: values.size] & (np.arange(values.size) >= (sold[0] if sold.size else 0)))
    is_open = open_days[axis] > 0
    if sold.size == 0 or not is_open.any():
        return None, 1.0
    rate = values[axis] / np.maximum(open_days[axis], 1)
    some = np.abs(rate[is_open & (rate != 0)])
    unit = SCALE * float(np.median(some)) if some.size else 1.0
    coming = origin.coming_usual
    days = _starts(origin)[axis]
    season = int(np.unique(weekdays(days)).size)
    scaled = filled(np.arcsinh(rate / unit), is_open, season)
    return Known(days, scaled, is_open, origin.coming[coming], origin.expected[coming] > 0), unit


def _starts(origin: _Origin) -> Dates:
    """The known periods: they end where those to come begin."""
    step = origin.coming[1] - origin.coming[0]
    return np.asarray(origin.coming[0] - step * np.arange(origin.count, 0, -1))


def _scaled(origin: _Origin, known: Known | None, model: str) -> Floats:
    """What a model says of every period to come, scaled; NaN where the shop is expected to be closed."""
    scaled = np.zeros(origin.coming.size)
    if known is not None and known.coming.size:
        scaled[origin.coming_usual] = MODELS[model](known)
    return np.where(origin.expected > 0, scaled, np.nan)


def _value(scaled: Floats, unit: float, origin: _Origin) -> Floats:
    """Scaled values as revenue or units: never negative, 0 where the shop is expected to be closed."""
    value = np.sinh(np.nan_to_num(scaled)) * unit * origin.expected
    return np.asarray(np.where(np.isnan(scaled), 0.0, np.maximum(value, 0.0)))


def _maes(past: _Errors) -> Floats:
    """Mean absolute error by series, model and origin."""
    return np.asarray(np.abs(past.foretold - past.came[:, None]).mean(axis=3))


def _chosen(past: _Errors) -> Ints:
    """Of each series the model with the smallest error; of equals the first, so the naive unless one beats it."""
    return np.asarray(_maes(past).sum(axis=2).round(9).argmin(axis=1))


def _quantiles(subject: Subject, errors: Floats, at: int) -> Floats:
    """Quantiles of a series' errors at `LEVELS`; all 0 without any.

    Args:
        subject: says whether errors are pooled.
        errors: of one model, by series, origin and period.
        at: the series.
    """
    unit = _sizes(errors)
    told = errors / unit[:, None, None] if subject.is_pooled else errors[at] / unit[at]
    known = told[~np.isnan(told)]
    return np.quantile(known, LEVELS) * unit[at] if known.size else np.zeros(len(LEVELS))


def _sizes(errors: Floats) -> Floats:
    """Mean absolute error of each series; 1 where there is none, or it is 0."""
    count = np.maximum((~np.isnan(errors)).sum(axis=(1, 2)), 1)
    sizes = np.nansum(np.abs(errors), axis=(1, 2)) / count
    return np.asarray(np.where(sizes > 0, sizes, 1.0))


def _backtest(subject: Subject, names: Sequence[str], days: Dates, past: _Errors, chosen: Ints) -> pl.DataFrame:
    """The figures of every series, model and origin."""
    maes = _maes(past)
    ends = days + np.timedelta64(subject.period_days - 1, "D")
    others = {(m, k): np.delete(past.errors[:, m], k, axis=1) for m, k in np.ndindex(maes.shape[1:])}
    rows = []
    for s, m, k in np.ndindex(maes.shape):
        mae, naive = float(maes[s, m, k]), float(maes[s, 0, k])
        within = _coverage(past.errors[s, m, k], _quantiles(subject, others[m, k], s))
        totals = float(past.foretold[s, m, k].sum()), float(past.came[s, k].sum())
        mase = mae / naive if naive > 0 else None
        at = (subject.name, names[s], subject.models[m], ends[k].astype(object), subject.horizon)
        rows.append((*at, mae, naive, mase, *within, *totals, bool(chosen[s] == m)))
    return pl.DataFrame(rows, schema=BACKTEST, orient="row").sort("series", "model", "origin_date")


def _coverage(errors: Floats, quantiles: Floats) -> tuple[float | None, float | None]:
    """Percent of an origin's errors within the two bands."""
    here = errors[~np.isnan(errors)]
    if not here.size:
        return None, None
    low_80, high_80, low_95, high_95 = quantiles
    bands = ((low_80, high_80), (low_95, high_95))
    inner, outer = (100 * float(np.mean((here >= low) & (here <= high))) for low, high in bands)
    return inner, outer


def _growths(subject: Subject, past: _Errors, at: int, model: int) -> tuple[float, float, float]:
    """Factors of the three scenarios: one total in ten was farther below, or above, the one foretold.

    The logarithms of total / foretold total at the origins are taken for normal around their median with a robust
    spread, for they are few, and one huge order or return must not decide. No scenario is on the other's side.
    """
    series = slice(None) if subject.is_pooled else slice(at, at + 1)
    foretold, came = past.foretold[series, model].sum(axis=2), past.came[series].sum(axis=2)
    some = (foretold > 0) & (came > 0)
    if not some.any():
        return 1.0, 1.0, 1.0
    ratios = np.log(came[some] / foretold[some])
    middle = float(np.median(ratios))
    reach = SCENARIO_REACH * NORMAL_MAD * float(np.median(np.abs(ratios - middle)))
    return float(np.exp(min(0.0, middle - reach))), 1.0, float(np.exp(max(0.0, middle + reach)))


def _forecast(
    subject: Subject, name: str, now: _Origin, open_days: Ints, values: Floats, past: _Errors, at: int, model: int
) -> pl.DataFrame:
    """The paths of one series in every scenario."""
    known, unit = _known(now, open_days, values)
    scaled = _scaled(now, known, subject.models[model])
    quantiles = _quantiles(subject, past.errors[:, model], at)
    point = _value(scaled, unit, now)
    ends = {band: _value(scaled + q, unit, now) for band, q in zip(BANDS, quantiles, strict=True)}
    columns = {"expected": point} | {
        band: np.minimum(end, point) if band.startswith("low") else np.maximum(end, point) for band, end in ends.items()
    }
    frames = [
        pl.DataFrame(
            {"start": now.coming, "open_days": now.expected, **{name: path * factor for name, path in columns.items()}}
        ).with_columns(series=pl.lit(name), scenario=pl.lit(scenario), model=pl.lit(subject.models[model]))
        for scenario, factor in zip(SCENARIOS, _growths(subject, past, at, model), strict=True)
    ]
    return pl.concat(frames).select(list(FORECAST))
