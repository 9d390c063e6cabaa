"""Forecasts and anomalies on all of the real data, against SQL, NumPy and statsmodels on the lines of the raw file."""

import os
from datetime import date, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from retail_platform.contracts import DEMAND_FORECAST, FORECAST_BACKTEST, REVENUE_ANOMALIES, REVENUE_FORECAST
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder"),
]

AS_OF = date(2011, 12, 4)

DAILY = "select sold, sum(quantity * price)::double from lines where sold <= date '2011-12-04' group by 1 order by 1"

NAIVE = """
with daily as (select sold, sum(quantity * price)::double as revenue from lines group by 1),
origins as (select date '2011-12-04' - 30 * k::integer as origin from range(1, 7) as t(k)),
days as (select origin, origin + n::integer as day from origins, range(1, 31) as t(n)),
foretold as (
    select origin, day, case when isodow(day) = 6 or day = date '2011-08-29' then 0 else (
        select revenue from daily where sold <= origin and isodow(sold) = isodow(day) order by sold desc limit 1
    ) end as revenue from days
)
select origin::date, avg(abs(foretold.revenue - coalesce(daily.revenue, 0)))
from foretold left join daily on sold = day group by 1 order by 1
"""


def test_the_naive_s_errors_equal_sql(real_platform: Settings, raw_lines: duckdb.DuckDBPyConnection) -> None:
    backtest = Lake(real_platform.lake).scan(FORECAST_BACKTEST).collect()
    naive = backtest.filter(series="All countries", model="seasonal_naive").sort("origin_date")
    expected = raw_lines.sql(NAIVE).fetchall()
    assert naive["origin_date"].to_list() == [origin for origin, _ in expected]
    assert naive["mae"].to_list() == pytest.approx([mae for _, mae in expected])
    assert backtest["as_of_date"].unique().to_list() == [AS_OF]


def test_every_country_group_beats_the_naive(real_platform: Settings) -> None:
    backtest = Lake(real_platform.lake).scan(FORECAST_BACKTEST).collect()
    chosen = backtest.filter("is_chosen").group_by("subject", "series").agg(pl.col("mae", "naive_mae").sum())
    mase = chosen.with_columns(mase=pl.col("mae") / pl.col("naive_mae")).sort("series")
    revenue = mase.filter(subject="revenue")
    print(revenue, mase.filter(subject="demand")["mase"].describe())
    assert revenue.height == 4
    assert revenue["mase"].max() < 0.8
    demand = mase.filter(subject="demand")
    assert demand.height == 50
    assert demand["mae"].sum() / demand["naive_mae"].sum() < 0.8


def test_the_profile_s_totals_are_those_of_numpy(real_platform: Settings, raw_lines: duckdb.DuckDBPyConnection) -> None:
    """The last origin by hand: no day of it is one on which the shop was closed for once."""
    origin = AS_OF - timedelta(days=30)
    days, revenue = (np.array(column) for column in zip(*raw_lines.sql(DAILY).fetchall(), strict=True))
    of_day = dict(zip(days, revenue, strict=True))
    known = np.array([day for day in days if day <= origin and day.isoweekday() != 6])
    unit = 4 * np.median([abs(of_day[day]) for day in known])
    recent = np.array([np.arcsinh(of_day[day] / unit) for day in known[-26 * 6 :]])
    assert (known[-1] - known[-26 * 6]).days > 26 * 7 - 1  # a bank holiday lies between, which the model fills
    backtest = Lake(real_platform.lake).scan(FORECAST_BACKTEST).collect()
    row = backtest.filter(series="All countries", model="weekday_profile", origin_date=origin).row(0, named=True)
    mean = np.sinh(recent[-48:].mean()) * unit
    coming = [origin + timedelta(days=n) for n in range(1, 31)]
    assert row["expected_total"] == pytest.approx(mean * sum(day.isoweekday() != 6 for day in coming), rel=0.05)
    assert row["actual_total"] == pytest.approx(sum(of_day.get(day, 0) for day in coming))


def test_forecasts_are_whole_and_closed_days_are_0(real_platform: Settings) -> None:
    lake = Lake(real_platform.lake)
    revenue, demand = (lake.scan(table).collect() for table in (REVENUE_FORECAST, DEMAND_FORECAST))
    assert (revenue.height, demand.height) == (4 * 3 * 30, 50 * 3 * 5)
    closed = revenue.filter(~pl.col("is_open"))["forecast_date"].unique().sort()
    saturdays = [date(2011, 12, 10), date(2011, 12, 17)]
    christmas = [date(2011, 12, 24) + timedelta(days=n) for n in range(10)]
    assert closed.to_list() == [*saturdays, *christmas]
    assert revenue.filter(~pl.col("is_open"))["high_95"].max() == 0
    assert revenue.filter("is_open", country_group="All countries")["expected_revenue"].to_numpy().min() > 0


def test_scores_equal_statsmodels_on_a_series_in_sql(
    real_platform: Settings, raw_lines: duckdb.DuckDBPyConnection
) -> None:
    from statsmodels.tsa.seasonal import STL  # type: ignore[import-untyped]

    days, revenue = zip(*raw_lines.sql(DAILY).fetchall(), strict=True)
    of_day = dict(zip(days, revenue, strict=True))
    axis = [day for n in range((AS_OF - days[0]).days + 1) if (day := days[0] + timedelta(days=n)).isoweekday() != 6]
    is_open = np.array([day in of_day for day in axis])
    unit = np.median([abs(of_day[day]) for day in axis if day in of_day])
    scaled = np.array([np.arcsinh(of_day.get(day, 0) / unit) for day in axis])
    for at in np.flatnonzero(~is_open):
        before = [near for near in range(at - 6, -1, -6) if is_open[near]][:2]
        after = [near for near in range(at + 6, len(axis), 6) if is_open[near]][:2]
        scaled[at] = np.median(scaled[before + after])
    residuals = (
        STL(scaled, period=6, seasonal=35, trend=37, robust=True, seasonal_jump=4, trend_jump=4).fit().resid[is_open]
    )
    centred = residuals - np.median(residuals)
    expected = centred / (1.4826 * np.median(np.abs(centred)))

    judged = Lake(real_platform.lake).scan(REVENUE_ANOMALIES).filter(dimension="total").collect().sort("sale_date")
    assert judged["sale_date"].to_list() == [day for day in axis if day in of_day]
    assert judged["score"].to_list() == pytest.approx(expected.tolist())
    assert judged["is_anomaly"].to_list() == (np.abs(expected) > 3.5).tolist()
    print(judged.filter("is_anomaly").select("sale_date", "net_revenue", "score"))
