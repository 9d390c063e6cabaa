"""Drift: indices worked by hand, SciPy on the rows themselves, and days that were made to move."""

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from retail_platform.transforms.drift import (
    COLUMN_DRIFT,
    ROW_DRIFT,
    DriftRule,
    column_drift,
    days_look_like_those_before,
    every_day_is_judged,
    kolmogorov_smirnov,
    population_stability,
    row_drift,
    shares_of_bins,
)

NOW = date(2011, 3, 31)
SHARES = arrays(np.int64, 6, elements=st.integers(0, 500)).filter(lambda counts: counts.sum() > 0)


def test_psi_as_a_person_works_it() -> None:
    # Shares 0.5, 0.5 and 0.8, 0.2: 0.3 ln(1.6) - 0.3 ln(0.4).
    expected = 0.3 * math.log(1.6) - 0.3 * math.log(0.4)
    assert population_stability(np.array([50, 50]), np.array([8, 2])) == pytest.approx(expected)


def test_an_empty_bin_counts_as_half_a_row() -> None:
    expected = (0.05 - 0.5) * math.log(0.05 / 0.5) + (1 - 0.5) * math.log(1 / 0.5)
    assert population_stability(np.array([50, 50]), np.array([0, 10])) == pytest.approx(expected)


@given(SHARES, st.integers(1, 50))
def test_psi_of_equal_distributions_is_none_whatever_the_totals(counts: np.ndarray, times: int) -> None:
    assert population_stability(counts, counts * times) == pytest.approx(0, abs=1e-12)


@given(SHARES, SHARES)
def test_psi_is_symmetric_and_never_negative(first: np.ndarray, second: np.ndarray) -> None:
    psi = population_stability(first, second)
    assert psi == pytest.approx(population_stability(second, first))
    assert psi >= 0


@given(SHARES, SHARES)
def test_kolmogorov_smirnov_is_that_of_scipy_on_the_rows(first: np.ndarray, second: np.ndarray) -> None:
    values = np.arange(first.size)
    expected = ks_2samp(np.repeat(values, first), np.repeat(values, second), method="asymp")
    assert kolmogorov_smirnov(first, second) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)


