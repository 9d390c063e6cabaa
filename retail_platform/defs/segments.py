"""Segments over time in gold: made again only when a month has closed or a closed one has changed.

Versions of customers stay in `gold.py`; transitions and cohorts are marts.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import CUSTOMER_MONTHS, CUSTOMER_SEGMENT_MONTH, DIM_CUSTOMER
from retail_platform.defs.closed import fingerprint, kept, open_month, standing, stands, with_plots
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.plots import heat_map_plot, stacked_plot
from retail_platform.defs.reports import BLOCKING, check_specs, require, written
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms.quality import contract_holds, keys_are_unique
from retail_platform.transforms.segment_history import (
    days_that_differ,
    every_month_has_its_row,
    history_agrees_with_versions,
    segment_months,
    segment_moves,
    segment_sizes,
)

KEY = key_of(CUSTOMER_SEGMENT_MONTH)


@dg.multi_asset(
    name="customer_segment_month",
    specs=[table_spec(CUSTOMER_SEGMENT_MONTH, key_of(CUSTOMER_MONTHS), key_of(DIM_CUSTOMER))],
    check_specs=check_specs(KEY, *BLOCKING, every_month_has_its_row, history_agrees_with_versions),
    pool=LAKE_POOL,
)
def customer_segment_month(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Judge every customer at every close, when a month has closed or a closed one has changed."""
    table, month, position = CUSTOMER_SEGMENT_MONTH, open_month(lake), lake.position(CUSTOMER_MONTHS)
    made_from = fingerprint(month)
    if stands(lake, table, Days(date.min, month), made_from, CUSTOMER_MONTHS):
        yield from require(KEY, standing(table, *BLOCKING, every_month_has_its_row, history_agrees_with_versions))
        more: dict[str, Any] = {"made_again": False, "months_written": 0}
        more = with_plots(context, lake, table, lake.scan(table), more, _plots)
        yield kept(lake, table, table.empty(), position, more, made_from)
        return
    before, months = lake.scan(table).collect(), lake.scan(CUSTOMER_MONTHS)
    frame = segment_months(months, month)
    checks = [contract_holds(table, frame), keys_are_unique(table, frame)]
    versions = history_agrees_with_versions(frame, lake.scan(DIM_CUSTOMER).collect())
    yield from require(KEY, [*checks, every_month_has_its_row(frame, months, month), versions])
    changed = days_that_differ(before, frame)
    rows = frame.filter(pl.col("as_of_date").is_in(changed))
    more = with_plots(context, lake, table, frame, {"made_again": True, "months_written": len(changed)}, _plots)
    if changed:
        version = lake.replace_days(table, rows, [Days(day, day + ONE_DAY) for day in changed], position, made_from)
    else:  # what it was made from is noted all the same
        version = lake.add(table, rows, consumed=position, note=made_from)
    yield written(lake, table, rows, version, **more)


def _plots(history: pl.DataFrame) -> dict[str, dg.MarkdownMetadataValue]:
    """Where the newest close moved customers, and how many each segment has had."""
    moves, sizes = segment_moves(history), segment_sizes(history)
    title = f"Customers by segment, before and at the close of {sizes['as_of_date'].item(-1)}"
    parts = {name: sizes[name].to_list() for name in sizes.columns[1:]}
    moved = max(row[name] for row in moves.rows(named=True) for name in parts if name != row["from_segment"])
    return {
        "segment_migration": heat_map_plot(moves, title, "from", "to", largest=moved),
        "segment_sizes": stacked_plot(sizes["as_of_date"].to_list(), parts, "Customers by segment"),
    }
