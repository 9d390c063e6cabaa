"""The kept figures of benchmarks, a JSON file a run, and what has moved since: the same statistics as of real runs."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from retail_platform.transforms.durations import (
    FEWEST_BEFORE,
    FEWEST_NOW,
    compare_durations,
    steps_take_no_longer,
)


def keep(folder: Path, figures: dict[str, Any]) -> Path:
    """Write the figures of a run under the time it ended."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.fromisoformat(figures['at']):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(figures, indent=1))
    return path


def moved(folder: Path, newest: int, measure: str) -> Iterator[str]:
    """What a comparison of the newest runs with those before them on the same machine says.

    Args:
        folder: the kept figures.
        newest: how many files are judged together; a run with repeats can be judged alone.
        measure: "cpu" (processor seconds, with PostgreSQL's) or "seconds".
    """
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not runs:
        yield f"{folder} holds no runs; measure first."
        return
    like = [run for run in runs if run["machine"] == runs[-1]["machine"]]
    before, now = (durations(part, measure) for part in (like[:-newest], like[-newest:]))
    compared = compare_durations(before, now)
    yield f"{len(like[-newest:])} runs ({like[-1]['commit']}) against {len(like[:-newest])} before on this machine."
    if compared.is_empty():
        yield (
            f"Nothing is judged: a step needs {FEWEST_BEFORE} durations before and {FEWEST_NOW} now; "
            "raise --repeats when measuring, or --newest."
        )
        return
    yield steps_take_no_longer(compared).description
    for step in compared.filter("has_moved").iter_rows(named=True):
        yield (
            f"{step['step']}: {step['before_seconds']:.2f} -> {step['now_seconds']:.2f} s "
            f"({step['change_pct']:+.0f} %, score {step['score']:+.1f}, "
            f"{step['runs_before']} + {step['runs_now']} durations)"
        )


def durations(runs: Sequence[dict[str, Any]], measure: str) -> pl.DataFrame:
    """step and seconds of every step of every row, the step named with its part, variant and lines."""
    found = [
        (f"{row['part']}, {row['variant']}, {row['lines']:,} lines: {step}", _value(figures, measure))
        for run in runs
        for row in run["rows"]
        if "error" not in row
        for step, figures in {**row["steps"], "in all": row["figures"]}.items()
    ]
    return pl.DataFrame(found, schema={"step": pl.String, "seconds": pl.Float64}, orient="row")


def _value(figures: dict[str, float], measure: str) -> float:
    return figures["seconds"] if measure == "seconds" else figures["cpu"] + figures["cpu_postgres"]
