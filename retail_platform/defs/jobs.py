"""Jobs and schedules. One job runs the graph for a range of days, which sensors and people ask for; one does upkeep."""

from datetime import timedelta

import dagster as dg

MAINTENANCE = dg.AssetSelection.groups("maintenance")
"""What looks after the platform, by schedules of its own."""

run_days = dg.define_asset_job(
    "run_days",
    selection=dg.AssetSelection.all() - MAINTENANCE,
    description="Everything, for a range of days: bronze, silver and facts of those days, and what depends on them.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=run_days,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    description="Runs the day before; its check every_day_has_rows fails when nothing was delivered for it.",
)
def run_yesterday_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for yesterday."""
    yesterday = context.scheduled_execution_time.date() - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.isoformat(), run_key=f"daily-{yesterday}")


maintain_lake = dg.define_asset_job(
    "maintain_lake",
    selection=MAINTENANCE,
    description="Upkeep of lake and warehouse: compaction, vacuum, checkpoints, statistics, advice on the layout.",
    executor_def=dg.in_process_executor,
)

maintain_lake_weekly = dg.ScheduleDefinition(
    name="maintain_lake_weekly",
    job=maintain_lake,
    cron_schedule="0 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Sunday night; beside readers, and in turn with the runs that write.",
)


compare_durations = dg.define_asset_job(
    "compare_durations",
    selection=["maintenance/step_durations"],
    description="Compares how long the steps of the newest runs take with earlier runs of like size.",
    executor_def=dg.in_process_executor,
)

compare_durations_daily = dg.ScheduleDefinition(
    name="compare_durations_daily",
    job=compare_durations,
    cron_schedule="0 7 * * *",
    execution_timezone="UTC",
    description="Once the run of the day before is done, looks whether steps have become slower.",
)
