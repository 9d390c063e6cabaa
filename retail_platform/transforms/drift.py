"""Drift: whether new rows look like those of the days before, column by column, and whether there are as many.

Everything is computed from counts of values per day: rows are read once however many days are judged, and the memory is
that of days times distinct values. What a column should hold stays out (contracts, checks); drift is a reason to look,
not an error.

Population stability index (PSI) of the shares r and c of bins, in the reference and now: sum of (c - r) ln(c / r)
(Siddiqi, "Credit Risk Scorecards", 2006, with its thresholds 0.1 and 0.25). **Smoothing:** a bin without a row counts
as half a row; nothing else is added, so equal shares have PSI 0 whatever the totals. Bins of numbers are the ten
between the reference's deciles; those of categories its 20 most frequent values, one for all others and one for null.

Kolmogorov-Smirnov: the greatest distance D of the cumulative shares of the values, and the probability of one as great
by chance, by SciPy's distribution. With a thousand rows almost every difference is significant, so D has to be large as
well.

**What is usual:** the rows of an invoice are alike, so days differ far more than independent rows would: one order from
Norway is a PSI of 0.27. A day has therefore moved only if it is farther from its reference than any single day of
that reference is.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_platform.transforms.outliers import NORMAL_MAD
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VERDICTS = ("stable", "moved", "shifted")
"""From none to much; null where there are too few rows to judge."""
_FIGURES = (
    "reference_count",
    "row_count",
    "reference_null_share_pct",
    "null_share_pct",
    "psi",
    "usual_psi",
    "ks_statistic",
    "usual_ks_statistic",
    "ks_p_value",
)
COLUMN_DRIFT = pl.Schema(
    {
        "sale_date": pl.Date(),
        "column_name": pl.String(),
        "kind": pl.String(),
        "reference_count": pl.Int64(),
        "row_count": pl.Int64(),
        **dict.fromkeys(_FIGURES[2:], pl.Float64()),
        "verdict": pl.String(),
        "advice": pl.String(),
    }
)
"""Columns of a judged day and column."""
ROW_DRIFT = pl.Schema(
    {
        "sale_date": pl.Date(),
        "row_count": pl.Int64(),
        "expected_rows": pl.Float64(),
        "low_rows": pl.Float64(),
        "high_rows": pl.Float64(),
        "verdict": pl.String(),
        "advice": pl.String(),
    }
)
"""Columns of a day's judged number of rows."""


@dataclass(frozen=True)
class DriftRule:
    """What counts as drift.

    Attributes:
        days: the reference is so many calendar days before the day.
        psi_moved: PSI from which a column moved.
        psi_shifted: … shifted.
        ks_moved: D from which a column of numbers moved.
        ks_shifted: … shifted.
        by_chance: probability of D from which it is by chance.
        null_moved: difference of the null shares, in percentage points, from which a column moved.
        null_shifted: … shifted.
        bins: bins of a number.
        categories: values of a category that have a bin of their own.
        minimum_rows: a day with fewer filled rows is neither judged nor tells what is usual.
        minimum_days: a reference with fewer days of so many rows judges nothing.
        weeks: the number of rows is compared with the same weekday of so many weeks before.
        minimum_weeks: with fewer of those days it is not judged.
        rows_moved: robust standard deviations from the median at which the number of rows moved.
        rows_shifted: … shifted.
        rows_spread: least robust standard deviation of the number of rows, as a share of the median.
    """

    days: int = 30
    psi_moved: float = 0.1
    psi_shifted: float = 0.25
    ks_moved: float = 0.1
    ks_shifted: float = 0.2
    by_chance: float = 0.01
    null_moved: float = 10.0
    null_shifted: float = 25.0
    bins: int = 10
    categories: int = 20
    minimum_rows: int = 200
    minimum_days: int = 10
    weeks: int = 8
    minimum_weeks: int = 4
    rows_moved: float = 3.5
    rows_shifted: float = 7.0
    rows_spread: float = 0.15


class _Column(NamedTuple):
    """How often each value occurs on each day: counts by day and sorted value, their sums and the nulls by day."""

    name: str
    is_number: bool
    days: list[date]
    values: pl.Series
    counts: Counts
    filled: Counts
    nulls: Counts


class _Binned(NamedTuple):
    """The filled rows of the reference's days and of the day in bins, with what each bin holds."""

    reference: Counts
    current: Counts
    labels: list[str]


