"""Features of customers and products in gold, as of the newest closed month; made again when that has changed."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import PRODUCT_CATEGORY, SILVER_SALES
from retail_platform.defs.closed import fingerprint, kept, open_month, stands
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.reports import BLOCKING, check_specs, require
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
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
)
def features(lake: dg.ResourceParam[Lake]) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Make the features, when a month has closed, a closed day has changed, or features or categories are others."""
    days, position = Days(date.min, open_month(lake)), lake.position(SILVER_SALES)
    made_from = fingerprint(json.loads(lake.note(PRODUCT_CATEGORY) or "{}").get("fingerprint", ""))
    for table, make in MAKERS.items():
        frame, lines = lake.scan(table).collect(), None
        made_again = not stands(lake, table, frame, days, made_from)
        if made_again:
            frame = make(lake.scan(SILVER_SALES), lake.scan(PRODUCT_CATEGORY).collect(), days.end - ONE_DAY)
            lines = _counted(lake.scan(SILVER_SALES, days))
        checks = [contract_holds(table, frame), keys_are_unique(table, frame), features_are_finite(table, frame)]
        yield from require(key_of(table), [*checks, point_in_time_holds(table, frame, lines)])
        yield kept(lake, table, frame, position, {"made_again": made_again}, made_from)


def _counted(lines: pl.LazyFrame) -> pl.DataFrame:
    columns = ("customer_id", "stock_code", "invoice_no", "sale_date", "line_type", "is_cancelled", "quantity")
    return lines.select(*columns, "line_amount").collect()
