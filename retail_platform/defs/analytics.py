"""Analytics in gold: customers' value and products bought together, as of the newest closed month.

The open month changes nothing here, so a day's run makes these tables again only when a month has closed or a closed
day has changed. What is judged day by day or versioned stays in `gold.py`.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import CUSTOMER_VALUE, PRODUCT_PAIR, SILVER_SALES
from retail_platform.defs.closed import fingerprint, first_rows, kept, open_month, standing, stands, with_plots
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.plots import calibration_plot
from retail_platform.defs.reports import BLOCKING, check_specs, require, result_of
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.parts import PART_ROWS
from retail_platform.transforms.baskets import BASKETS, product_baskets, product_pairs
from retail_platform.transforms.customer_value import customer_values, order_days
from retail_platform.transforms.quality import (
    Finding,
    commonest_pairs,
    contract_holds,
    holdout_deciles,
    holdout_is_calibrated,
    keys_are_unique,
    pairs_are_consistent,
)

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]


@dg.multi_asset(
    name="customer_value",
    specs=[table_spec(CUSTOMER_VALUE, key_of(SILVER_SALES))],
    check_specs=[
        *check_specs(key_of(CUSTOMER_VALUE), *BLOCKING),
        *check_specs(key_of(CUSTOMER_VALUE), "holdout_is_calibrated", blocking=False),
    ],
    pool=LAKE_POOL,
)
def customer_value(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Foretell orders and value of every customer, when a month has closed or a closed day has changed."""
    key, days, position = key_of(CUSTOMER_VALUE), Days(date.min, open_month(lake)), lake.position(SILVER_SALES)
    made_from = fingerprint(days.end)
    if stands(lake, CUSTOMER_VALUE, days, made_from):
        frame, findings = lake.scan(CUSTOMER_VALUE).collect(), standing(CUSTOMER_VALUE, *BLOCKING)
        more: dict[str, Any] = {"made_again": False}
    else:
        orders = order_days(lake.scan(SILVER_SALES, days)).collect(engine="streaming")
        frame, parameters = customer_values(orders, days.end - ONE_DAY)
        findings = [contract_holds(CUSTOMER_VALUE, frame), keys_are_unique(CUSTOMER_VALUE, frame)]
        more = {"made_again": True, **parameters}
    more = with_plots(context, lake, CUSTOMER_VALUE, frame, more, _holdout)
    yield from require(key, findings)
    yield result_of(holdout_is_calibrated(frame), key, dg.AssetCheckSeverity.WARN)
    yield kept(lake, CUSTOMER_VALUE, frame, position, more, made_from)


def _holdout(frame: pl.DataFrame) -> dict[str, Any]:
    deciles = holdout_deciles(frame)
    return {} if deciles.is_empty() else {"holdout": calibration_plot(deciles, "Order days in the last 180 days")}


@dg.multi_asset(
    name="product_pair",
    specs=[table_spec(PRODUCT_PAIR, key_of(SILVER_SALES))],
    check_specs=check_specs(key_of(PRODUCT_PAIR), *BLOCKING, "pairs_are_consistent"),
    pool=LAKE_POOL,
)
def product_pair(lake: dg.ResourceParam[Lake]) -> Results:
    """Count what was bought together in twelve months, when a month has closed or one of their days has changed."""
    key, month, position = key_of(PRODUCT_PAIR), open_month(lake), lake.position(SILVER_SALES)
    days = Days(month.replace(year=month.year - 1), month)
    made_from = fingerprint(days.end)
    made_again = not stands(lake, PRODUCT_PAIR, days, made_from)
    if made_again:
        frame, findings = _pairs(lake, days)
    else:
        frame = first_rows(lake, PRODUCT_PAIR)
        findings = standing(PRODUCT_PAIR, *BLOCKING, "pairs_are_consistent")
    yield from require(key, findings)
    yield kept(lake, PRODUCT_PAIR, frame, position, {"made_again": made_again}, made_from)


def _pairs(lake: Lake, days: Days) -> tuple[pl.DataFrame, list[Finding]]:
    """The pairs of some months, and what is found of them; an invoice is of one day, so they are counted in turns."""
    groups = lake.month_groups(SILVER_SALES, PART_ROWS, days)
    baskets = [product_baskets(lake.scan_months(SILVER_SALES, months)) for months in groups]
    frame = product_pairs((part.collect(engine="streaming") for part in baskets), days.end - ONE_DAY)
    commonest = commonest_pairs(frame)
    recounted = pl.col("stock_code").is_in([*commonest["stock_code"], *commonest["other_stock_code"]])
    again = [part.filter(recounted).collect(engine="streaming") for part in baskets]
    consistent = pairs_are_consistent(frame, pl.concat([BASKETS.to_frame(), *again]))
    return frame, [contract_holds(PRODUCT_PAIR, frame), keys_are_unique(PRODUCT_PAIR, frame), consistent]
