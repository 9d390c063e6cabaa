"""The one Definitions object of the platform: everything in `defs/`."""

import dagster as dg

import retail_platform.defs
from retail_platform.defs.corrections import amend_rejects
from retail_platform.defs.files import export_table, sales_report
from retail_platform.defs.jobs import (
    compare_durations,
    compare_durations_daily,
    maintain_lake,
    maintain_lake_weekly,
    run_days,
    run_yesterday_daily,
)
from retail_platform.defs.landing import landing_files
from retail_platform.defs.resources import RESOURCES
from retail_platform.defs.sensors import sales_file_arrival_sensor

defs = dg.Definitions(
    assets=[landing_files, *dg.load_assets_from_package_module(retail_platform.defs)],
    jobs=[run_days, maintain_lake, compare_durations, export_table, sales_report, amend_rejects],
    schedules=[run_yesterday_daily, maintain_lake_weekly, compare_durations_daily],
    sensors=[sales_file_arrival_sensor],
    resources=RESOURCES,
    executor=dg.in_process_executor,
)
