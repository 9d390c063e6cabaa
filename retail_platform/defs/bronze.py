"""Bronze: delivered rows as text, a pure function of the ledger and the kept bytes."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import BRONZE_DAYS, BRONZE_SALES
from retail_platform.defs.landing import DELIVERIES
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.partitions import days_of_run
from retail_platform.defs.reports import BLOCKING, Checks, DaysWritten, check_specs, result_of, written
from retail_platform.engines.choose import Engines, Footprint
from retail_platform.engines.windows import Window, rows_by_day
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.stage import bronze_rows, undated_rows
from retail_platform.settings import Settings
from retail_platform.transforms.quality import contract_holds, every_day_has_rows, keys_are_unique, rows_match_ledger

SALES = key_of(BRONZE_SALES)
COPIED = Footprint(working=1500, made=300)
"""Measured on 10 million generated lines: 1,100 and 270 bytes a row."""


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
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    engine: dg.ResourceParam[Engines],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Write the delivered rows of the run's days, and every row without a usable day."""
    days, ledger, checks = days_of_run(context), Ledger(settings), Checks()
    states = ledger.day_states().filter(pl.col("sale_date").is_null() | pl.col("sale_date").is_between(*days, "left"))
    sales, choice = DaysWritten(lake, BRONZE_SALES), engine.copying(COPIED, rows_by_day(states), [days])
    for window in choice.windows:
        held, rows = states.filter(window.holds(pl.col("sale_date"))), _delivered(settings, ledger, window)
        findings = (contract_holds(BRONZE_SALES, rows), keys_are_unique(BRONZE_SALES, rows))
        if not checks.hold(SALES, [*findings, rows_match_ledger(held, rows)]):
            break
        version = lake.replace_days(BRONZE_SALES, rows, window.days, undated=window.is_last)
        states_version = lake.replace_days(BRONZE_DAYS, held, window.days, undated=window.is_last)
        sales.add(rows)
    yield from checks.results()
    yield result_of(every_day_has_rows(days, sales.counts), SALES, _severity_of_an_empty_day(context.run.tags))
    sales.report(context)
    yield sales.result(version, rows_without_day=sales.counts.get(None, 0), **choice.metadata)
    yield written(lake, BRONZE_DAYS, states, states_version)


def _delivered(settings: Settings, ledger: Ledger, window: Window) -> pl.DataFrame:
    """The delivered rows of a window; streamed, for all rows of a file have to be looked at for one without a day."""
    parts = [bronze_rows(settings, ledger, *days) for days in window.days]
    if window.is_last:
        parts.append(undated_rows(settings, ledger))
    return pl.concat(parts).collect(engine="streaming")


def _severity_of_an_empty_day(run_tags: Mapping[str, str]) -> dg.AssetCheckSeverity:
    """A day without a sale is nothing odd in a backfill; it is when the morning's run looks for yesterday."""
    return dg.AssetCheckSeverity.ERROR if "dagster/schedule_name" in run_tags else dg.AssetCheckSeverity.WARN
