"""Features of customers and products in gold, as of the newest closed month; made again when that has changed."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import PRODUCT_CATEGORY, SILVER_SALES, Table
from retail_platform.defs.closed import fingerprint, first_rows, kept, open_month, standing, stands
from retail_platform.defs.layers import AFTER_MARTS, LAKE_POOL, key_of, table_spec
from retail_platform.defs.reports import BLOCKING, check_specs, require
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.parts import PART_ROWS, in_parts
from retail_platform.transforms.feature_checks import features_are_finite, point_in_time_holds
from retail_platform.transforms.features import MAKERS
from retail_platform.transforms.quality import contract_holds, keys_are_unique


@dg.multi_asset(
    name="features",
    specs=[table_spec(table, key_of(SILVER_SALES), key_of(PRODUCT_CATEGORY)) for table in MAKERS],
    check_specs=[
        spec
        for table in MAKERS
        for spec in check_specs(key_of(table), *BLOCKING, features_are_finite, point_in_time_holds)
    ],
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def features(lake: dg.ResourceParam[Lake]) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Make the features, when a month has closed, a closed day has changed, or features or categories are others."""
    days, position = Days(date.min, open_month(lake)), lake.position(SILVER_SALES)
    made_from = fingerprint(days.end, json.loads(lake.note(PRODUCT_CATEGORY) or "{}").get("fingerprint", ""))
    for table in MAKERS:
        # A function's: the rows of one table are gone before the next is made.
        yield from _features(lake, table, days, position, made_from)


def _features(
    lake: Lake, table: Table, days: Days, position: dict[str, int], made_from: str
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    made_again = not stands(lake, table, days, made_from)
    if made_again:
        categories = lake.scan(PRODUCT_CATEGORY).collect()
        frame = MAKERS[table](lake.scan(SILVER_SALES, days), categories, days.end - ONE_DAY, partial(_cut, lake))
        findings = [contract_holds(table, frame), keys_are_unique(table, frame), features_are_finite(table, frame)]
        findings.append(point_in_time_holds(table, frame, _counted(lake, days)))
    else:
        frame = first_rows(lake, table)
        findings = standing(table, *BLOCKING, features_are_finite, point_in_time_holds)
    yield from require(key_of(table), findings)
    yield kept(lake, table, frame, position, {"made_again": made_again}, made_from)


def _cut(lake: Lake, lines: pl.LazyFrame, by: str) -> AbstractContextManager[list[pl.LazyFrame]]:
    return in_parts(lines, by, lake.root / "parts", lake.row_count(SILVER_SALES))


def _counted(lake: Lake, days: Days) -> Iterator[pl.DataFrame]:
    """What is counted again, so many months at a time as fit memory."""
    columns = ("customer_id", "stock_code", "invoice_no", "sale_date", "line_type", "is_cancelled", "quantity")
    for months in lake.month_groups(SILVER_SALES, PART_ROWS, days):
        yield lake.scan_months(SILVER_SALES, months).select(*columns, "line_amount").collect()