class _Measured(NamedTuple):
    """A measure of the day, and the greatest of its reference's days."""

    measure: float
    usual: float

    def unusual(self) -> float:
        """The measure where it is above the usual, else 0."""
        return self.measure if self.measure > self.usual else 0.0


def population_stability(reference: Counts, current: Counts) -> float:
    """The PSI of two sets of counts over the same bins; a bin without a row counts as half a row.

    Args:
        reference: rows per bin in the reference.
        current: rows per bin now.
    """
    return float(_psi(reference, current))


def kolmogorov_smirnov(reference: Counts, current: Counts) -> tuple[float, float]:
    """The two-sample statistic D and its two-sided asymptotic p-value.

    Args:
        reference: rows per value in the reference, in the order of the values.
        current: rows per value now.

    Returns:
        What `scipy.stats.ks_2samp(…, method="asymp")` gives for the rows. Ties make the p-value too large, if anything.
    """
    from scipy.stats import kstwo  # type: ignore[attr-defined]  # made while it is imported

    n, m = int(reference.sum()), int(current.sum())
    distance = float(_distances(reference, current))
    return distance, float(np.clip(kstwo.sf(distance, np.round(n * m / (n + m))), 0, 1))


def column_drift(
    lines: pl.LazyFrame, columns: Sequence[str], days: Collection[date], rule: DriftRule | None = None
) -> pl.DataFrame:
    """Compare days with the days before them, column by column.

    Args:
        lines: lines with sale_date and the columns, those of the days and of `rule.days` calendar days before each. For
            a delivery: its lines and those of the days before.
        columns: which to compare; numbers as numbers, anything else as categories.
        days: the days to judge.
        rule: what counts as drift.

    Returns:
        One row per column and day that has a line, schema `COLUMN_DRIFT`, by day in the order of `columns`. kind is
        `number` or `category`; shares are percentages; usual_psi and usual_ks_statistic are the greatest of a single
        day of the reference; advice is a sentence that says what moved and what to look at. Null: what does not apply,
        the probability of a distance that is small or usual, and the verdict where there are too few rows or days.
    """
    rule = rule or DriftRule()
    judged = [row for name in columns for row in _drift_of_column(_counted(lines, name), sorted(days), rule)]
    frame = pl.DataFrame(judged, schema=COLUMN_DRIFT, orient="row")
    return frame.sort("sale_date", pl.col("column_name").cast(pl.Enum(list(dict.fromkeys(columns)))))


def shares_of_bins(lines: pl.LazyFrame, column: str, day: date, rule: DriftRule | None = None) -> pl.DataFrame:
    """The shares that a column's verdict on a day is made from, for a picture.

    Args:
        lines: as for `column_drift`.
        column: the column.
        day: a day that has a PSI of this column.
        rule: what counts as drift.

    Returns:
        One row per bin, in order: bin (what it holds), before_pct and now_pct, in percent of the rows.
    """
    rule = rule or DriftRule()
    until = _until(_counted(lines, column), day, rule.days)
    binned = _binned(until, _full_days(until, rule)[0], rule)
    reference = binned.reference.sum(axis=0)
    shares = {"before_pct": 100 * reference / reference.sum(), "now_pct": 100 * binned.current / binned.current.sum()}
    return pl.DataFrame({"bin": binned.labels, **shares})


def row_drift(daily: pl.DataFrame, days: Collection[date], rule: DriftRule | None = None) -> pl.DataFrame:
    """Compare the number of rows of days with the same weekday of the weeks before.

    Args:
        daily: sale_date and row_count, one row per day that has any; the days, and `rule.weeks` weeks before each.
        days: the days to judge; one without rows is not in the result (`every_day_has_rows` tells those).
        rule: what counts as drift.

    Returns:
        One row per day with rows, schema `ROW_DRIFT`, by day: the median of the same weekday in the weeks before, the
        band of `rows_moved` robust standard deviations around it, verdict and advice as for columns.
    """
    rule = rule or DriftRule()
    counts = dict(daily.select("sale_date", "row_count").iter_rows())
    judged = [_drift_of_rows(counts, day, rule) for day in sorted(days) if day in counts]
    return pl.DataFrame(judged, schema=ROW_DRIFT, orient="row")


