"""Running the whole graph for a range of days in this process, in the stored instance that the UI shows."""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from retail_platform.instance.home import open_instance
from retail_platform.lakehouse.days import Days
from retail_platform.settings import Settings

JOB = "run_days"
POLL_SECONDS = 0.25
_STEP_EVENTS = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
}


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        run_id: its id in Dagster.
        success: whether every step succeeded.
        seconds: from start to end, in this process.
        steps: step -> seconds, in the order they ended.
        failures: step -> what it failed with.
    """

    run_id: str
    success: bool
    seconds: float
    steps: dict[str, float]
    failures: dict[str, str]


def run_job(
    settings: Settings, days: Days, on_step: Callable[[str, str], None], selection: Sequence[dg.AssetKey] | None = None
) -> RunOutcome:
    """Run every asset for some days, or some of them.

    Args:
        settings: the platform, as `get_settings` gives it: assets ask for themselves.
        days: the range.
        on_step: called with (step, "start" | "success" | "failure") as steps go on, from a thread of its own.
        selection: the assets to run; None for all.

    Returns:
        How it ended; a failed step is told, not raised.
    """
    from retail_platform.definitions import defs
    from retail_platform.defs.partitions import range_tags

    run_id, done, started = str(uuid.uuid4()), threading.Event(), time.perf_counter()
    with open_instance(settings) as instance:
        watcher = threading.Thread(target=_watch, args=(instance, run_id, done, on_step), daemon=True)
        watcher.start()
        try:
            result = defs.resolve_job_def(JOB).execute_in_process(
                instance=instance,
                run_id=run_id,
                tags=range_tags(days),
                asset_selection=selection,
                raise_on_error=False,
            )
        finally:
            done.set()
            watcher.join()
        return _outcome(instance, run_id, result.success, time.perf_counter() - started)


def _watch(
    instance: dg.DagsterInstance, run_id: str, done: threading.Event, on_step: Callable[[str, str], None]
) -> None:
    """Tell of each step event once, until the run has ended."""
    cursor, last_look = None, False
    while not last_look:
        last_look = done.wait(POLL_SECONDS)
        if not instance.has_run(run_id):
            continue
        connection = instance.get_records_for_run(run_id, cursor=cursor, of_type=_STEP_EVENTS)
        cursor = connection.cursor
        for record in connection.records:
            event = record.event_log_entry.get_dagster_event()
            on_step(str(event.step_key), event.event_type_value.removeprefix("STEP_").lower())


def _outcome(instance: dg.DagsterInstance, run_id: str, success: bool, seconds: float) -> RunOutcome:
    stats = instance.get_run_step_stats(run_id)
    ended = sorted((s.end_time, s.start_time, s.step_key) for s in stats if s.start_time and s.end_time)
    failed = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.get_dagster_event() for record in failed]
    return RunOutcome(
        run_id=run_id,
        success=success,
        seconds=seconds,
        steps={step: end - start for end, start, step in ended},
        failures={str(e.step_key): e.step_failure_data.error_display_string for e in events},
    )
