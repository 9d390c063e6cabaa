"""How long the steps of runs take, compared with earlier runs of like size: told, never a gate.

Dagster's event log is the history; nothing is stored again. How noise is told from change is in
`transforms/durations.py`, which the benchmarks use too.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.defs.layers import OWNERS, asset_key
from retail_platform.defs.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from retail_platform.defs.reports import check_specs, markdown_table, result_of
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.transforms.durations import compare_durations, steps_take_no_longer

STEP_DURATIONS = asset_key("maintenance", "step_durations")
JUDGED_RUNS = 5
"""The newest runs, judged together: the day on which a month closes takes longer and is one of them."""
HISTORY_RUNS = 60
"""Looked at before them, of any size."""
LIKE_SIZE = 2.0
"""A run is of like size when it has at most so many times the rows, or as many times fewer."""

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]


@dg.multi_asset(
    name="step_durations",
    specs=[
        dg.AssetSpec(
            STEP_DURATIONS,
            group_name="maintenance",
            kinds={"dagster"},
            owners=OWNERS,
            description="How long each step of the newest runs takes, beside earlier runs with about as many rows.\n\n"
            "Grain: step.  Source: the event log of successful runs of `run_days`.  \nUnits: seconds, medians.",
        )
    ],
    check_specs=check_specs(STEP_DURATIONS, steps_take_no_longer, blocking=False),
)
def step_durations(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> Results:
    """Compare the newest runs with those before them; the check warns, and names the steps that are slower."""
    records = context.instance.get_run_records(
        dg.RunsFilter(job_name="run_days", statuses=[dg.DagsterRunStatus.SUCCESS]), limit=JUDGED_RUNS + HISTORY_RUNS
    )
    runs = alike([record.dagster_run for record in records], Ledger(settings).day_states())
    durations = [_durations(context.instance, run) for run in runs]
    now, before = durations[:JUDGED_RUNS], durations[JUDGED_RUNS:]
    compared = compare_durations(_together(before), _together(now))
    yield result_of(steps_take_no_longer(compared), STEP_DURATIONS, dg.AssetCheckSeverity.WARN)
    yield dg.MaterializeResult(
        asset_key=STEP_DURATIONS,
        metadata={
            "runs_judged": len(now),
            "runs_before": len(before),
            "seconds": sum(compared["now_seconds"]),
            "steps": dg.MetadataValue.md(markdown_table(compared.with_columns(pl.selectors.float().round(2)))),
        },
    )


def alike(runs: Sequence[dg.DagsterRun], states: pl.DataFrame) -> list[dg.DagsterRun]:
    """The runs that have about as many rows as the newest ones.

    Args:
        runs: the newest first.
        states: sale_date and rows of every day (`Ledger.day_states`), by which a run's size is told.

    Returns:
        Those of them, in their order, whose rows are at most `LIKE_SIZE` times more or fewer than the median of the
        newest `JUDGED_RUNS`: an unusual run in between is left out.
    """
    rows = {run.run_id: _rows(run, states) for run in runs}
    newest = pl.Series([rows[run.run_id] for run in runs[:JUDGED_RUNS]], dtype=pl.Int64).median()
    usual = newest if isinstance(newest, int | float) else 0
    return [run for run in runs if usual <= LIKE_SIZE * rows[run.run_id] and rows[run.run_id] <= LIKE_SIZE * usual]


def _rows(run: dg.DagsterRun, states: pl.DataFrame) -> int:
    """Rows of the days that a run was asked for."""
    first = run.tags.get(RANGE_START_TAG, run.tags.get(PARTITION_TAG))
    last = run.tags.get(RANGE_END_TAG, run.tags.get(PARTITION_TAG))
    if first is None or last is None:
        return 0
    days = states.filter(pl.col("sale_date").is_between(date.fromisoformat(first), date.fromisoformat(last)))
    return int(days["rows"].sum())


def _durations(instance: dg.DagsterInstance, run: dg.DagsterRun) -> pl.DataFrame:
    """step and seconds of a run."""
    stats = instance.get_run_step_stats(run.run_id)
    ended = [(s.step_key, s.end_time - s.start_time) for s in stats if s.start_time and s.end_time]
    return pl.DataFrame(ended, schema={"step": pl.String, "seconds": pl.Float64}, orient="row")


def _together(durations: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema={"step": pl.String, "seconds": pl.Float64}), *durations])
