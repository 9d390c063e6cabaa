"""Anomalies: revenue made of trend, week and a few odd days, in a shop that is closed on Saturdays and at Christmas."""

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from retail_platform.transforms.anomalies import (
    ANOMALIES,
    AnomalyRule,
    judged_groups,
    largest_members,
    revenue_anomalies,
)

FIRST = date(2010, 1, 3)
"""A Sunday."""
CLOSED = {date(2010, 12, 24) + timedelta(days=day) for day in range(11)}
BY_WEEKDAY = {1: 1.0, 2: 1.1, 3: 1.2, 4: 1.4, 5: 0.8, 7: 0.5}


def shop(days: int = 500, level: float = 10_000.0, name: str = "UK", noise: float = 0.05) -> pl.DataFrame:
    """Revenue of a shop's days: a weekly pattern on a slow trend, with noise of a share."""
    random = np.random.default_rng(1)
    dates = [day for day in (FIRST + timedelta(days=n) for n in range(days)) if day.isoweekday() != 6]
    open_days = [day for day in dates if day not in CLOSED]
    revenue = [
        level * BY_WEEKDAY[day.isoweekday()] * (1 + (day - FIRST).days / 1_000) * (1 + noise * random.standard_normal())
        for day in open_days
    ]
    amounts = [Decimal(str(round(value, 2))) for value in revenue]
    columns = {
        "dimension": "country",
        "member": [name] * len(open_days),
        "sale_date": open_days,
        "net_revenue": amounts,
    }
    return pl.DataFrame(columns, schema_overrides={"net_revenue": pl.Decimal(18, 4)})


def changed(daily: pl.DataFrame, day: date, amount: int) -> pl.DataFrame:
    now = pl.when(pl.col("sale_date") == day).then(pl.lit(amount).cast(pl.Decimal(18, 4))).otherwise("net_revenue")
    return daily.with_columns(net_revenue=now)


@pytest.mark.parametrize(("amount", "sign"), [(40_000, 1), (500, -1), (-9_000, -1)])
def test_an_odd_day_is_found_with_its_band(amount: int, sign: int) -> None:
    day = date(2010, 6, 16)
    found = revenue_anomalies(changed(shop(), day, amount))
    assert found.schema == ANOMALIES
    row = found.filter(sale_date=day).row(0, named=True)
    assert (row["net_revenue"], row["is_anomaly"]) == (Decimal(amount), True)
    assert row["score"] * sign > 3.5
    # A Wednesday half a year after the start: 10,000 * 1.2 * 1.164.
    assert float(row["expected_revenue"]) == pytest.approx(13_968, rel=0.05)
    assert row["low_revenue"] < row["expected_revenue"] < row["high_revenue"]


def test_days_that_are_as_always_are_no_anomalies() -> None:
    found = revenue_anomalies(shop())
    assert found["is_anomaly"].sum() == 0
    error = (found["expected_revenue"] / found["net_revenue"] - 1).abs()
    assert float(error.median() or 1) < 0.06


def test_closed_days_are_neither_judged_nor_do_they_disturb() -> None:
    found = revenue_anomalies(shop())
    days = set(found["sale_date"])
    assert {day.isoweekday() for day in days} == set(BY_WEEKDAY)
    assert not days & CLOSED
    around = found.filter(
        pl.col("sale_date").is_between(min(CLOSED) - timedelta(days=7), max(CLOSED) + timedelta(days=7))
    )
    assert around["score"].abs().max() < 3.5


def test_one_odd_opening_on_a_closed_weekday_is_not_judged() -> None:
    saturday = pl.DataFrame(
        {"dimension": "country", "member": "UK", "sale_date": [date(2010, 6, 19)], "net_revenue": [Decimal("1.0000")]},
        schema=shop().schema,
    )
    expected = revenue_anomalies(shop())
    assert revenue_anomalies(pl.concat([shop(), saturday])).equals(expected)


def test_a_day_on_which_others_sold_counts_as_nothing_sold() -> None:
    day = date(2010, 6, 16)
    other = shop(name="EIRE", level=900.0)
    found = revenue_anomalies(pl.concat([shop().filter(pl.col("sale_date") != day), other])).filter(sale_date=day)
    assert found.select("member", "net_revenue", "is_anomaly").rows()[1] == ("UK", Decimal(0), True)
    assert found["is_anomaly"].to_list() == [False, True]


def test_groups_with_few_days_are_not_judged_and_say_so() -> None:
    seldom = shop(name="Malta").gather_every(2)
    late = shop(name="Japan").filter(pl.col("sale_date") > date(2011, 4, 1))
    daily = pl.concat([shop(), seldom, late])
    groups = judged_groups(daily)
    assert groups.select("member", "is_judged").rows() == [("Japan", False), ("Malta", False), ("UK", True)]
    by_name = {row["member"]: row for row in groups.to_dicts()}
    assert by_name["Malta"]["sale_day_share_pct"] == pytest.approx(50, abs=0.5)
    assert by_name["Japan"]["sale_day_share_pct"] == 100
    assert set(revenue_anomalies(daily)["member"]) == {"UK"}


def test_a_group_is_judged_from_its_first_day() -> None:
    late = shop(name="Japan").filter(pl.col("sale_date") >= date(2010, 9, 1))
    found = revenue_anomalies(pl.concat([shop(), late])).filter(member="Japan")
    assert found["sale_date"].min() == date(2010, 9, 1)


def test_what_is_exactly_as_always_still_has_a_band() -> None:
    found = revenue_anomalies(shop(noise=0.0), AnomalyRule(minimum_spread=0.05))
    assert found["is_anomaly"].sum() == 0
    assert (found["high_revenue"] > found["low_revenue"]).all()


def test_no_days_no_anomalies() -> None:
    assert revenue_anomalies(shop().clear()).equals(ANOMALIES.to_frame())
    assert judged_groups(shop().clear()).is_empty()


def test_the_order_of_rows_does_not_matter() -> None:
    daily = pl.concat([shop(), shop(name="EIRE", level=700.0)])
    assert revenue_anomalies(daily.reverse()).equals(revenue_anomalies(daily))


def test_expected_revenue_and_score_are_those_of_the_decomposition() -> None:
    from statsmodels.tsa.seasonal import STL

    daily = shop(days=300)  # ends before Christmas: no day to fill
    revenue = daily["net_revenue"].cast(pl.Float64).to_numpy()
    scaled = np.arcsinh(revenue / np.median(revenue))
    jumps = {"seasonal_jump": 4, "trend_jump": 4}
    residuals = STL(scaled, period=6, seasonal=35, trend=37, robust=True, **jumps).fit().resid
    centred = residuals - np.median(residuals)
    spread = max(1.4826 * np.median(np.abs(centred)), 0.05)
    found = revenue_anomalies(daily)
    assert found["score"].to_numpy() == pytest.approx(centred / spread)
    expected = np.sinh(scaled - centred) * np.median(revenue)
    assert found["expected_revenue"].cast(pl.Float64).to_numpy() == pytest.approx(expected, abs=1e-4)


def test_the_largest_members_come_first_and_each_with_its_days() -> None:
    judged = pl.concat(
        revenue_anomalies(shop(level=level, name=name))
        for name, level in (("UK", 900.0), ("EIRE", 1000.0), ("USA", 10.0))
    )
    found = largest_members(judged.reverse(), {"total": 1, "country": 2})
    assert [frame["member"].unique().to_list() for frame in found] == [["EIRE"], ["UK"]]
    assert found[1].equals(judged.filter(member="UK"))
