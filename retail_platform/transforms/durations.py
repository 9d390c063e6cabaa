"""Which steps of a run take longer, or less long, than they used to: robust statistics over the durations of runs.

Noise is told from change by medians and median absolute deviations (MAD), so that a run on a busy machine moves
nothing. Where durations come from stays out: Dagster's event log (`defs/durations.py`), a benchmark's history.
"""

import math

import polars as pl

from retail_platform.transforms.quality import Finding

FEWEST_BEFORE = 5
"""Runs of the history below which a step is not judged."""
FEWEST_NOW = 3
"""Runs judged together at the least: the median of fewer is the chance of one of them."""
SCORE = 3.5
"""Modified z-score above which a difference is no noise (Iglewicz and Hoaglin, 1993)."""
LEAST_CHANGE_PCT = 20.0
"""A smaller change is none, however sure."""
LEAST_SECONDS = 0.05
"""Nor is one of fewer seconds: chosen, what a busy machine adds to a step that does nothing."""
LEAST_SPREAD = 0.02
"""Relative; a history that by chance hardly differs is not taken for one without noise."""

_NORMAL = 1.4826  # MAD -> standard deviation, of a normal distribution
_SMALL_SAMPLES = {5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}
"""By how much the MAD of few values falls short (Croux and Rousseeuw, 1992); n / (n - 0.8) for more."""
_MEDIAN_VARIANCE = math.pi / 2  # of a median, times that of a mean of as many

_SCHEMA = pl.Schema(
    {
        "step": pl.String,
        "before_seconds": pl.Float64,
        "now_seconds": pl.Float64,
        "change_seconds": pl.Float64,
        "change_pct": pl.Float64,
        "score": pl.Float64,
        "runs_before": pl.UInt32,
        "runs_now": pl.UInt32,
        "has_moved": pl.Boolean,
    }
)


def compare_durations(before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Compare the durations of every step in some runs with those in earlier ones.

    On logarithms, for what disturbs a step multiplies its duration. The score is the difference of the two medians over
    its standard error, which the MAD of the earlier runs gives.

    Args:
        before: step and seconds, one row per step and run of the history.
        now: the same of the runs to judge.

    Returns:
        One row per step that has durations enough in both (`FEWEST_BEFORE`, `FEWEST_NOW`), the largest change in
        seconds first: the two medians, the change in seconds and percent, its score, how many runs, and whether it has
        moved: score, percentage and seconds are all beyond their limits.
    """
    history, judged = (_logarithms(frame) for frame in (before, now))
    centre = history.group_by("step").agg(pl.col("log").median().alias("centre"), runs_before=pl.len())
    spread = (
        history.join(centre, on="step")
        .group_by("step")
        .agg(mad=(pl.col("log") - pl.col("centre")).abs().median(), runs_before=pl.len())
        .select("step", spread=pl.max_horizontal(pl.col("mad") * _NORMAL * _correction(), LEAST_SPREAD))
    )
    newest = judged.group_by("step").agg(now=pl.col("log").median(), runs_now=pl.len())
    both = newest.join(centre, on="step").join(spread, on="step")
    enough = both.filter((pl.col("runs_before") >= FEWEST_BEFORE) & (pl.col("runs_now") >= FEWEST_NOW))
    error = pl.col("spread") * (_MEDIAN_VARIANCE * (1 / pl.col("runs_before") + 1 / pl.col("runs_now"))).sqrt()
    compared = enough.with_columns(
        before_seconds=pl.col("centre").exp(),
        now_seconds=pl.col("now").exp(),
        change_pct=100 * ((pl.col("now") - pl.col("centre")).exp() - 1),
        score=(pl.col("now") - pl.col("centre")) / error,
    ).with_columns(change_seconds=pl.col("now_seconds") - pl.col("before_seconds"))
    # As much slower as faster: 20 % more, or a sixth less.
    is_large = (pl.col("now") - pl.col("centre")).abs() >= math.log1p(LEAST_CHANGE_PCT / 100)
    is_felt = pl.col("change_seconds").abs() >= LEAST_SECONDS
    moved = compared.with_columns(has_moved=(pl.col("score").abs() > SCORE) & is_large & is_felt)
    return moved.select(*_SCHEMA).cast(_SCHEMA).sort(pl.col("change_seconds").abs(), "step", descending=[True, False])


def steps_take_no_longer(compared: pl.DataFrame) -> Finding:
    """Whether no step of the newest runs takes longer than it used to.

    Args:
        compared: the rows of `compare_durations`.
    """
    slower = compared.filter(pl.col("has_moved") & (pl.col("change_seconds") > 0))
    faster = compared.filter(pl.col("has_moved") & (pl.col("change_seconds") < 0))
    told = [
        f"{step}: {now:.2f} s, before {before:.2f} s ({change:+.0f} %)"
        for step, before, now, change in slower.select(
            "step", "before_seconds", "now_seconds", "change_pct"
        ).iter_rows()
    ]
    if compared.is_empty():
        text = f"No step has {FEWEST_BEFORE} earlier and {FEWEST_NOW} newest runs of like size yet."
    else:
        text = f"{slower.height} of {compared.height} steps take longer, {faster.height} less long. {'; '.join(told)}"
    evidence = {"moved": pl.concat([slower, faster]).with_columns(pl.selectors.float().round(2))}
    return Finding("steps_take_no_longer", slower.is_empty(), text.strip(), evidence)


def _logarithms(durations: pl.DataFrame) -> pl.DataFrame:
    """Seconds as logarithms; less than a millisecond counts as one."""
    return durations.select(
        pl.col("step").cast(pl.String), log=pl.max_horizontal(pl.col("seconds").cast(pl.Float64), 0.001).log()
    )


def _correction() -> pl.Expr:
    runs = pl.col("runs_before")
    return runs.replace_strict(_SMALL_SAMPLES, default=runs / (runs - 0.8), return_dtype=pl.Float64)
