"""Products in gold as of the newest closed month: classes and returns, price elasticity, seasonality.

Made again when a month has closed or a closed day has changed, as the tables of `analytics.py`.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import (
    DIM_PRODUCT,
    PRICE_ELASTICITY,
    PRODUCT_DEMAND,
    PRODUCT_MONTHS,
    SEASONALITY_INDEX,
    SILVER_SALES,
)
from retail_platform.defs.closed import fingerprint, kept, open_month, standing, stands, with_plots
from retail_platform.defs.layers import AFTER_MARTS, LAKE_POOL, key_of, table_spec
from retail_platform.defs.plots import seasonality_plot
from retail_platform.defs.reports import BLOCKING, check_specs, require, result_of
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms.price_elasticity import (
    elasticities_are_plausible,
    price_elasticities,
    product_weeks,
)
from retail_platform.transforms.product_demand import (
    classes_cover_the_revenue,
    product_demand,
    returns_are_of_sales,
)
from retail_platform.transforms.quality import contract_holds, keys_are_unique
from retail_platform.transforms.seasonality import (
    indices_average_100,
    product_days,
    seasonality_indices,
    shop_has_all_revenue,
    years_of,
)

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]

IS_PRODUCT = pl.col("line_type") == "product"
ELASTICITY_YEARS = 2
"""Of closed months that prices are compared over."""
SEASON_YEARS = 5
"""The most that a season rests on."""


@dg.multi_asset(
    name="product_demand",
    specs=[table_spec(PRODUCT_DEMAND, key_of(SILVER_SALES), key_of(PRODUCT_MONTHS))],
    check_specs=[
        *check_specs(key_of(PRODUCT_DEMAND), *BLOCKING, classes_cover_the_revenue),
        *check_specs(key_of(PRODUCT_DEMAND), returns_are_of_sales, blocking=False),
    ],
    pool=LAKE_POOL,
)
def demand_of_products(lake: dg.ResourceParam[Lake]) -> Results:
    """Class the products of twelve months, when a month has closed or a closed day has changed."""
    key, month, position = key_of(PRODUCT_DEMAND), open_month(lake), lake.position(SILVER_SALES)
    year = Days(month.replace(year=month.year - 1), month)
    made_from = fingerprint(month)
    # A product's first month may be any closed one.
    made_again = not stands(lake, PRODUCT_DEMAND, Days(date.min, month), made_from)
    if made_again:
        lines = lake.scan(SILVER_SALES, year).filter(IS_PRODUCT)
        frame = product_demand(lines, _first_months(lake), month - ONE_DAY)
        covered = classes_cover_the_revenue(frame, _revenue(lake, year))
        findings = [contract_holds(PRODUCT_DEMAND, frame), keys_are_unique(PRODUCT_DEMAND, frame), covered]
    else:
        frame = lake.scan(PRODUCT_DEMAND).collect()
        findings = standing(PRODUCT_DEMAND, *BLOCKING, classes_cover_the_revenue)
    yield from require(key, findings)
    yield result_of(returns_are_of_sales(frame), key, dg.AssetCheckSeverity.WARN)
    yield kept(lake, PRODUCT_DEMAND, frame, position, {"made_again": made_again}, made_from)


@dg.multi_asset(
    name="price_elasticity",
    specs=[table_spec(PRICE_ELASTICITY, key_of(SILVER_SALES))],
    check_specs=[
        *check_specs(key_of(PRICE_ELASTICITY), *BLOCKING),
        *check_specs(key_of(PRICE_ELASTICITY), elasticities_are_plausible, blocking=False),
    ],
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def elasticity_of_prices(lake: dg.ResourceParam[Lake]) -> Results:
    """Estimate the elasticities over two years, when a month has closed or one of their days has changed."""
    key, month, position = key_of(PRICE_ELASTICITY), open_month(lake), lake.position(SILVER_SALES)
    days = Days(month.replace(year=month.year - ELASTICITY_YEARS), month)
    made_from = fingerprint(month)
    made_again = not stands(lake, PRICE_ELASTICITY, days, made_from)
    if made_again:
        frame = price_elasticities(product_weeks(lake.scan(SILVER_SALES, days), month - ONE_DAY), month - ONE_DAY)
        findings = [contract_holds(PRICE_ELASTICITY, frame), keys_are_unique(PRICE_ELASTICITY, frame)]
    else:
        frame, findings = lake.scan(PRICE_ELASTICITY).collect(), standing(PRICE_ELASTICITY, *BLOCKING)
    yield from require(key, findings)
    yield result_of(elasticities_are_plausible(frame), key, dg.AssetCheckSeverity.WARN)
    yield kept(lake, PRICE_ELASTICITY, frame, position, {"made_again": made_again}, made_from)


@dg.multi_asset(
    name="seasonality_index",
    specs=[table_spec(SEASONALITY_INDEX, key_of(SILVER_SALES), key_of(DIM_PRODUCT))],
    check_specs=check_specs(key_of(SEASONALITY_INDEX), *BLOCKING, indices_average_100, shop_has_all_revenue),
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def index_of_seasons(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Find the seasons, when a month has closed, a closed day has changed, or a product sold then is classed anew."""
    key, month, position = key_of(SEASONALITY_INDEX), open_month(lake), lake.position(SILVER_SALES)
    days = Days(month.replace(year=month.year - SEASON_YEARS), month)
    categories = _categories(lake, month)
    made_from = fingerprint(month, categories)
    more: dict[str, Any] = {"made_again": not stands(lake, SEASONALITY_INDEX, days, made_from)}
    if more["made_again"]:
        sold = product_days(lake.scan(SILVER_SALES, days)).collect(engine="streaming")
        frame = seasonality_indices(sold, categories, month)
        revenue = _revenue(lake, years_of(frame) or Days(month, month))
        findings = [contract_holds(SEASONALITY_INDEX, frame), keys_are_unique(SEASONALITY_INDEX, frame)]
        findings += [indices_average_100(frame), shop_has_all_revenue(frame, revenue)]
    else:
        frame = lake.scan(SEASONALITY_INDEX).collect()
        findings = standing(SEASONALITY_INDEX, *BLOCKING, indices_average_100, shop_has_all_revenue)
    more = with_plots(context, lake, SEASONALITY_INDEX, frame, more, _shop)
    yield from require(key, findings)
    yield kept(lake, SEASONALITY_INDEX, frame, position, more, made_from)


def _shop(frame: pl.DataFrame) -> dict[str, Any]:
    return {"shop": seasonality_plot(frame)}


def _first_months(lake: Lake) -> pl.DataFrame:
    """stock_code and first_month, the month of its first line."""
    return lake.scan(PRODUCT_MONTHS).group_by("stock_code").agg(first_month=pl.col("sale_month").min()).collect()


def _revenue(lake: Lake, days: Days) -> Decimal:
    """The amount of all product lines of some days."""
    amounts = lake.scan(SILVER_SALES, days).filter(IS_PRODUCT).select(pl.col("line_amount").sum())
    return Decimal(amounts.collect(engine="streaming").item() or 0)


def _categories(lake: Lake, month: date) -> pl.DataFrame:
    """stock_code and category of the products that were sold before a month, ordered."""
    versions = lake.scan(DIM_PRODUCT).drop_nulls("category").collect()
    old = versions.filter(pl.col("valid_from") < month).select("stock_code")
    current = versions.filter(pl.col("is_current")).join(old, on="stock_code", how="semi")
    return current.select("stock_code", "category").sort("stock_code")
