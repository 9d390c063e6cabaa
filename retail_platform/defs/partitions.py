"""The one partitioning of the platform, by day of the sale, and how an asset learns the days of its run."""

import dagster as dg

from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.settings import get_settings

# Two days ahead: a row may be dated the day after its delivery, and deliveries of today are run today.
DAILY = dg.DailyPartitionsDefinition(start_date=get_settings().first_day.isoformat(), end_offset=2)

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def days_of_run(context: dg.AssetExecutionContext) -> Days:
    """The days this run writes: one partition, or the whole range of a single-run backfill."""
    window = context.partition_time_window
    return Days(window.start.date(), window.end.date())


def range_tags(days: Days) -> dict[str, str]:
    """The run tags that ask for a range of days in one run."""
    return {RANGE_START_TAG: str(days.start), RANGE_END_TAG: str(days.end - ONE_DAY)}