def days_look_like_those_before(columns: pl.DataFrame, rows: pl.DataFrame) -> Finding:
    """Whether the days that are new or changed look like those before them, in values and number of rows.

    Args:
        columns: the judged columns of these days, schema `COLUMN_DRIFT`.
        rows: their judged numbers of rows, schema `ROW_DRIFT`.
    """
    told = ("sale_date", "column_name", "psi", "ks_statistic", "advice")
    shifted = columns.filter(pl.col("verdict") == "shifted").sort("sale_date", "psi", descending=True).select(told)
    too_many = rows.filter(pl.col("verdict") == "shifted").sort("sale_date", descending=True)
    first = [*shifted["advice"].head(3), *too_many["advice"].head(2)]
    moved = sum(frame.filter(pl.col("verdict") == "moved").height for frame in (columns, rows))
    return Finding(
        "days_look_like_those_before",
        not first,
        f"{rows.height} days: {shifted.height} columns and {too_many.height} numbers of rows shifted, {moved} moved. "
        + " ".join(first),
        {"shifted": shifted.head(EVIDENCE_ROWS), "rows": too_many.head(EVIDENCE_ROWS)},
    )


def every_day_is_judged(columns: pl.DataFrame, rows: pl.DataFrame, daily: pl.DataFrame) -> Finding:
    """Whether exactly the days with a line are judged, each with the lines it has.

    Args:
        columns: all judged columns, schema `COLUMN_DRIFT`.
        rows: all judged numbers of rows, schema `ROW_DRIFT`.
        daily: sale_date and row_count, one row per day that has any.
    """
    judged = columns.group_by("sale_date").agg(least=pl.col("row_count").min(), most=pl.col("row_count").max())
    compared = daily.join(judged, on="sale_date", how="full", coalesce=True)
    compared = compared.join(rows.select("sale_date", judged="row_count"), on="sale_date", how="full", coalesce=True)
    are_equal = (pl.col(name).eq_missing(pl.col("row_count")) for name in ("least", "most", "judged"))
    wrong = compared.filter(~pl.all_horizontal(are_equal)).sort("sale_date")
    return Finding(
        "every_day_is_judged",
        wrong.is_empty(),
        f"{wrong.height} of {daily.height} days are judged with another number of lines than they have; expected none.",
        {"days_that_differ": wrong.head(EVIDENCE_ROWS)},
    )


def _drift_of_rows(counts: dict[date, int], day: date, rule: DriftRule) -> tuple[Any, ...]:
    weeks = (counts.get(day - timedelta(weeks=back)) for back in range(1, rule.weeks + 1))
    before, found = [count for count in weeks if count is not None], counts[day]
    if len(before) < rule.minimum_weeks:
        advice = f"Not judged: only {len(before)} of the {rule.weeks} weeks before have this weekday."
        return day, found, None, None, None, None, advice
    median = float(np.median(before))
    deviation = float(np.median(np.abs(np.array(before) - median)))
    spread = max(NORMAL_MAD * deviation, rule.rows_spread * median)
    low, high = max(0.0, median - rule.rows_moved * spread), median + rule.rows_moved * spread
    verdict = _verdict(abs(found - median) / spread, rule.rows_moved, rule.rows_shifted)
    expected = f"{found} rows; the same weekday had {median:.0f}, {low:.0f} to {high:.0f} are expected."
    look = "" if verdict == "stable" else f" See whether a file of {day} is missing or came twice."
    return day, found, median, low, high, verdict, expected + look


def _counted(lines: pl.LazyFrame, name: str) -> _Column:
    """Count the values of a column by day."""
    counted = lines.select("sale_date", value=name).group_by("sale_date", "value").len("count")
    counts = counted.collect(engine="streaming").filter(pl.col("sale_date").is_not_null())
    days, values = counts["sale_date"].unique().sort(), counts["value"].drop_nulls().unique().sort()
    placed = counts.with_columns(
        day=pl.col("sale_date").replace_strict(days, pl.arange(days.len(), eager=True), return_dtype=pl.Int64)
    ).join(values.to_frame("value").with_row_index("position"), on="value", how="left")
    filled, empty = placed.filter(pl.col("value").is_not_null()), placed.filter(pl.col("value").is_null())
    table, nulls = np.zeros((days.len(), values.len()), np.int64), np.zeros(days.len(), np.int64)
    # Of no rows the positions have no integer type of their own.
    at, position, at_empty = (
        series.to_numpy().astype(np.intp) for series in (filled["day"], filled["position"], empty["day"])
    )
    table[at, position], nulls[at_empty] = filled["count"].to_numpy(), empty["count"].to_numpy()
    return _Column(name, counts.schema["value"].is_numeric(), days.to_list(), values, table, table.sum(axis=1), nulls)


