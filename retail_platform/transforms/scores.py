"""Scores: six dimensions of quality per day and table, from 0 to 100, and their weighted total.

Every score comes from counts of the day and of nothing else; what has no basis is null, never a guess. docs/quality.md
says each formula with an example. How rows are judged stays out (`sales.py`, `outliers.py`), and so does what a person
does about a low score (docs/quality.md, the rules).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import narwhals as nw
import polars as pl

from retail_platform.contracts import QUALITY_SCORES
from retail_platform.contracts.rules import rules_that
from retail_platform.transforms.corrections import row_id
from retail_platform.transforms.sales import cleaned_invoice

FAULTS = {
    "completeness": ("missing_values", "required_values"),
    "accuracy": ("outlier_values", "judged_values"),
    "consistency": ("unrelated_values", "related_values"),
    "uniqueness": ("duplicate_rows", "identified_rows"),
    "validity": ("invalid_rows", "checked_rows"),
}
"""Dimension -> the faults and the basis of its score, 100 * (1 - faults / basis)."""
DIMENSIONS = ("completeness", "accuracy", "consistency", "timeliness", "uniqueness", "validity")
COUNTS = pl.Schema(
    {
        "table_name": pl.String(),
        "sale_date": pl.Date(),
        **{name: pl.Int64() for pair in FAULTS.values() for name in pair},
        "delivery_hours": pl.Float64(),
    }
)
"""What scores are made from, one row per table and day; null for what the table or day has no basis of."""
_SCORE = pl.Decimal(9, 4)
SCORES = pl.Schema(
    {
        "table_name": pl.String(),
        "sale_date": pl.Date(),
        **{f"{name}_score": _SCORE for name in DIMENSIONS},
        "total_score": _SCORE,
        "basis_pct": _SCORE,
    }
)
"""Columns of the scores."""
WEIGHTS = {
    "completeness": 20.0,
    "accuracy": 15.0,
    "consistency": 20.0,
    "timeliness": 10.0,
    "uniqueness": 15.0,
    "validity": 20.0,
}
"""Weights of the total, by default."""
THRESHOLDS = {
    "completeness": 98.0,
    "accuracy": 97.0,
    "consistency": 98.0,
    "timeliness": 50.0,
    "uniqueness": 90.0,
    "validity": 95.0,
    "total": 85.0,
}
"""The least scores that are good, by default. Being late alone takes 10 from the total, and blocks nothing."""
FLOORS = {"completeness": 60.0, "accuracy": 60.0, "validity": 60.0}
"""The least scores with which a day is published whatever its total, by default. None for timeliness, for late is not
wrong; nor for uniqueness, for repeats are left out, and a part that came twice is 50; nor for consistency."""
REQUIRED = ("invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price", "country")
"""What every delivered row must fill. A missing customer is a guest."""
MAY_LACK = ("description", "country")
"""What an accepted line may lack of it: without the others it is rejected."""
FACT_KEYS = ("product_key", "date_key", "invoice_key")
"""Keys of a fact that must lead to a known member; its country is judged by its spelling (`unrelated_values`)."""
INVALID_REASONS = tuple(rule.name for rule in rules_that("drop") if rule.dimension == "validity")
"""Reasons of rejects that are faults of validity; duplicate_line is one of uniqueness, missing ones of completeness."""


@dataclass(frozen=True)
class ScoreRule:
    """Weights and thresholds.

    Attributes:
        weights: dimension -> its weight in the total.
        thresholds: dimension or `total` -> the least score that is good.
        floors: dimension -> the least score with which a day is published, whatever its total.
        on_time_hours: a day delivered so many hours after its end is fully on time.
        late_hours: … is not on time at all; in between the score falls in a straight line.
        history_hours: … is a load of history, which says nothing about being on time.
        period_days: a delivery of so many days or fewer is due when its newest day is over.
        minimum_basis: share of the weights that must have a score for there to be a total.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    thresholds: Mapping[str, float] = field(default_factory=lambda: dict(THRESHOLDS))
    floors: Mapping[str, float] = field(default_factory=lambda: dict(FLOORS))
    on_time_hours: float = 24
    late_hours: float = 7 * 24
    history_hours: float = 92 * 24
    period_days: int = 31
    minimum_basis: float = 0.5

    def __post_init__(self) -> None:
        unknown = (set(self.weights) ^ set(DIMENSIONS)) | (
            (set(self.thresholds) - {"total"} | set(self.floors)) - set(DIMENSIONS)
        )
        if unknown:
            raise ValueError(
                f"weights, thresholds or floors differ from the dimensions in {sorted(unknown)}; give every one of "
                f"{', '.join(DIMENSIONS)} a weight, floors to these, and thresholds to these or total."
            )
        if min(self.weights.values()) < 0 or not sum(self.weights.values()) > 0:
            raise ValueError(f"weights are {dict(self.weights)}; expected none below 0 and a sum above 0.")
        if not self.on_time_hours < self.late_hours <= self.history_hours:
            raise ValueError(
                f"on_time_hours {self.on_time_hours:g}, late_hours {self.late_hours:g} and history_hours "
                f"{self.history_hours:g} were given; expected them to rise."
            )


