"""What the benchmarks say of a run and its history; the measuring itself is not tested, it is run."""

from pathlib import Path

import pytest

from retail_platform_tests.benchmarks.history import keep, moved
from retail_platform_tests.benchmarks.tables import show
from retail_platform_tests.benchmarks.watched import Sample, Watched

MACHINE = {"processor": "a", "processors": 2}


def kept(folder: Path, number: int, bronze: float, machine: dict[str, object] = MACHINE) -> None:
    """A run of one repeat with a step that takes so many processor seconds, and one that always takes 2."""
    steps = {"bronze": {"seconds": 9.0, "cpu": bronze, "cpu_postgres": 0.0}}
    steps["silver"] = {"seconds": 9.0, "cpu": 1.5, "cpu_postgres": 0.5}
    figures = {"seconds": 20.0, "cpu": 30.0, "cpu_postgres": 5.0}
    row = {"part": "engines", "variant": "polars", "lines": 1000, "figures": figures, "steps": steps}
    failed = {"part": "engines", "variant": "spark", "lines": 1000, "error": "not installed"}
    at = f"2026-11-{number:02d}T12:00:00+00:00"
    keep(folder, {"at": at, "machine": machine, "commit": "abc", "rows": [row, failed]})


def test_a_comparison_names_the_step_that_moved(tmp_path: Path) -> None:
    for number in range(1, 7):
        kept(tmp_path, number, 4.0 + 0.01 * number)
    kept(tmp_path, 7, 40.0, {"processor": "another", "processors": 64})
    for number in range(8, 11):
        kept(tmp_path, number, 5.6)
    first, summary, step = moved(tmp_path, newest=3, measure="cpu")
    assert first.startswith("3 runs (abc) against 6 before on this machine")
    assert summary.startswith("1 of 3 steps take longer, 0 less long.")
    assert step.startswith("engines, polars, 1,000 lines: bronze: 4.03 -> 5.60 s (+39 %")
    assert len(list(moved(tmp_path, newest=3, measure="seconds"))) == 2


def test_a_comparison_without_history_says_what_it_needs(tmp_path: Path) -> None:
    assert list(moved(tmp_path, 1, "cpu")) == [f"{tmp_path} holds no runs; measure first."]
    kept(tmp_path, 1, 4.0)
    assert "a step needs 5 durations before and 3 now" in list(moved(tmp_path, 1, "cpu"))[-1]


def test_a_span_is_cut_out_of_samples() -> None:
    samples = [
        Sample(10.0, 0.0, 0.0, 100, 0, 0),
        Sample(11.0, 2.0, 1.0, 300, 50, 20),
        Sample(12.0, 2.0, 3.0, 200, 0, 0),
    ]
    watched = Watched(2.0, 2.5, samples, high_water=2**20)
    span = watched.span(10.5, 11.5)
    assert span["cpu"] == pytest.approx(1.0)
    assert span["cpu_postgres"] == pytest.approx(1.5)
    assert span["peak_mib"] == pytest.approx(300 / 2**20)
    assert watched.figures()["peak_mib"] == 1.0


def test_ratios_divide_like_by_like() -> None:
    """6 s of a run of 20 s come after the marts; the process took 5 s more, the job by hand 10 s."""

    def spent(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "cpu": seconds, "cpu_postgres": seconds}

    ours = {
        "part": "engines",
        "variant": "polars",
        "lines": 1000,
        "figures": spent(20.0),
        "process": spent(25.0),
        "after_marts": spent(6.0),
        "steps": {"bronze": spent(2.0), "publication": spent(7.0)},
    }
    hand = {
        "part": "engines",
        "variant": "by hand: dbt-postgres",
        "lines": 1000,
        "figures": spent(10.0),
        "steps": {"server": spent(1.0), "dbt build": spent(9.0)},
    }
    ratios = list(show([ours, hand]))[1]
    told = dict(zip(*(column.cells for column in ratios.columns), strict=True))
    assert told == {
        "polars: steps of the same outputs": "",
        "polars: … and warehouse, marts, publication": "1.00 | 1.00",
        "polars: the whole process until the marts are published": "1.90 | 1.90",
        "polars: the whole process": "2.50 | 2.50",
    }