def _drift_of_column(column: _Column, days: Sequence[date], rule: DriftRule) -> Iterator[tuple[Any, ...]]:
    """The judged days of one column."""
    for day in sorted(set(days) & set(column.days)):
        kind = "number" if column.is_number else "category"
        yield day, column.name, kind, *_judge(_until(column, day, rule.days), rule)


def _until(column: _Column, day: date, days: int) -> _Column:
    """The day, last, and so many calendar days before it, with the values of these days only.

    A verdict is then a function of these days, whichever others were counted with them.
    """
    first = next(place for place, other in enumerate(column.days) if (day - other).days <= days)
    window = slice(first, column.days.index(day) + 1)
    occurs = column.counts[window].any(axis=0)
    return column._replace(
        days=column.days[window],
        values=column.values.filter(pl.Series(occurs)),
        counts=column.counts[window][:, occurs],
        filled=column.filled[window],
        nulls=column.nulls[window],
    )


def _full_days(column: _Column, rule: DriftRule) -> tuple[list[int], int]:
    """The days before the last that have enough rows to compare with, and the rows of the last."""
    rows = column.filled if column.is_number else column.filled + column.nulls
    return [place for place in range(len(column.days) - 1) if rows[place] >= rule.minimum_rows], int(rows[-1])


def _judge(column: _Column, rule: DriftRule) -> tuple[Any, ...]:
    """Figures, verdict and advice of the last day."""
    every, now, before = column.filled + column.nulls, len(column.days) - 1, slice(None, -1)
    full, rows = _full_days(column, rule)
    totals = int(every[before].sum()), int(every[now])
    shares = [
        100 * float(nulls) / total if total else None
        for nulls, total in zip((column.nulls[before].sum(), column.nulls[now]), totals, strict=True)
    ]
    if len(full) < rule.minimum_days or rows < rule.minimum_rows:
        is_enough = len(full) >= rule.minimum_days and totals[1] >= rule.minimum_rows
        return (
            *totals,
            *shares,
            *[None] * 5,
            *_by_nulls(column.name, rows, len(full), is_enough, shares, rule),
        )
    binned = _binned(column, full, rule)
    psi = _measured(binned.reference, binned.current, _psi)
    distance, probability = None, None
    if column.is_number:
        distance = _measured(column.counts[full], column.counts[now], _distances)
        if distance.unusual() >= rule.ks_moved:
            probability = kolmogorov_smirnov(column.counts[full].sum(axis=0), column.counts[now])[1]
    verdict, reasons = _verdict_of(psi, distance, probability, shares, rule)
    tested = (distance.measure, distance.usual) if distance else (None, None)
    return *totals, *shares, *psi, *tested, probability, verdict, _advice(column.name, verdict, reasons, binned, shares)


def _by_nulls(
    name: str, rows: int, days: int, is_enough: bool, shares: Sequence[float | None], rule: DriftRule
) -> tuple[str | None, str]:
    """Verdict and advice of a day with too few filled rows to compare: only that they are gone can be told."""
    verdict = _verdict_of_nulls(shares, rule)
    if is_enough and verdict != "stable":
        return (
            verdict,
            f"{name} {verdict} (null share): null {_change(shares)}. Look at the columns of the day's files.",
        )
    needed = f"so many rows and {rule.minimum_days} such days are needed."
    return None, f"Not judged: {rows} rows against {days} days with at least {rule.minimum_rows}; {needed}"


def _verdict_of(
    psi: _Measured,
    distance: _Measured | None,
    probability: float | None,
    shares: Sequence[float | None],
    rule: DriftRule,
) -> tuple[str, list[str]]:
    """The worst of the verdicts, and what gave it."""
    verdicts = {"PSI": _verdict(psi.unusual(), rule.psi_moved, rule.psi_shifted)}
    if distance and probability is not None and probability < rule.by_chance:
        verdicts["KS"] = _verdict(distance.unusual(), rule.ks_moved, rule.ks_shifted)
    verdicts["null share"] = _verdict_of_nulls(shares, rule)
    worst = max(verdicts.values(), key=VERDICTS.index)
    return worst, [reason for reason, verdict in verdicts.items() if verdict == worst]


