"""Bronze: delivered rows as text, a pure function of the ledger and the kept bytes."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import BRONZE_DAYS, BRONZE_SALES
from retail_platform.defs.landing import DELIVERIES
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.partitions import days_of_run
from retail_platform.defs.reports import BLOCKING, check_specs, report_days, require, result_of, written
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.stage import bronze_rows, undated_rows
from retail_platform.settings import Settings
from retail_platform.transforms.quality import contract_holds, every_day_has_rows, keys_are_unique, rows_match_ledger

SALES = key_of(BRONZE_SALES)


@dg.multi_asset(
    name="bronze",
    specs=[
        table_spec(BRONZE_SALES, DELIVERIES, daily=True),
        table_spec(BRONZE_DAYS, DELIVERIES, daily=True),
    ],
    check_specs=[
        *check_specs(SALES, *BLOCKING, "rows_match_ledger"),
        *check_specs(SALES, "every_day_has_rows", blocking=False),
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LAKE_POOL,
)
def bronze(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Write the delivered rows of the run's days, and every row without a usable day."""
    days, ledger = days_of_run(context), Ledger(settings)
    states = ledger.day_states().filter(pl.col("sale_date").is_null() | pl.col("sale_date").is_between(*days, "left"))
    rows = pl.concat([bronze_rows(settings, ledger, *days), undated_rows(settings, ledger)]).collect()
    yield from require(SALES, [contract_holds(BRONZE_SALES, rows), keys_are_unique(BRONZE_SALES, rows)])
    yield from require(SALES, [rows_match_ledger(states, rows)])
    yield result_of(every_day_has_rows(days, rows), SALES, _severity_of_an_empty_day(context.run.tags))

    version = lake.replace_days_and_undated(BRONZE_SALES, rows, days)
    states_version = lake.replace_days_and_undated(BRONZE_DAYS, states, days)
    report_days(context, BRONZE_SALES, rows)
    yield written(lake, BRONZE_SALES, rows, version, rows_without_day=rows["sale_date"].null_count())
    yield written(lake, BRONZE_DAYS, states, states_version)


def _severity_of_an_empty_day(run_tags: Mapping[str, str]) -> dg.AssetCheckSeverity:
    """A day without a sale is nothing odd in a backfill; it is when the morning's run looks for yesterday."""
    return dg.AssetCheckSeverity.ERROR if "dagster/schedule_name" in run_tags else dg.AssetCheckSeverity.WARN
