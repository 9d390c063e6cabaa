"""The comparison of runs, on an instance with runs of its own."""

from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from retail_platform.definitions import defs
from retail_platform.defs.durations import JUDGED_RUNS, STEP_DURATIONS, alike, step_durations
from retail_platform.defs.partitions import range_tags
from retail_platform.lakehouse.days import Days
from retail_platform.settings import Settings

STATES = pl.DataFrame({"sale_date": [date(2011, 1, day) for day in (4, 5, 6)], "rows": [100, 150, 900]})


def run(instance: dg.DagsterInstance, first: int, last: int) -> dg.DagsterRun:
    tags = range_tags(Days(date(2011, 1, first), date(2011, 1, last + 1)))
    return instance.create_run_for_job(_nothing, tags=tags)


@dg.op
def silver() -> None:
    """A step."""


@dg.job(name="run_days")
def _nothing() -> None:
    """Stands for the real one, which would need a lake."""
    silver()


def test_runs_of_like_size_are_compared() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        small, like, large, other = (run(instance, *days) for days in ((4, 4), (5, 5), (4, 6), (4, 5)))
    newest = [small] * JUDGED_RUNS
    assert alike([*newest, like, large, other], STATES) == [*newest, like]
    assert alike([], STATES) == []


def test_a_range_and_a_partition_have_the_same_size() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        ranged = run(instance, 4, 4)
        single = instance.create_run_for_job(_nothing, tags={"dagster/partition": "2011-01-04"})
    assert alike([ranged, single], STATES) == [ranged, single]


def compared(instance: dg.DagsterInstance, home: Path) -> dg.ExecuteInProcessResult:
    return dg.materialize([step_durations], instance=instance, resources={"settings": Settings(home=home)})


def test_the_event_log_is_the_history(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(JUDGED_RUNS + 6):
            _nothing.execute_in_process(instance=instance)
        (told,) = compared(instance, tmp_path).asset_materializations_for_node("step_durations")
        assert told.metadata["runs_judged"].value == JUDGED_RUNS
        assert told.metadata["runs_before"].value == 6
        assert "| silver |" in str(told.metadata["steps"].value)


def test_without_runs_the_asset_says_that_nothing_is_judged(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        (evaluation,) = compared(instance, tmp_path).get_asset_check_evaluations()
        assert evaluation.passed
        assert str(evaluation.description).startswith("No step has 5 earlier")


def test_it_is_no_step_of_a_run_over_days() -> None:
    graph = defs.resolve_asset_graph()
    assert STEP_DURATIONS in graph.executable_asset_keys
    assert "step_durations" not in {node.name for node in defs.resolve_job_def("run_days").graph.nodes}
    assert {schedule.name for schedule in defs.schedules} >= {"compare_durations_daily"}
