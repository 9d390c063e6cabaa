"""Models of a series: what is known at an origin in, one value for each day or week to come out. No model sees more.

A model works on scaled values, asinh(value / unit), for a huge order must not count for a hundred small ones.
Weeks are days here: a week is its Monday, its season is 1 instead of the shop's days a week. `regression` is the model
whose regressors are holidays; all of them leave closed days out. Choosing between models stays out (`forecasts.py`).

Sources: Hyndman, Athanasopoulos, "Forecasting: Principles and Practice" (3rd ed., 2021) for the seasonal naive,
exponential smoothing and harmonic regression; Assimakopoulos, Nikolopoulos, "The theta model", International Journal of
Forecasting 16 (2000).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from retail_platform.transforms.trading_days import Dates, Flags, Floats, weekdays

PROFILE_PERIODS = 26
"""Weeks from which the effects of weekdays are taken."""
LEVEL_PERIODS = 8
"""Weeks from which the level is taken."""
HARMONICS = 2
"""Pairs of yearly sines and cosines of the regression."""
RIDGE = 0.3
YEAR = 364
"""Days back to the same weekday of the year before."""
SMOOTHED_DAYS = 13
FEWEST_FITTED = 12
"""Values from which exponential smoothing is fitted; with fewer their mean is all that can be said."""


@dataclass(frozen=True)
class Known:
    """What is known of a series at an origin.

    Attributes:
        days: the days on which the shop usually sells, or Mondays of weeks, up to the origin.
        values: scaled values; where the shop was closed for once they are filled.
        is_open: whether the shop sold.
        coming: the days or weeks to come.
        coming_open: whether the shop is expected to sell on them.
    """

    days: Dates
    values: Floats
    is_open: Flags
    coming: Dates
    coming_open: Flags

    @property
    def season(self) -> int:
        """Days in the shop's week; 1 for weeks."""
        return int(np.unique(weekdays(self.days)).size)


Model = Callable[[Known], Floats]


def seasonal_naive(known: Known) -> Floats:
    """What the last open day of the same weekday had."""
    at, values = weekdays(known.days[known.is_open]), known.values[known.is_open]
    last = {weekday: value for weekday, value in zip(at, values, strict=True)}
    return np.array([last.get(weekday, 0.0) for weekday in weekdays(known.coming)])


def weekday_profile(known: Known) -> Floats:
    """The level of the last 8 weeks, and how each weekday differs from the mean of the week around it."""
    return _profile(known, LEVEL_PERIODS)


def quarter_mean(known: Known) -> Floats:
    """The mean of the last 13 weeks."""
    return _profile(known, 13)


def recent_median(known: Known) -> Floats:
    """The median of the last 5 weeks."""
    return np.full(known.coming.size, np.median(known.values[-5 * known.season :]))


def last_year(known: Known) -> Floats:
    """The weekday profile, moved by as much as these days of last year lay above the 8 weeks before them."""
    base, year_ago = weekday_profile(known), known.coming - np.timedelta64(YEAR, "D")
    start = year_ago[0] - np.timedelta64(7 * LEVEL_PERIODS, "D")
    if known.days[0] > start:
        return base
    before = (known.days >= start) & (known.days < year_ago[0])
    at = weekdays(known.days)
    usual = {weekday: known.values[before & (at == weekday)].mean() for weekday in np.unique(at)}
    value_of = dict(zip(known.days.tolist(), known.values, strict=True))
    then = zip(year_ago.tolist(), weekdays(year_ago), strict=True)
    return base + _smoothed(np.array([value_of[day] - usual[weekday] for day, weekday in then]))


def regression(known: Known) -> Floats:
    """Least squares on weekdays, days beside a closed one and, from a year on, the time of year; recent level."""
    days, opened = np.concatenate([known.days, known.coming]), np.concatenate([known.is_open, known.coming_open])
    regressors = _regressors(days, opened, harmonics=HARMONICS if known.days[-1] - known.days[0] > _A_YEAR else 0)
    past, coming = regressors[: known.days.size], regressors[known.days.size :]
    penalty = RIDGE * np.eye(past.shape[1])
    weighted = np.concatenate([past[known.is_open], penalty])
    observed = np.concatenate([known.values[known.is_open], np.zeros(past.shape[1])])
    coefficients = np.linalg.lstsq(weighted, observed, rcond=None)[0]
    residuals = (known.values - past @ coefficients)[known.is_open]
    return np.asarray(coming @ coefficients + residuals[-LEVEL_PERIODS * known.season :].mean())


def ets(known: Known) -> Floats:
    """Exponential smoothing: level, damped trend and weekday; for weeks the level alone."""
    from statsforecast.models import AutoETS

    if known.values.size < max(FEWEST_FITTED, 3 * known.season):
        return np.full(known.coming.size, known.values.mean())
    model = AutoETS(season_length=known.season, model="AAA", damped=True) if known.season > 1 else AutoETS(model="ANN")
    return np.asarray(model.forecast(known.values, h=known.coming.size)["mean"], dtype=np.float64)


def theta(known: Known) -> Floats:
    """Theta on the values without their weekday."""
    from statsforecast.models import Theta

    if known.values.size < max(FEWEST_FITTED, 3 * known.season):
        return np.full(known.coming.size, known.values.mean())
    model = Theta(season_length=known.season, decomposition_type="additive")
    return np.asarray(model.forecast(known.values, h=known.coming.size)["mean"], dtype=np.float64)


MODELS: Mapping[str, Model] = {
    model.__name__: model
    for model in (
        seasonal_naive,
        weekday_profile,
        quarter_mean,
        recent_median,
        last_year,
        regression,
        ets,
        theta,
    )
}
"""Every model by its name."""

_A_YEAR = np.timedelta64(365, "D")


def _profile(known: Known, periods: int) -> Floats:
    season = known.season
    recent, at = known.values[-PROFILE_PERIODS * season :], weekdays(known.days[-PROFILE_PERIODS * season :])
    means = np.convolve(recent, np.ones(season) / season, "valid")
    around = np.interp(np.arange(recent.size), np.arange(means.size) + (season - 1) / 2, means)
    effect = {weekday: float(np.median((recent - around)[at == weekday])) for weekday in np.unique(at)}
    flat = recent - np.array([effect[weekday] for weekday in at])
    level = flat[-periods * season :].mean()
    return np.array([level + effect.get(weekday, 0.0) for weekday in weekdays(known.coming)])


def _regressors(days: Dates, is_open: Flags, harmonics: int) -> Floats:
    """Constant, weekdays but the first, the open day after and before a closed one, yearly sines and cosines."""
    at = weekdays(days)
    after = is_open & np.concatenate([[False], ~is_open[:-1]])
    before = is_open & np.concatenate([~is_open[1:], [False]])
    phase = 2 * np.pi * days.astype("datetime64[D]").astype(np.int64) / 365.25
    yearly = [wave(k * phase) for k in range(1, harmonics + 1) for wave in (np.sin, np.cos)]
    columns = [np.ones(days.size), *(at == weekday for weekday in np.unique(at)[1:]), after, before, *yearly]
    return np.stack(columns, axis=1).astype(np.float64)


def _smoothed(values: Floats) -> Floats:
    """The mean of the values within six places on either side."""
    half = SMOOTHED_DAYS // 2
    return np.array([values[max(0, at - half) : at + half + 1].mean() for at in range(values.size)])
