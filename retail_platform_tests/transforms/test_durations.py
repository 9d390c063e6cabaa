"""Noise makes no alarm, a change is named: on synthetic histories with known noise and known change."""

import numpy as np
import polars as pl
import pytest

from retail_platform.transforms.durations import compare_durations, steps_take_no_longer

STEPS = 31
NOISE = 0.05  # relative; of CPU seconds on one machine, repeats differ by 2 to 5 %


def runs(rng: np.random.Generator, number: int, slower: float = 1.0) -> pl.DataFrame:
    """Steps of 0.2 to 20 s with noise; of twenty durations one is disturbed, up to three times as long."""
    usual = np.geomspace(0.2, 20, STEPS)
    noise = rng.normal(0, NOISE, (number, STEPS))
    disturbed = np.where(rng.random((number, STEPS)) < 0.05, rng.uniform(1.3, 3, (number, STEPS)), 1)
    seconds = usual * np.exp(noise) * disturbed
    seconds[:, STEPS // 2] *= slower
    steps = [f"step_{step:02d}" for step in range(STEPS)] * number
    return pl.DataFrame({"step": steps, "seconds": seconds.ravel()})


def steady(step: str, seconds: float, number: int) -> pl.DataFrame:
    return pl.DataFrame({"step": [step] * number, "seconds": [seconds] * number})


def test_noise_gives_no_alarm() -> None:
    rng = np.random.default_rng(1)
    alarms = [compare_durations(runs(rng, 20), runs(rng, 5))["has_moved"].sum() for _ in range(300)]
    # 0.1 % of the steps: one comparison of all steps in thirty has one.
    assert sum(alarms) / (300 * STEPS) < 0.002


@pytest.mark.parametrize("factor", [1.3, 1 / 1.3])
def test_a_step_that_changes_by_30_percent_is_named(factor: float) -> None:
    rng = np.random.default_rng(2)
    named = 0
    for _ in range(100):
        compared = compare_durations(runs(rng, 20), runs(rng, 5, slower=factor))
        step = compared.row(by_predicate=pl.col("step") == f"step_{STEPS // 2:02d}", named=True)
        named += step["has_moved"]
    assert named >= 95


def test_the_finding_says_which_step_and_by_how_much() -> None:
    before = pl.concat([steady("silver", 10.0, 6), steady("bronze", 4.0, 6), steady("gold", 2.0, 6)])
    now = pl.concat([steady("silver", 13.0, 3), steady("bronze", 4.1, 3), steady("gold", 1.0, 3)])
    found = steps_take_no_longer(compare_durations(before, now))
    assert not found.passed
    assert found.description == ("1 of 3 steps take longer, 1 less long. silver: 13.00 s, before 10.00 s (+30 %)")
    assert found.evidence["moved"]["step"].to_list() == ["silver", "gold"]


def test_a_step_that_only_got_faster_passes() -> None:
    assert steps_take_no_longer(compare_durations(steady("a", 10.0, 5), steady("a", 5.0, 3))).passed


@pytest.mark.parametrize(("before", "now"), [(4, 3), (5, 2), (0, 3)])
def test_too_few_runs_are_not_judged(before: int, now: int) -> None:
    compared = compare_durations(steady("a", 1.0, before), steady("a", 9.0, now))
    assert compared.is_empty()
    assert steps_take_no_longer(compared).description.startswith("No step has 5 earlier and 3 newest runs")


def test_hundredths_of_a_second_are_no_change() -> None:
    assert not compare_durations(steady("a", 0.01, 9), steady("a", 0.04, 5))["has_moved"].any()


def test_one_disturbed_run_moves_nothing() -> None:
    now = pl.concat([steady("a", 1.0, 4), steady("a", 30.0, 1)])
    assert not compare_durations(steady("a", 1.0, 10), now)["has_moved"].any()