def quality_scores(counts: pl.DataFrame, rule: ScoreRule | None = None) -> pl.DataFrame:
    """Score days.

    Args:
        counts: schema `COUNTS`, one row per table and day.
        rule: weights and hours.

    Returns:
        One row per table and day, schema `SCORES`, by table and day. Each score is null without a basis. total_score is
        the mean of the scores there are, by weight, and null where they carry less than `minimum_basis` of the
        weights; basis_pct is the share they carry.
    """
    rule = rule or ScoreRule()
    scores = {name: _share_of_good(*pair) for name, pair in FAULTS.items()} | {"timeliness": _timeliness(rule)}
    scored = counts.with_columns(**{f"{name}_score": score for name, score in scores.items()})
    weighted = {name: (pl.col(f"{name}_score"), rule.weights[name]) for name in DIMENSIONS}
    carried = pl.sum_horizontal(score.is_not_null() * weight for score, weight in weighted.values())
    points = pl.sum_horizontal(score * weight for score, weight in weighted.values())
    basis = carried / sum(rule.weights.values())
    return (
        scored.with_columns(
            total_score=pl.when((basis >= rule.minimum_basis) & (carried > 0)).then(points / carried),
            basis_pct=100 * basis,
        )
        .select(list(SCORES))
        .cast(SCORES)
        .sort("table_name", "sale_date")
    )


def scored(counts: pl.DataFrame, rule: ScoreRule | None = None) -> pl.DataFrame:
    """The scores of days with what they are made from.

    Args:
        counts: schema `COUNTS`, one row per table and day.
        rule: weights, thresholds and hours.

    Returns:
        One row per table and day (contract `QualityScores`), by table and day.
    """
    rule = rule or ScoreRule()
    scores = quality_scores(counts, rule)
    is_low = (pl.col(f"{name}_score") < rule.thresholds.get(name, 0) for name in DIMENSIONS)
    warned = scores.with_columns(warning_count=pl.sum_horizontal(low.fill_null(False) for low in is_low).cast(pl.Int64))
    return (
        warned.join(counts, on=["table_name", "sale_date"]).select(list(QUALITY_SCORES.schema)).sort(QUALITY_SCORES.key)
    )


def low_scores(scores: pl.DataFrame, rule: ScoreRule | None = None) -> pl.DataFrame:
    """Find the scores below their threshold.

    Args:
        scores: schema `SCORES`.
        rule: thresholds.

    Returns:
        One row per score that is too low: table_name, sale_date, dimension (or `total`), score, threshold; newest day
        first, then as far below as it can be.
    """
    rule = rule or ScoreRule()
    long = scores.unpivot(
        [f"{name}_score" for name in rule.thresholds],
        index=["table_name", "sale_date"],
        variable_name="dimension",
        value_name="score",
    ).with_columns(pl.col("dimension").str.strip_suffix("_score"), pl.col("score").cast(pl.Float64))
    limits = pl.DataFrame(
        list(rule.thresholds.items()), {"dimension": pl.String, "threshold": pl.Float64}, orient="row"
    )
    low = long.join(limits, on="dimension").filter(pl.col("score") < pl.col("threshold"))
    below = pl.col("score") - pl.col("threshold")
    return low.sort(pl.col("sale_date"), below, "table_name", "dimension", descending=[True, False, False, False])


