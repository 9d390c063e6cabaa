"""The arrival sensor: registers new files, and asks for runs over the days that the marts do not hold yet."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date

import dagster as dg
import polars as pl

from retail_platform.contracts import SILVER_DAYS
from retail_platform.defs.jobs import run_days
from retail_platform.defs.landing import DELIVERIES, FILES, files_are_readable
from retail_platform.defs.partitions import RANGE_END_TAG, RANGE_START_TAG, range_tags
from retail_platform.defs.reports import result_of
from retail_platform.lakehouse.days import ONE_DAY, Days, days_in, settled_states, waiting_stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import Registration, files_set_aside, register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.warehouse.publish import loaded_fingerprints
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import prepare_warehouse

SECONDS_PER_TICK = 40.0
"""After this the tick ends, and the next one goes on with the files that are left."""


@dg.sensor(
    job=run_days,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers new files in landing, and asks for a run over each stretch of days the marts do not hold.",
)
def sales_file_arrival_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult:
    """One run for each contiguous stretch of days that the ledger holds otherwise than the marts.

    The answer is a comparison of two states, so nothing is lost by a tick that failed, a run that was killed or a file
    that came while a run was going on. The run key is a hash of both states: a stretch that failed is not asked for
    again until a delivery changes it.
    """
    registration = register_arrivals(settings, time_budget=SECONDS_PER_TICK)
    ledger = Ledger(settings)
    fingerprints, set_aside = ledger.fingerprints(), files_set_aside(settings, ledger)
    seen = json.dumps(set_aside.rows())
    with warehouse_database(settings).connect() as connection:
        prepare_warehouse(connection)
        published = loaded_fingerprints(connection)
    present = settled_states(published, Lake(settings.lake).day_states(SILVER_DAYS))
    waiting = waiting_stretches(fingerprints, present, settings.first_day)
    in_flight = days_in_flight(context.instance)
    asked = [stretch for stretch in waiting if not in_flight & set(stretch.every())]
    return dg.SensorResult(
        run_requests=[_run_request(stretch, fingerprints, present) for stretch in asked],
        asset_events=[*_arrivals(registration), *_verdicts(set_aside, seen != (context.cursor or "[]"))],
        skip_reason=None if asked else _skip_reason(len(waiting)),
        cursor=seen,
    )


def days_in_flight(instance: dg.DagsterInstance) -> set[date]:
    """The days of runs that are queued or going on."""
    unfinished = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    runs = instance.get_runs(dg.RunsFilter(job_name=run_days.name, statuses=unfinished))
    return days_in([_days_of_tags(run.tags) for run in runs if RANGE_START_TAG in run.tags])


def _days_of_tags(tags: Mapping[str, str]) -> Days:
    return Days(date.fromisoformat(tags[RANGE_START_TAG]), date.fromisoformat(tags[RANGE_END_TAG]) + ONE_DAY)


def _run_request(stretch: Days, wanted: Mapping[date | None, str], present: Mapping[date | None, str]) -> dg.RunRequest:
    """The key is the way from what is there to what should be: a way that failed is not gone again by itself."""
    ways = [
        sorted((str(day), state) for day, state in states.items() if day is None or day in stretch)
        for states in (wanted, present)
    ]
    digest = hashlib.sha256(json.dumps([str(stretch.start), str(stretch.end), ways]).encode()).hexdigest()
    return dg.RunRequest(run_key=digest, tags=range_tags(stretch))


def _skip_reason(waiting: int) -> str:
    if not waiting:
        return "The marts hold every day of the ledger."
    return f"{waiting} stretches of days wait for a run that is going on, or for a run of people after one that failed."


def _verdicts(set_aside: pl.DataFrame, has_changed: bool) -> list[dg.AssetCheckEvaluation]:
    """The check on files, when the list of bad ones has changed: a bad file alone asks for no run that would say so."""
    if not has_changed:
        return []
    result = result_of(files_are_readable(set_aside), DELIVERIES)
    return [
        dg.AssetCheckEvaluation(
            asset_key=DELIVERIES,
            check_name=str(result.check_name),
            passed=result.passed,
            severity=result.severity,
            description=result.description,
            metadata=result.metadata,
        )
    ]


def _arrivals(registration: Registration) -> list[dg.AssetMaterialization]:
    """One event for the files that this tick found, so that their freshness counts from now."""
    if not registration.accepted:
        return []
    return [dg.AssetMaterialization(FILES, metadata={"accepted": registration.accepted})]
