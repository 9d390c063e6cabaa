"""Landing: the folder of files as Dagster sees it, and the ledger of what was accepted.

Add here what concerns arrival. Reading files belongs to `lakehouse/`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.defs.layers import OWNERS, asset_key
from retail_platform.defs.reports import preview, result_of
from retail_platform.lakehouse.landing import files_set_aside, register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.transforms.quality import Finding
from retail_platform.transforms.rules import FEWEST_ROWS

FILES = asset_key("landing", "files")
DELIVERIES = asset_key("landing", "deliveries")

FILES_ARRIVE_DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""A shop sends a file a day; a day and a half without one is a fault of somebody's."""

landing_files = dg.AssetSpec(
    FILES,
    group_name="landing",
    kinds={"file"},
    owners=OWNERS,
    freshness_policy=FILES_ARRIVE_DAILY,
    description="The files in the landing folder, the user's own.\n\nGrain: one file.  Source: the retailer.  "
    "The arrival sensor reports each new one.",
)


def files_are_readable(set_aside: pl.DataFrame) -> Finding:
    """Whether no file that is in landing was set aside (path, reason, message)."""
    return Finding(
        "files_are_readable",
        set_aside.is_empty(),
        f"{set_aside.height} files in landing are set aside; replace each by one that can be read.",
        {"set_aside": set_aside.head(20)},
    )


def dates_are_readable(deliveries: pl.DataFrame, days: pl.DataFrame) -> Finding:
    """Whether no file is without a usable day in more than half of its rows.

    Args:
        deliveries: delivery_id, file_sha256, sheet_index, source_file and rows (`Ledger.deliveries`).
        days: rows by part and sale_date (`Ledger.delivery_days`).
    """
    part = ["delivery_id", "file_sha256", "sheet_index"]
    undated = days.filter(pl.col("sale_date").is_null()).select(*part, rows_without_day="rows")
    parts = deliveries.select(*part, "source_file", "rows").join(undated, on=part)
    is_wrong = (pl.col("rows") >= FEWEST_ROWS) & (2 * pl.col("rows_without_day") > pl.col("rows"))
    wrong = parts.filter(is_wrong).select("source_file", "rows", "rows_without_day").sort("source_file")
    told = [f"{lost} of {rows} rows of {name}" for name, rows, lost in wrong.head(5).iter_rows()]
    return Finding(
        "dates_are_readable",
        wrong.is_empty(),
        f"{wrong.height} files have no usable day in more than half of their rows{': ' if told else ''}"
        f"{', '.join(told)}; add the format to `date_formats` in the mapping, or have them sent again.",
        {"files": wrong.head(20)},
    )


@dg.asset(
    key=DELIVERIES,
    deps=[FILES],
    group_name="landing",
    kinds={"deltalake"},
    owners=OWNERS,
    check_specs=[
        dg.AssetCheckSpec(
            "files_are_readable", asset=DELIVERIES, description="Whether every file in landing is accepted."
        ),
        dg.AssetCheckSpec(
            "dates_are_readable", asset=DELIVERIES, description="Whether the rows of every file have a usable day."
        ),
    ],
)
def landing_deliveries(
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """What was delivered: files accepted with their rank, days and rows, and files set aside with the reason.

    Grain: (path, content, sheet) as observed; append-only.  Source: landing/files.
    A file that cannot be read is set aside and fails the check; the others go on.
    """
    register_arrivals(settings)
    ledger = Ledger(settings)
    deliveries, set_aside = ledger.deliveries(), files_set_aside(settings, ledger)
    yield result_of(files_are_readable(set_aside), DELIVERIES)
    yield result_of(dates_are_readable(deliveries, ledger.delivery_days()), DELIVERIES)
    yield dg.MaterializeResult(
        asset_key=DELIVERIES,
        metadata={
            "dagster/row_count": deliveries.height,
            "dagster/uri": str(settings.deliveries),
            "files_accepted": deliveries["file_sha256"].n_unique(),
            "files_set_aside": set_aside.height,
            "preview": preview(deliveries.sort("delivery_rank", descending=True)),
        },
    )
