"""The arrival sensor tick by tick, on real files, a real warehouse and an instance of its own; and the schedule."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from retail_platform.definitions import defs
from retail_platform.defs.jobs import run_yesterday_daily
from retail_platform.defs.landing import FILES
from retail_platform.defs.partitions import RANGE_END_TAG, RANGE_START_TAG, range_tags
from retail_platform.defs.sensors import sales_file_arrival_sensor
from retail_platform.lakehouse.days import Days
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.integration.conftest import settings_in_environment, write_csv

MONDAY = date(2011, 12, 5)
TUESDAY = MONDAY + timedelta(days=1)
WEDNESDAY = MONDAY + timedelta(days=2)


@pytest.fixture
def platform(tmp_path: Path, fresh_database: Database) -> Settings:
    settings = Settings(home=tmp_path, database_url=fresh_database.url(), dagster_database_url=None)
    settings.landing.mkdir()
    return settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(platform: Settings, instance: dg.DagsterInstance) -> SensorExecutionData:
    context = dg.build_sensor_context(instance=instance, resources={"settings": platform}, definitions=defs)
    return sales_file_arrival_sensor.evaluate_tick(context)


def land(platform: Settings, day: date, quantity: int = 1, hour: int = 20) -> None:
    """A file of one line, delivered at an hour of its day."""
    line = (f"58{day:%m%d}", "85123A", "HEART", quantity, f"{day} 10:00:00", "2.55", 17850, "United Kingdom")
    write_csv(platform.landing / f"{day}__{day:%Y%m%d}T{hour}0000Z.csv", [line])


def asked(execution: SensorExecutionData) -> list[tuple[str, str]]:
    """The first and the last day of each request."""
    return [(each.tags[RANGE_START_TAG], each.tags[RANGE_END_TAG]) for each in execution.run_requests or []]


def submit(instance: dg.DagsterInstance, days: Days, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return instance.create_run_for_job(defs.resolve_job_def("run_days"), tags=range_tags(days), status=status)


def test_without_a_file_it_skips(platform: Settings, instance: dg.DagsterInstance) -> None:
    execution = tick(platform, instance)
    assert asked(execution) == []
    assert execution.skip_message


def test_a_file_asks_for_its_days_and_is_reported(platform: Settings, instance: dg.DagsterInstance) -> None:
    land(platform, MONDAY)
    execution = tick(platform, instance)
    assert asked(execution) == [(str(MONDAY), str(MONDAY))]
    assert [event.asset_key for event in execution.asset_events] == [FILES]


def test_a_day_without_sales_does_not_part_a_stretch(platform: Settings, instance: dg.DagsterInstance) -> None:
    land(platform, MONDAY)
    land(platform, WEDNESDAY)
    assert asked(tick(platform, instance)) == [(str(MONDAY), str(WEDNESDAY))]


def test_a_bad_file_keeps_no_other_one_back(platform: Settings, instance: dg.DagsterInstance) -> None:
    (platform.landing / "bad.csv").write_text("Invoice,Price\n1,2\n")
    land(platform, MONDAY)
    assert asked(tick(platform, instance)) == [(str(MONDAY), str(MONDAY))]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_while_a_run_has_the_days_it_skips(
    platform: Settings, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    land(platform, MONDAY)
    submit(instance, Days(MONDAY, TUESDAY), status)
    execution = tick(platform, instance)
    assert asked(execution) == []
    assert "1 stretches" in str(execution.skip_message)


def test_a_run_of_other_days_holds_nothing_up(platform: Settings, instance: dg.DagsterInstance) -> None:
    land(platform, MONDAY)
    submit(instance, Days(TUESDAY, WEDNESDAY), dg.DagsterRunStatus.STARTED)
    assert asked(tick(platform, instance)) == [(str(MONDAY), str(MONDAY))]


def test_days_that_failed_are_asked_for_anew_when_a_delivery_changes_them(
    platform: Settings, instance: dg.DagsterInstance
) -> None:
    land(platform, MONDAY)
    first = tick(platform, instance)
    instance.report_run_failed(submit(instance, Days(MONDAY, TUESDAY), dg.DagsterRunStatus.STARTED))
    again = tick(platform, instance)
    land(platform, MONDAY, quantity=2, hour=21)
    changed = tick(platform, instance)
    keys = [[request.run_key for request in each.run_requests or []] for each in (first, again, changed)]
    # Dagster starts no second run for a key it has seen.
    assert keys[0] == keys[1] != keys[2]
    assert asked(changed) == asked(first)


@pytest.mark.slow
def test_published_days_are_asked_for_again_only_when_they_change(
    platform: Settings, instance: dg.DagsterInstance
) -> None:
    land(platform, MONDAY)
    land(platform, WEDNESDAY)
    (request,) = tick(platform, instance).run_requests or []
    with settings_in_environment(platform):
        job = defs.resolve_job_def("run_days")
        assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
    assert asked(tick(platform, instance)) == []

    land(platform, TUESDAY)
    land(platform, WEDNESDAY, hour=21)  # the same line delivered again
    assert asked(tick(platform, instance)) == [(str(TUESDAY), str(TUESDAY))]


def test_the_schedule_asks_for_yesterday() -> None:
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2011, 12, 6, 6, tzinfo=UTC), repository_def=defs.get_repository_def()
    )
    (request,) = run_yesterday_daily.evaluate_tick(context).run_requests or []
    assert request.partition_key == str(MONDAY)


def test_a_bad_file_fails_the_check_without_a_run_and_its_removal_heals_it(
    platform: Settings, instance: dg.DagsterInstance
) -> None:
    def verdicts(cursor: str | None) -> tuple[list[bool], str | None]:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"settings": platform}, definitions=defs
        )
        execution = sales_file_arrival_sensor.evaluate_tick(context)
        events = [event for event in execution.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        return [event.passed for event in events], execution.cursor

    bad = platform.landing / "bad.csv"
    bad.write_text("Invoice,Price\n1,2\n")
    failed, cursor = verdicts(None)
    assert failed == [False]
    same, cursor = verdicts(cursor)
    assert same == []
    bad.unlink()
    healed, cursor = verdicts(cursor)
    assert healed == [True]
