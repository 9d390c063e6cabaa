"""Forecasts: what a shop of a known pattern is foretold, what an origin may know, and what stops a table."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from retail_platform.contracts import DEMAND_FORECAST, FORECAST_BACKTEST, REVENUE_FORECAST
from retail_platform.transforms.forecast_models import MODELS, Known
from retail_platform.transforms.forecasts import BANDS, DEMAND, REVENUE, Forecasts, Shop, forecasts, shop_of
from retail_platform.transforms.outlook import (
    Outlook,
    bands_cover_as_promised,
    forecast_is_complete,
    outlook,
    pooled_backtest,
    published_models_beat_naive,
)
from retail_platform.transforms.quality import contract_holds

FIRST, AS_OF = date(2010, 1, 4), date(2010, 8, 29)
"""A Monday, and a Sunday 34 weeks later."""
BY_WEEKDAY = {1: 100.0, 2: 110.0, 3: 120.0, 4: 140.0, 5: 80.0, 7: 50.0}
HOLIDAYS = [date(2010, 4, 2), date(2010, 4, 5), date(2010, 5, 3), date(2010, 5, 31), date(2010, 8, 30)]
CLOSED = {*HOLIDAYS, date(2010, 4, 4)}


def shop_days(until: date = AS_OF) -> list[date]:
    days = [FIRST + timedelta(days=n) for n in range((until - FIRST).days + 1)]
    return [day for day in days if day.isoweekday() != 6 and day not in CLOSED]


def daily(noise: float = 0.0, series: str = "United Kingdom", level: float = 1.0) -> pl.DataFrame:
    """Revenue of the weekday, with noise of a share, on the days the shop is open."""
    random, days = np.random.default_rng(1), shop_days()
    amounts = [level * BY_WEEKDAY[day.isoweekday()] * (1 + noise * random.standard_normal()) for day in days]
    return pl.DataFrame({"series": series, "sale_date": days, "amount": amounts})


def shop(frame: pl.DataFrame, until: date = AS_OF) -> Shop:
    return shop_of(frame["sale_date"], until, HOLIDAYS)


@pytest.fixture(scope="module")
def noisy() -> Forecasts:
    return forecasts(REVENUE, shop(daily()), pl.concat([daily(0.3), daily(0.5, "European Union", 9.0)]))


def test_a_week_that_repeats_is_foretold_and_closed_days_are_0() -> None:
    frame = daily()
    found = forecasts(REVENUE, shop(frame), frame)
    path = found.forecast.filter(scenario="baseline").select("start", "expected", *BANDS).rows()
    assert [row[0] for row in path] == [AS_OF + timedelta(days=n) for n in range(1, 31)]
    for day, *values in path:
        # 30 August is a bank holiday, and the shop was closed on every one before.
        closed = day.isoweekday() == 6 or day == date(2010, 8, 30)
        assert values == pytest.approx([0.0 if closed else BY_WEEKDAY[day.isoweekday()]] * 5)


def test_what_nothing_beats_is_published_as_naive() -> None:
    frame = daily()
    found = forecasts(REVENUE, shop(frame), frame)
    chosen = found.backtest.filter("is_chosen")
    assert chosen["model"].unique().to_list() == ["seasonal_naive"]
    assert chosen["origin_date"].to_list() == [AS_OF - timedelta(days=30 * n) for n in range(6, 0, -1)]


def test_with_noise_a_model_beats_the_naive_and_bands_hold_what_they_promise(noisy: Forecasts) -> None:
    pooled = pooled_backtest(noisy.backtest.with_columns(as_of_date=AS_OF))
    chosen = pooled.filter("is_chosen")
    assert chosen.height == 2
    assert chosen["mase"].max() < 0.85  # the naive repeats one noisy week: sqrt(2) times the error
    assert chosen["coverage_80_pct"].to_list() == pytest.approx([80, 80], abs=8)
    assert chosen["coverage_95_pct"].to_list() == pytest.approx([95, 95], abs=5)


def test_errors_are_those_of_the_paths() -> None:
    """Of the naive, worked out from the frame: the last open day of the weekday against what came."""
    frame = daily(0.3)
    row = (
        forecasts(REVENUE, shop(frame), frame)
        .backtest.filter(model="seasonal_naive")
        .sort("origin_date")
        .row(-1, named=True)
    )
    amounts = dict(frame.select("sale_date", "amount").iter_rows())
    origin, last = row["origin_date"], {}
    for day in sorted(day for day in amounts if day <= origin):
        last[day.isoweekday()] = amounts[day]
    coming = [origin + timedelta(days=n) for n in range(1, 31)]
    foretold = [last.get(day.isoweekday(), 0.0) if day not in CLOSED else 0.0 for day in coming]
    came = [amounts.get(day, 0.0) for day in coming]
    assert row["mae"] == pytest.approx(np.mean(np.abs(np.subtract(foretold, came))))
    assert (row["expected_total"], row["actual_total"]) == pytest.approx((sum(foretold), sum(came)))


def test_what_came_after_an_origin_does_not_change_what_it_foretold() -> None:
    frame = pl.concat([daily(0.3), daily(0.5, "European Union", 9.0)])
    changed_from = AS_OF - timedelta(days=59)
    later = pl.col("sale_date") >= changed_from
    # Other amounts, and the shop closed on Mondays from then on.
    other = frame.with_columns(amount=pl.when(later).then(1000 - pl.col("amount")).otherwise("amount"))
    other = other.filter(~later | (pl.col("sale_date").dt.weekday() != 1))
    before, after = (forecasts(REVENUE, shop(each), each).backtest for each in (frame, other))
    known = pl.col("origin_date") < changed_from
    columns = ["series", "model", "origin_date", "expected_total"]
    assert before.filter(known).height == 2 * 6 * 5
    assert before.filter(known).select(columns).equals(after.filter(known).select(columns))
    assert not before.filter(~known).select(columns).equals(after.filter(~known).select(columns))


def test_demand_goes_by_the_days_the_shop_is_open() -> None:
    """Ten units a day on which the shop sells: the week with a bank holiday has 50 of 60."""
    days = shop_days()
    frame = pl.DataFrame({"series": "10001", "sale_date": days, "amount": [10.0] * len(days)})
    found = forecasts(DEMAND, shop(frame), frame)
    path = found.forecast.filter(scenario="baseline")
    assert path["open_days"].to_list() == [5, 6, 6, 6, 6]
    assert path["expected"].to_list() == pytest.approx([50, 60, 60, 60, 60])
    assert path["start"].to_list() == [AS_OF + timedelta(days=1 + 7 * n) for n in range(5)]


def test_too_little_history_is_not_forecast() -> None:
    frame = daily().filter(pl.col("sale_date") < date(2010, 4, 1))
    found = forecasts(REVENUE, shop(frame, date(2010, 3, 28)), frame)
    assert (found.forecast.height, found.backtest.height) == (0, 0)
    made = outlook(frame, frame.clear(), date(2010, 3, 28), HOLIDAYS)
    assert all(contract_holds(table, each).passed for table, each in zip(TABLES, made, strict=True))
    assert published_models_beat_naive(made).passed
    assert forecast_is_complete(made.revenue, [], REVENUE).passed


def test_nothing_at_all_is_not_forecast() -> None:
    made = outlook(daily().clear(), daily().clear(), date(1970, 1, 4), [])
    assert [frame.height for frame in made] == [0, 0, 0]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("weeks", [1, 2, 13, 80])
def test_every_model_says_something_finite(name: str, weeks: int) -> None:
    days = np.array([day for day in shop_days(FIRST + timedelta(days=7 * weeks - 1))], dtype="datetime64[D]")
    coming = days[-1] + np.arange(1, 8).astype("timedelta64[D]")
    coming = coming[(coming.astype(np.int64) + 3) % 7 != 5]
    values = np.sin(np.arange(days.size))
    known = Known(days, values, np.ones(days.size, dtype=bool), coming, np.ones(coming.size, dtype=bool))
    said = MODELS[name](known)
    assert said.shape == coming.shape
    assert np.isfinite(said).all()


TABLES = (REVENUE_FORECAST, DEMAND_FORECAST, FORECAST_BACKTEST)


@pytest.fixture(scope="module")
def made() -> Outlook:
    revenue = pl.concat([daily(0.3), daily(0.4, "All countries", 2.0)])
    return outlook(revenue, daily(0.3, "10001"), AS_OF, HOLIDAYS)


def test_the_tables_follow_their_contracts_and_pass(made: Outlook) -> None:
    assert all(contract_holds(table, each).passed for table, each in zip(TABLES, made, strict=True))
    assert forecast_is_complete(made.revenue, ["All countries", "United Kingdom"], REVENUE).passed
    assert forecast_is_complete(made.demand, ["10001"], DEMAND).passed
    assert published_models_beat_naive(made).passed
    assert bands_cover_as_promised(made.backtest).passed


def test_a_day_or_a_series_that_is_missing_is_found(made: Outlook) -> None:
    short = made.revenue.filter(pl.col("forecast_date") != AS_OF + timedelta(days=7))
    assert not forecast_is_complete(short, ["All countries", "United Kingdom"], REVENUE).passed
    assert not forecast_is_complete(made.revenue, ["All countries", "United Kingdom", "European Union"], REVENUE).passed
    one_scenario = made.demand.filter(pl.col("scenario") != "optimistic")
    assert not forecast_is_complete(one_scenario, ["10001"], DEMAND).passed


@pytest.mark.parametrize("column", ["low_80", "high_95", "expected_revenue"])
def test_bands_that_cross_are_found(made: Outlook, column: str) -> None:
    wrong = made.revenue.with_columns(
        pl.when("is_open").then(-1).otherwise(column).cast(pl.Decimal(18, 4)).alias(column)
    )
    finding = forecast_is_complete(wrong, ["All countries", "United Kingdom"], REVENUE)
    assert not finding.passed
    assert finding.evidence["crossed"].height > 0


def test_a_model_that_the_naive_beats_is_found(made: Outlook) -> None:
    worse = made.backtest.with_columns(mae=pl.when("is_chosen").then(pl.col("naive_mae") + 1).otherwise("mae"))
    worse = worse.with_columns(model=pl.when("is_chosen").then(pl.lit("ets")).otherwise("model"))
    finding = published_models_beat_naive(made._replace(backtest=worse))
    assert not finding.passed
    assert finding.evidence["lost"].height == 3
    none = made.backtest.with_columns(is_chosen=pl.lit(False))
    assert not published_models_beat_naive(made._replace(backtest=none)).passed


@pytest.mark.parametrize(("table", "column"), [("revenue", "country_group"), ("demand", "stock_code")])
def test_a_forecast_by_another_model_than_the_chosen_one_is_found(made: Outlook, table: str, column: str) -> None:
    frame: pl.DataFrame = getattr(made, table)
    chosen, others = frame["model"][0], [name for name in ("ets", "theta") if name != frame["model"][0]]
    wrong = frame.with_columns(pl.col("model").replace(chosen, others[0]))
    finding = published_models_beat_naive(made._replace(**{table: wrong}))
    assert not finding.passed
    assert set(finding.evidence["others"]["series"]) <= set(frame[column])


def test_bands_that_are_too_narrow_or_too_wide_are_found(made: Outlook) -> None:
    for pct in (50.0, 99.0):
        wrong = made.backtest.with_columns(coverage_80_pct=pl.lit(pct))
        assert not bands_cover_as_promised(wrong).passed


def test_the_order_of_rows_does_not_matter(made: Outlook) -> None:
    revenue = pl.concat([daily(0.4, "All countries", 2.0), daily(0.3)]).reverse()
    again = outlook(revenue, daily(0.3, "10001").reverse(), AS_OF, HOLIDAYS)
    assert all(left.equals(right) for left, right in zip(made, again, strict=True))