def standing_rejects(
    lines: pl.LazyFrame,
    rejects: pl.LazyFrame,
    deliveries: pl.DataFrame,
    corrections: Collection[str] = (),
    corrected: Collection[str] = (),
) -> pl.DataFrame:
    """Leave out the rejected rows that a later delivery of the retailer restates, and those that were corrected.

    A correction of one row restates the rest of its invoice without its other rejected rows: these are still open.

    Args:
        lines: accepted lines of whole days (contract `SilverSales`).
        rejects: rejected rows of these days (contract `SilverRejects`).
        deliveries: delivery_id and delivery_rank (higher wins); a delivery may be there several times.
        corrections: delivery_id of those that restate invoices for the sake of rejected rows.
        corrected: ids (`corrections.row_id`) of the rows that they name.

    Returns:
        The rejected rows with a day that still count.
    """
    dated = _numbered(rejects.filter(pl.col("sale_date").is_not_null()))
    names = ("sale_date", "delivery_id", "number")
    rows = pl.concat([_numbered(lines).select(names), dated.select(names)])
    claims = rows.filter(~pl.col("delivery_id").is_in(list(corrections)))
    ranks = deliveries.lazy().select("delivery_id", "delivery_rank").unique()
    newest = (
        claims.unique().join(ranks, on="delivery_id").group_by("sale_date", "number").agg(pl.col("delivery_rank").max())
    )
    standing = dated.filter(pl.col("reason") != "superseded", ~row_id().is_in(list(corrected)))
    ranked = standing.join(ranks.rename({"delivery_rank": "rank"}), on="delivery_id")
    placed = ranked.join(newest, on=["sale_date", "number"], how="left")
    counting = placed.filter(pl.col("delivery_rank").is_null() | (pl.col("rank") >= pl.col("delivery_rank")))
    return counting.drop("number", "rank", "delivery_rank").collect(engine="streaming")


