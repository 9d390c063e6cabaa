"""Days on which the revenue of a group (a country, a category) is far from what its trend and week lead to expect.

A seasonal-trend decomposition by loess (STL) of each group's daily revenue; a residual outside a robust band is an
anomaly. Single lines stay out (`outliers.py`), and so does the future.

Three kinds of missing days, each treated as what it is:

- A weekday on which the shop is usually closed (here Saturday) is not part of the week at all: the season has as many
  days as the shop's week.
- A day on which the shop is closed for once (no group sold anything: Christmas, a bank holiday) is filled, for the
  decomposition only, with the median of the same weekday in the weeks around it. It is never judged.
- A day on which the shop sold something but the group did not is a day of revenue 0, and is judged.

A day whose delivery is lost looks like a closed one; that is for the checks on deliveries to find.

Sources: Cleveland et al., "STL: A Seasonal-Trend Decomposition Procedure Based on Loess", Journal of Official
Statistics 6 (1990). Cutoff of the robust z: Iglewicz, Hoaglin, "How to Detect and Handle Outliers" (1993).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from retail_platform.transforms.outliers import NORMAL_MAD
from retail_platform.transforms.quality import EVIDENCE_ROWS, Finding
from retail_platform.transforms.trading_days import Flags, Floats, filled

GROUP = ["dimension", "member"]
"""Columns that name a group: what it is one of (country, category, total), and which."""
_AMOUNT = pl.Decimal(18, 4)
ANOMALIES = pl.Schema(
    {
        "dimension": pl.String(),
        "member": pl.String(),
        "sale_date": pl.Date(),
        "net_revenue": _AMOUNT,
        "expected_revenue": _AMOUNT,
        "low_revenue": _AMOUNT,
        "high_revenue": _AMOUNT,
        "score": pl.Float64(),
        "is_anomaly": pl.Boolean(),
    }
)
"""Columns of a judged day."""


@dataclass(frozen=True)
class AnomalyRule:
    """How a group's days are judged.

    Attributes:
        cutoff: robust z beyond which a day is an anomaly.
        minimum_weeks: a group's first and last day of the shop are at least so many weeks apart.
        minimum_share: the group sold on at least this share of the shop's days; with more days of 0 the bulk of the
            residuals, and with it the band, says nothing about the days with a sale.
        usual_share: the shop is open on at least this share of a weekday's dates for it to be part of the week.
        trend_weeks: width of the loess that follows the trend.
        season_weeks: width of the loess that follows each weekday, odd and at least 7.
        minimum_spread: least width of one robust standard deviation, as a share of the expected revenue.
    """

    cutoff: float = 3.5
    minimum_weeks: int = 12
    minimum_share: float = 0.7
    usual_share: float = 0.5
    trend_weeks: int = 6
    season_weeks: int = 35
    minimum_spread: float = 0.05


def judged_groups(daily: pl.DataFrame, rule: AnomalyRule | None = None) -> pl.DataFrame:
    """Tell which groups have enough days to be judged.

    Args:
        daily: dimension, member, sale_date, net_revenue (the shop's currency); one row for each group and day with
            a line, of all groups.
        rule: when is enough.

    Returns:
        One row per group, by name: dimension, member, sale_day_count (days of the shop's week with a line),
        open_day_count (the shop's days since the group's first), sale_day_share_pct, is_judged.
    """
    rule = rule or AnomalyRule()
    axis = _axis(daily["sale_date"], rule)
    days = axis.filter("is_open").select("sale_date").join(daily.select(*GROUP, "sale_date"), on="sale_date")
    opened = axis.filter("is_open")["sale_date"]
    groups = days.group_by(GROUP).agg(first=pl.col("sale_date").min(), sale_day_count=pl.len().cast(pl.Int64))
    # The shop's days that are not before the group's first one.
    before = opened.search_sorted(groups["first"], side="left") if opened.len() else pl.Series([], dtype=pl.UInt32)
    counted = groups.with_columns(open_day_count=opened.len() - before.cast(pl.Int64))
    share = pl.col("sale_day_count") / pl.col("open_day_count")
    weeks = (pl.lit(opened.max(), dtype=pl.Date) - pl.col("first")).dt.total_days() / 7
    return (
        counted.with_columns(
            sale_day_share_pct=100 * share, is_judged=(share >= rule.minimum_share) & (weeks >= rule.minimum_weeks)
        )
        .drop("first")
        .sort(GROUP)
    )


def revenue_anomalies(daily: pl.DataFrame, rule: AnomalyRule | None = None) -> pl.DataFrame:
    """Compare the revenue of each judged group's days with its band.

    Args:
        daily: as for `judged_groups`. Groups must be all of the shop's, for its closed days are read from them.
        rule: how days are judged.

    Returns:
        One row per judged group and day of the shop's week on which the shop sold something, from the group's first
        day, schema `ANOMALIES`, by group and day: the expected revenue (trend and season), the band, the score (robust
        z of the residual, positive above) and whether it is outside the band. Computed on asinh(revenue / typical
        revenue), for revenue varies by factors and may be 0 or negative; the band is thus wider above than below.
    """
    rule = rule or AnomalyRule()
    axis = _axis(daily["sale_date"], rule)
    judged_names = judged_groups(daily, rule).filter("is_judged").select(GROUP)
    groups = daily.join(judged_names, on=GROUP).sort(*GROUP, "sale_date").partition_by(GROUP, maintain_order=True)
    judged = [_judge(axis, group, rule) for group in groups]
    return pl.concat([ANOMALIES.to_frame(), *judged])


def _axis(sale_dates: pl.Series, rule: AnomalyRule) -> pl.DataFrame:
    """Every date of the shop's weekdays from its first to its last day: sale_date, is_open."""
    first, last = sale_dates.min(), sale_dates.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return pl.DataFrame(schema={"sale_date": pl.Date, "is_open": pl.Boolean})
    days = pl.DataFrame({"sale_date": pl.date_range(first, last, eager=True)})
    days = days.with_columns(is_open=pl.col("sale_date").is_in(sale_dates.unique().implode()))
    return days.filter(pl.col("is_open").mean().over(pl.col("sale_date").dt.weekday()) >= rule.usual_share)


def _judge(axis: pl.DataFrame, daily: pl.DataFrame, rule: AnomalyRule) -> pl.DataFrame:
    """The judged days of one group."""
    days = (
        axis.join(daily.select("sale_date", pl.col("net_revenue").cast(_AMOUNT)), on="sale_date", how="left")
        .sort("sale_date")
        .filter(pl.col("net_revenue").is_not_null().cum_max())
        .with_columns(pl.col("net_revenue").fill_null(0))
    )
    period = days["sale_date"].dt.weekday().n_unique()
    is_open = days["is_open"].to_numpy()
    revenue = days["net_revenue"].cast(pl.Float64).to_numpy()
    typical = float(np.median(np.abs(revenue[is_open & (revenue != 0)])))
    scaled = filled(np.arcsinh(revenue / typical), is_open, period)
    explained, score, spread = _decompose(scaled, is_open, period, rule)
    bands = {"expected": explained, "low": explained - rule.cutoff * spread, "high": explained + rule.cutoff * spread}
    return (
        days.with_columns(
            *(pl.Series(f"{band}_revenue", np.sinh(values) * typical) for band, values in bands.items()),
            dimension=pl.lit(daily["dimension"].item(0)),
            member=pl.lit(daily["member"].item(0)),
            score=score,
            is_anomaly=np.abs(score) > rule.cutoff,
        )
        .filter("is_open")
        .select(list(ANOMALIES))
        .cast(ANOMALIES)
    )


def _decompose(values: Floats, is_open: Flags, period: int, rule: AnomalyRule) -> tuple[Floats, Floats, float]:
    """Trend and season with the residuals' centre; robust z of the residuals; their robust standard deviation."""
    from statsmodels.tsa.seasonal import STL  # type: ignore[import-untyped]

    width = rule.trend_weeks * period
    trend = max(width, period + 1) // 2 * 2 + 1  # odd and wider than the season
    # A loess is computed at every tenth of its width and drawn straight in between, as its authors do, to save time.
    jumps = {"seasonal_jump": -(-rule.season_weeks // 10), "trend_jump": -(-trend // 10)}
    parts = STL(values, period=period, seasonal=rule.season_weeks, trend=trend, robust=True, **jumps).fit()
    centre = float(np.median(parts.resid[is_open]))
    deviation = float(np.median(np.abs(parts.resid[is_open] - centre)))
    spread = max(NORMAL_MAD * deviation, rule.minimum_spread)
    return values - parts.resid + centre, (parts.resid - centre) / spread, spread


ANOMALY_SHARE = 0.05
"""Of the judged days that may be anomalies; 2.4 % are in the public data (docs/forecasts.md)."""


def largest_members(judged: pl.DataFrame, counts: Mapping[str, int]) -> list[pl.DataFrame]:
    """The judged days of the members of each dimension that have the most revenue, largest first.

    Args:
        judged: of `ANOMALIES`.
        counts: the dimensions in order, and how many members of each at most; ties go by name.
    """
    revenue = judged.group_by(GROUP).agg(pl.col("net_revenue").sum())
    ordered = revenue.sort("net_revenue", "member", descending=[True, False])
    members = [row for name, count in counts.items() for row in ordered.filter(dimension=name).head(count).rows()]
    return [judged.filter(dimension=name, member=member).sort("sale_date") for name, member, _ in members]


def anomalies_are_few(anomalies: pl.DataFrame, share: float = ANOMALY_SHARE) -> Finding:
    """Whether no more than a twentieth of the judged days is outside its band, in any group with 100 of them or more.

    Args:
        anomalies: judged days (contract `RevenueAnomalies`).
        share: of the days that may be anomalies.
    """
    counted = anomalies.group_by(GROUP).agg(
        days=pl.len(), anomalies=pl.col("is_anomaly").sum(), share_pct=(100 * pl.col("is_anomaly").mean()).round(2)
    )
    many = counted.filter((pl.col("days") >= 100) & (pl.col("share_pct") > 100 * share)).sort(GROUP)
    newest = anomalies.filter("is_anomaly").sort("sale_date", *GROUP, descending=[True, False, False])
    return Finding(
        "anomalies_are_few",
        many.is_empty(),
        f"{anomalies['is_anomaly'].sum()} of {anomalies.height} judged days are anomalies; {many.height} of "
        f"{counted.height} groups have more than {100 * share:.0f} %: their band does not fit them.",
        {"groups_with_many": many.head(EVIDENCE_ROWS), "newest": newest.head(EVIDENCE_ROWS)},
    )


def every_judged_day_is_in_the_facts(anomalies: pl.DataFrame, totals: pl.DataFrame) -> Finding:
    """Whether the revenue of each judged day of the total is that of all lines of the day.

    Args:
        anomalies: judged days (contract `RevenueAnomalies`).
        totals: sale_date and net_revenue, summed from the facts without groups.
    """
    total = anomalies.filter(pl.col("dimension") == "total").select("sale_date", judged="net_revenue")
    wrong = total.join(totals, on="sale_date", how="left").filter(pl.col("judged").ne_missing(pl.col("net_revenue")))
    return Finding(
        "every_judged_day_is_in_the_facts",
        wrong.is_empty(),
        f"{wrong.height} of {total.height} judged days have another revenue than the facts; make the table again.",
        {"days_that_differ": wrong.sort("sale_date").head(EVIDENCE_ROWS)},
    )