def history(days: int = 30, rows: int = 400, now: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Days of equal rows before NOW: prices 1 to 100 in equal shares, half of the countries each; then NOW's."""
    one = pl.DataFrame({"unit_price": [1 + n % 100 for n in range(rows)], "country": ["UK", "EIRE"] * (rows // 2)})
    before = [one.with_columns(sale_date=pl.lit(NOW - timedelta(days=back))) for back in range(1, days + 1)]
    last = (one if now is None else now).with_columns(sale_date=pl.lit(NOW))
    return pl.concat([*before, last.select(before[0].columns)]).lazy()


def judged(lines: pl.LazyFrame, column: str, rule: DriftRule | None = None) -> dict[str, object]:
    found = column_drift(lines, [column], [NOW], rule)
    assert found.schema == COLUMN_DRIFT
    return found.row(0, named=True)


def test_an_equal_day_is_stable() -> None:
    for column in ("unit_price", "country"):
        found = judged(history(), column)
        assert (found["verdict"], found["row_count"], found["reference_count"]) == ("stable", 400, 12_000)
        assert found["psi"] == pytest.approx(0, abs=1e-12)
    assert judged(history(), "unit_price")["ks_p_value"] is None


def test_doubled_prices_shifted_and_the_sentence_says_which() -> None:
    now = pl.DataFrame({"unit_price": [2 * (1 + n % 100) for n in range(400)], "country": ["UK", "EIRE"] * 200})
    found = judged(history(now=now), "unit_price")
    # Half of the prices are above 100 now; up to 90 are 45 % of the rows, so the last bin has 55 %.
    assert (found["kind"], found["verdict"], found["ks_statistic"]) == ("number", "shifted", 0.5)
    assert str(found["advice"]).startswith(
        "unit_price shifted (PSI, KS): most of all 91 to 200, from 10.0 % to 55.0 % of the rows;"
    )


def test_a_moved_category_is_named() -> None:
    now = pl.DataFrame({"unit_price": [1] * 400, "country": ["UK"] * 260 + ["EIRE"] * 140})
    found = judged(history(now=now), "country")
    expected = 0.15 * math.log(0.65 / 0.5) - 0.15 * math.log(0.35 / 0.5)
    assert found["psi"] == pytest.approx(expected)
    assert (found["kind"], found["verdict"], found["ks_statistic"]) == ("category", "stable", None)
    assert judged(history(now=now), "country", DriftRule(psi_moved=0.09))["verdict"] == "moved"


def test_a_day_as_odd_as_one_of_the_reference_is_stable() -> None:
    odd = pl.DataFrame({"unit_price": [1] * 400, "country": ["UK"] * 380 + ["EIRE"] * 20})
    earlier = odd.with_columns(sale_date=pl.lit(NOW - timedelta(days=7)))
    lines = history(now=odd)
    assert judged(lines, "country")["verdict"] == "shifted"
    usual = pl.concat([lines.filter(pl.col("sale_date") != earlier["sale_date"][0]), earlier.lazy()])
    found = judged(usual, "country")
    assert found["psi"] == pytest.approx(found["usual_psi"])
    assert found["verdict"] == "stable"


def test_nulls_alone_make_a_number_move() -> None:
    now = pl.DataFrame({"unit_price": [1 + n % 100 if n >= 100 else None for n in range(500)], "country": "UK"})
    found = judged(history(now=now), "unit_price")
    assert (found["null_share_pct"], found["reference_null_share_pct"]) == (20.0, 0.0)
    assert found["verdict"] == "moved"
    assert "null share" in str(found["advice"])


def test_a_column_that_is_empty_now_shifted() -> None:
    now = pl.DataFrame({"unit_price": pl.Series([None] * 400, dtype=pl.Int64), "country": "UK"})
    found = judged(history(now=now), "unit_price")
    assert (found["verdict"], found["psi"], found["null_share_pct"]) == ("shifted", None, 100.0)
    assert str(found["advice"]).startswith("unit_price shifted (null share): null from 0.0 % to 100.0 %.")


def test_too_few_rows_or_days_are_not_judged() -> None:
    few = pl.DataFrame({"unit_price": [1] * 199, "country": ["UK"] * 199})
    for lines in (history(now=few), history(days=9)):
        found = judged(lines, "country")
        assert (found["verdict"], found["psi"]) == (None, None)
        assert str(found["advice"]).startswith("Not judged: ")


def test_older_days_are_no_reference_and_days_without_lines_have_no_row() -> None:
    lines = history(days=40)
    assert judged(lines, "country")["reference_count"] == 30 * 400
    assert column_drift(lines, ["country"], [NOW + timedelta(days=1)]).is_empty()


def weeks(*counts: int) -> pl.DataFrame:
    """The number of rows of NOW and of the same weekday before it, newest last."""
    days = [NOW - timedelta(weeks=len(counts) - 1 - place) for place in range(len(counts))]
    return pl.DataFrame({"sale_date": days, "row_count": counts}, schema_overrides={"row_count": pl.Int64})


@pytest.mark.parametrize(
    ("now", "verdict"), [(1000, "stable"), (1517, "stable"), (1519, "moved"), (2100, "shifted"), (0, "moved")]
)
def test_rows_are_compared_with_the_same_weekday(now: int, verdict: str) -> None:
    # Median 1000, median deviation 75, so the floor of 148 is the robust standard deviation; 3.5 of them are 518.
    before = (900, 1100, 1000, 950, 1000, 1050, 900, 1100)
    found = row_drift(weeks(*before, now), [NOW], DriftRule(rows_spread=0.148))
    assert found.schema == ROW_DRIFT
    row = found.row(0, named=True)
    assert (row["expected_rows"], row["low_rows"], row["high_rows"]) == (1000, 482, 1518)
    assert row["verdict"] == verdict


def test_other_weekdays_do_not_count_and_few_weeks_are_not_judged() -> None:
    yesterday = pl.DataFrame({"sale_date": [NOW - timedelta(days=1)], "row_count": [5]})
    found = row_drift(pl.concat([weeks(1, 2, 3, 4), yesterday]), [NOW], None).row(0, named=True)
    assert found["verdict"] is None
    assert found["advice"] == "Not judged: only 3 of the 8 weeks before have this weekday."


PRICES, COUNTRIES = st.integers(1, 40), st.sampled_from([f"C{n}" for n in range(30)])
DAYS_OF_LINES = st.lists(st.lists(st.tuples(PRICES, COUNTRIES), max_size=12), min_size=3, max_size=9)


@settings(deadline=None, max_examples=40)
@given(DAYS_OF_LINES, st.data())
def test_a_verdict_is_of_its_days_alone(days: list[list[tuple[int, str]]], data: st.DataObject) -> None:
    """Which other days are judged or read with it changes nothing: gold does not depend on the order of runs."""
    rule = DriftRule(days=3, minimum_rows=2, minimum_days=1, categories=3)
    rows = [(NOW - timedelta(days=back), *line) for back, lines in enumerate(days) for line in lines]
    lines = pl.DataFrame(rows, {"sale_date": pl.Date, "unit_price": pl.Int64, "country": pl.String}, orient="row")
    day = NOW - timedelta(days=data.draw(st.integers(0, len(days) - 1)))
    columns = ["unit_price", "country"]
    every = column_drift(lines.lazy(), columns, lines["sale_date"].to_list(), rule).filter(pl.col("sale_date") == day)
    near = lines.filter(pl.col("sale_date").is_between(day - timedelta(days=3), day))
    assert column_drift(near.lazy(), columns, [day], rule).equals(every)


def test_the_picture_has_the_shares_of_the_verdict() -> None:
    now = pl.DataFrame({"unit_price": [1] * 400, "country": ["UK"] * 320 + ["EIRE"] * 80})
    bins = shares_of_bins(history(now=now), "country", NOW)
    assert bins.rows() == [("'EIRE'", 50, 20), ("'UK'", 50, 80), ("all others", 0, 0), ("null", 0, 0)]


def test_a_shifted_day_is_found_and_the_sentence_is_its_advice() -> None:
    now = pl.DataFrame({"unit_price": [1] * 400, "country": ["UK"] * 400})
    rows = row_drift(weeks(1000, 1000, 1000, 1000, 9000), [NOW])
    columns = column_drift(history(now=now), ["country"], [NOW])
    found = days_look_like_those_before(columns, rows)
    assert not found.passed
    assert found.description.startswith(
        "1 days: 1 columns and 1 numbers of rows shifted, 0 moved. country shifted (PSI)"
    )
    assert days_look_like_those_before(columns.head(0), rows.head(0)).passed


def test_a_day_that_is_judged_with_other_lines_is_found() -> None:
    daily = pl.DataFrame({"sale_date": [NOW], "row_count": [400]}, schema_overrides={"row_count": pl.Int64})
    columns, rows = column_drift(history(), ["country"], [NOW]), row_drift(daily, [NOW])
    assert every_day_is_judged(columns, rows, daily).passed
    assert not every_day_is_judged(columns, rows, daily.with_columns(row_count=pl.lit(401))).passed
    assert not every_day_is_judged(columns.head(0), rows, daily).passed
    assert not every_day_is_judged(columns, rows, daily.head(0)).passed