def _numbered(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with `number`, by which invoices are told apart."""
    numbered: pl.LazyFrame = nw.from_native(rows).with_columns(number=cleaned_invoice().fill_null("")).to_native()
    return numbered


def sales_counts(
    day_quality: pl.DataFrame, standing: pl.DataFrame, *measured: pl.DataFrame, table_name: str = "silver.sales"
) -> pl.DataFrame:
    """Put together what the scores of the sales lines are made from.

    Args:
        day_quality: how the rows of each day were judged (contract `DayQuality`).
        standing: the rejected rows of these days that count, as `standing_rejects` gives them.
        measured: frames by sale_date with further columns of `COUNTS`: the results of `missing_values`,
            `outlier_values`, `unrelated_values` and `delivery_hours`; a day that one of them lacks has no basis for it.
        table_name: the table whose rows they are.

    Returns:
        Schema `COUNTS`, one row per day of day_quality. Restated rows count nowhere: a correction is no fault.
    """
    rejected = standing.group_by("sale_date").agg(
        checked_rows=pl.len(),
        invalid_rows=pl.col("reason").is_in(INVALID_REASONS).sum(),
        duplicate_rows=(pl.col("reason") == "duplicate_line").sum(),
    )
    counted = ("checked_rows", "invalid_rows", "duplicate_rows")
    days = day_quality.join(rejected.cast(dict.fromkeys(counted, pl.Int64)), on="sale_date", how="left")
    judged = days.with_columns(pl.col(counted).fill_null(0)).select(
        "sale_date",
        "invalid_rows",
        "duplicate_rows",
        table_name=pl.lit(table_name),
        checked_rows=pl.col("accepted_rows") + pl.col("checked_rows"),
        identified_rows=pl.col("accepted_rows") + pl.col("duplicate_rows"),
    )
    joined = reduce(lambda days, more: days.join(more, on="sale_date", how="left"), measured, judged)
    nothing = (pl.lit(None, dtype=dtype).alias(name) for name, dtype in COUNTS.items() if name not in joined.columns)
    return joined.with_columns(*nothing).select(list(COUNTS)).cast(COUNTS).sort("sale_date")


def missing_values(rows: pl.LazyFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Count the values that should be there and are not.

    Args:
        rows: delivered rows as text (sale_date and the columns); those without a day are left out.
        columns: the columns that every row must fill. A missing customer is a guest, not a fault.

    Returns:
        sale_date, required_values (rows times columns), missing_values (null or blank).
    """
    missing = (pl.col(name).fill_null("").str.strip_chars() == "" for name in columns)
    counted = rows.filter(pl.col("sale_date").is_not_null()).group_by("sale_date")
    return counted.agg(
        required_values=pl.len().cast(pl.Int64) * len(columns),
        missing_values=pl.sum_horizontal(flag.sum().cast(pl.Int64) for flag in missing),
    ).collect(engine="streaming")


def delivered_values(lines: pl.LazyFrame, rejects: pl.LazyFrame) -> pl.LazyFrame:
    """The values that a delivered row must fill, superseded rows aside.

    Args:
        lines: accepted lines (contract `SilverSales`).
        rejects: the rejected rows that count (contract `SilverRejects`).

    Returns:
        sale_date and `REQUIRED`; what every accepted line has is a word, for only whether it is there counts.
    """
    has = (pl.col(name) if name in MAY_LACK else pl.lit("filled").alias(name) for name in REQUIRED)
    return pl.concat([lines.select("sale_date", *has), rejects.select("sale_date", *REQUIRED)])


def outlier_values(lines: pl.LazyFrame, bands: pl.DataFrame, flagged: pl.DataFrame) -> pl.DataFrame:
    """Count the values that could be judged, and those that are far from usual.

    Args:
        lines: the judged lines (sale_date, stock_code).
        bands: the bands of `outliers.product_bands`.
        flagged: the lines of `outliers.flagged_lines` (sale_date), one row a value.

    Returns:
        sale_date, judged_values (lines of judged products times measures), outlier_values.
    """
    measures = bands.lazy().filter("is_judged").group_by("stock_code").agg(measures=pl.len().cast(pl.Int64))
    judged = lines.join(measures, on="stock_code").group_by("sale_date").agg(judged_values=pl.col("measures").sum())
    far = flagged.lazy().group_by("sale_date").agg(outlier_values=pl.len().cast(pl.Int64))
    joined = judged.join(far, on="sale_date", how="left").collect(engine="streaming")
    return joined.with_columns(pl.col("outlier_values").fill_null(0))


def unrelated_values(facts: pl.LazyFrame, keys: Sequence[str], unplaced: pl.LazyFrame) -> pl.DataFrame:
    """Count the keys that lead to no member of their dimension.

    Args:
        facts: fact rows (sale_date and the keys).
        keys: keys whose unknown members (negative, or null) are a miss; not customer_key, where -1 is a guest, nor
            country_key, where `Unspecified` and `Channel Islands` are what the shop itself writes.
        unplaced: the accepted lines (sale_date) whose country nobody knows (`countries.unplaced_lines`).

    Returns:
        sale_date, related_values (rows times the keys and the country), unrelated_values.
    """
    misses = (pl.col(name).fill_null(-1) < 0 for name in keys)
    counted = facts.group_by("sale_date").agg(
        related_values=pl.len().cast(pl.Int64) * (len(keys) + 1),
        unrelated_values=pl.sum_horizontal(miss.sum().cast(pl.Int64) for miss in misses),
    )
    countries = unplaced.group_by("sale_date").agg(unplaced=pl.len().cast(pl.Int64))
    joined = counted.join(countries, on="sale_date", how="left").collect(engine="streaming")
    every = pl.col("unrelated_values") + pl.col("unplaced").fill_null(0)
    return joined.select("sale_date", "related_values", unrelated_values=every)


def delivery_hours(held: pl.DataFrame, deliveries: pl.DataFrame, period_days: int = 31) -> pl.DataFrame:
    """Measure how long after it was due a day was delivered.

    A day is due when it is over, or in a file of several days when the newest of them is; at most `period_days` are
    waited for, so that no file of years is on time.

    Args:
        held: which delivery holds how many rows of a day, superseded ones too (sale_date, delivery_id, rows); those
            without a day are left out.
        deliveries: delivery_id and delivered_at (UTC; the day's end is taken in UTC as well), one row a delivery.
        period_days: days of a file that may be delivered together.

    Returns:
        sale_date, delivery_hours: the lower median over the rows, 0 for what came before it was due. The median, so
        that a few invoices restated a year later do not make the day late.
    """
    dated = held.filter(pl.col("sale_date").is_not_null())
    newest = pl.col("sale_date").max().over("delivery_id")
    last = pl.min_horizontal(newest, pl.col("sale_date").dt.offset_by(f"{period_days - 1}d"))
    hours = (pl.col("delivered_at") - last.dt.offset_by("1d").cast(pl.Datetime("us", "UTC"))).dt.total_seconds() / 3600
    placed = dated.join(deliveries.unique(), on="delivery_id")
    timed = placed.with_columns(hours=hours.clip(lower_bound=0.0)).sort("sale_date", "hours")
    reached = 2 * pl.col("rows").cum_sum() >= pl.col("rows").sum()
    by_day = timed.group_by("sale_date", maintain_order=True)
    return by_day.agg(delivery_hours=pl.col("hours").filter(reached).first())


def _share_of_good(faults: str, basis: str) -> pl.Expr:
    """100 * (1 - faults / basis); null without a basis."""
    return pl.when(pl.col(basis) > 0).then(100 * (1 - pl.col(faults) / pl.col(basis)))


def _timeliness(rule: ScoreRule) -> pl.Expr:
    """100 until on time, 0 from late on, in a straight line between; null for history."""
    hours = pl.col("delivery_hours")
    score = 100 * (rule.late_hours - hours) / (rule.late_hours - rule.on_time_hours)
    return pl.when(hours <= rule.history_hours).then(score.clip(0, 100))