def _advice(name: str, verdict: str, reasons: Sequence[str], binned: _Binned, shares: Sequence[float | None]) -> str:
    if verdict == "stable":
        return f"{name} is as in the days before."
    reference = binned.reference.sum(axis=0)
    widest = int(_psi_terms(reference, binned.current).argmax())
    before, now = 100 * reference[widest] / reference.sum(), 100 * binned.current[widest] / binned.current.sum()
    return (
        f"{name} {verdict} ({', '.join(reasons)}): most of all {binned.labels[widest]}, from {before:.1f} % to "
        f"{now:.1f} % of the rows; null {_change(shares)}. "
        "Look at those rows of the day."
    )


def _change(shares: Sequence[float | None]) -> str:
    return f"from {shares[0] or 0:.1f} % to {shares[1] or 0:.1f} %"


def _binned(column: _Column, full: list[int], rule: DriftRule) -> _Binned:
    bins = _bins if column.is_number else _categories
    return bins(column, full, len(column.days) - 1, rule)


def _bins(column: _Column, before: list[int], now: int, rule: DriftRule) -> _Binned:
    """The filled rows between the reference's quantiles."""
    values, reference = column.values, column.counts[before]
    first = np.concatenate(([0], _edges(reference.sum(axis=0), rule.bins)))
    last = np.append(first[1:], values.len()) - 1
    labels = [f"{values[int(low)]} to {values[int(high)]}" for low, high in zip(first, last, strict=True)]
    return _Binned(np.add.reduceat(reference, first, axis=1), np.add.reduceat(column.counts[now], first), labels)


def _categories(column: _Column, before: list[int], now: int, rule: DriftRule) -> _Binned:
    """The rows with each of the reference's most frequent values, with any other, and with none."""
    reference = column.counts[before]
    totals = reference.sum(axis=0)
    order = np.argsort(-totals, kind="stable")
    known = min(rule.categories, int((totals > 0).sum()))
    top, rest = order[:known], order[known:]

    def placed(counts: Counts, nulls: Counts) -> Counts:
        return np.column_stack((counts[:, top], counts[:, rest].sum(axis=1), nulls))

    labels = [*(repr(str(column.values[int(place)])) for place in top), "all others", "null"]
    current = placed(column.counts[[now]], column.nulls[[now]])[0]
    return _Binned(placed(reference, column.nulls[before]), current, labels)


def _measured(reference: Counts, current: Counts, measure: Callable[[Counts, Counts], Floats]) -> _Measured:
    """The measure between all of the reference's days and the day, and the greatest to one of those days."""
    measures = measure(reference.sum(axis=0), np.vstack((current, reference)))
    return _Measured(float(measures[0]), float(measures[1:].max()))


def _verdict(measure: float, moved: float, shifted: float) -> str:
    return VERDICTS[int(measure >= moved) + int(measure >= shifted)]


def _verdict_of_nulls(shares: Sequence[float | None], rule: DriftRule) -> str:
    before, now = (share or 0.0 for share in shares)
    return _verdict(abs(now - before), rule.null_moved, rule.null_shifted)


def _distances(reference: Counts, current: Counts) -> Floats:
    """The greatest distance of the cumulative shares, for each row of the current counts."""
    cumulated = np.cumsum(current, axis=-1) / current.sum(axis=-1, keepdims=True)
    return np.asarray(np.abs(np.cumsum(reference) / reference.sum() - cumulated).max(axis=-1), np.float64)


def _psi(reference: Counts, current: Counts) -> Floats:
    """The PSI, for each row of the current counts."""
    return np.asarray(_psi_terms(reference, current).sum(axis=-1), np.float64)


def _psi_terms(reference: Counts, current: Counts) -> Floats:
    """Each bin's part of the PSI; nothing for a bin that is empty in both."""
    r, c = (np.maximum(counts, 0.5) / counts.sum(axis=-1, keepdims=True) for counts in (reference, current))
    return np.asarray(np.where((reference > 0) | (current > 0), (c - r) * np.log(c / r), 0.0), np.float64)


def _edges(reference: Counts, bins: int) -> npt.NDArray[np.intp]:
    """Positions of the sorted values at which the further bins start: after each value that reaches a quantile.

    Values outside the reference's range belong to the outermost bins. Where one value fills several bins, there are
    fewer.
    """
    reached = np.cumsum(reference)
    quantiles = np.arange(1, bins) / bins * reached[-1]
    starts = np.unique(np.searchsorted(reached, quantiles, side="left")) + 1
    # Not after the reference's last value: such a bin would hold only what the reference never had.
    return np.asarray(starts[reached[starts - 1] < reached[-1]], np.intp)
