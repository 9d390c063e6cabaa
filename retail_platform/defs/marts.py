"""Marts: dbt builds and tests them beside the published ones; when every test passed they are published."""

from collections.abc import Collection, Iterator
from concurrent.futures import Future
from datetime import date
from decimal import Decimal
from types import ModuleType
from typing import Any

import dagster as dg
import polars as pl
import psycopg

from retail_platform.contracts import DAY_QUALITY, FACT_SALE, SILVER_DAYS
from retail_platform.defs.cohorts import COHORTS, cohort_plots
from retail_platform.defs.layers import LAKE_POOL, OWNERS, TRANSIENT_FAULTS, asset_key
from retail_platform.defs.models import Json, asset_keys, build, data_test_specs, model_specs, read_manifest
from retail_platform.defs.reports import check_specs, require
from retail_platform.lakehouse.days import ONE_DAY, stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.transforms.quality import totals_match
from retail_platform.warehouse.cohorts import closed_cohorts
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.load import pending_days
from retail_platform.warehouse.publish import built_days, publish_marts, record_build
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import table_columns
from retail_platform.warehouse.totals import revenue_totals

PUBLICATION = asset_key("marts", "publication")

MANIFEST = read_manifest()


@dg.multi_asset(
    name="dbt_marts",
    specs=model_specs(MANIFEST),
    check_specs=data_test_specs(MANIFEST),
    retry_policy=TRANSIENT_FAULTS,
    pool=LAKE_POOL,
)
def dbt_marts(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    dbt: dg.ResourceParam[Future[ModuleType]],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Build and test the models; day-keyed ones for the days loaded since the last publication."""
    database = warehouse_database(settings)
    with database.connect() as connection:
        days = pending_days(connection)
        replaced = {} if lacks_columns(connection, MANIFEST) else days
    environment = database.environment() | _range_environment(replaced)
    runner = dbt.result().dbtRunner()
    for event in build(runner, asset_keys(MANIFEST), settings.home / "dbt", environment):
        yield _with_cohorts(context.instance, event, database, days) if event.asset_key == COHORTS else event
    with database.connect() as connection:
        record_build(connection, days)


def _with_cohorts(
    instance: dg.DagsterInstance,
    event: dg.AssetCheckResult | dg.MaterializeResult[Any],
    database: Database,
    days: Collection[date],
) -> dg.AssetCheckResult | dg.MaterializeResult[Any]:
    """The event with pictures of the cohorts, where it tells that they were built."""
    if isinstance(event, dg.AssetCheckResult):
        return event
    with database.connect() as connection:
        plots = cohort_plots(instance, closed_cohorts(connection), days)
    return event._replace(metadata={**(event.metadata or {}), **plots})


def lacks_columns(connection: psycopg.Connection, manifest: Json) -> bool:
    """Whether a table that is built by day range lacks a column of its model: dbt adds it, and only all days fill it.

    Args:
        connection: of the warehouse.
        manifest: as `read_manifest` gives it.
    """
    for node in manifest["nodes"].values():
        if node["config"].get("materialized") == "incremental":
            built = table_columns(connection, node["schema"], node["name"])
            if built and not node["columns"].keys() <= built.keys():
                return True
    return False


def _range_environment(days: Collection[date]) -> dict[str, str]:
    """The days that day-keyed models replace; without any, empty values ask for all."""
    first, end = (str(min(days)), str(max(days) + ONE_DAY)) if days else ("", "")
    return {"RETAIL_DBT_FROM_DATE": first, "RETAIL_DBT_TO_DATE": end}


@dg.multi_asset(
    name="publication",
    specs=[
        dg.AssetSpec(
            PUBLICATION,
            deps=[dbt_marts],
            group_name="marts",
            kinds={"postgres"},
            owners=OWNERS,
            description="The marts as readers see them, in schema `marts`: changed by difference in one transaction, "
            "after every test of the build has passed.\n\nGrain: one publication.  Source: schema marts_build.",
        )
    ],
    check_specs=check_specs(PUBLICATION, "totals_match"),
    retry_policy=TRANSIENT_FAULTS,
    pool=LAKE_POOL,
)
def publication(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Compare the totals of every layer with the build, then publish it."""
    with warehouse_database(settings).connect() as connection:
        days = built_days(connection)
        totals = {**_lake_totals(lake, days), **revenue_totals(connection)}
        yield from require(PUBLICATION, [totals_match(totals)])
        states = lake.scan(SILVER_DAYS).filter(pl.col("sale_date").is_null() | pl.col("sale_date").is_in(list(days)))
        fingerprints = dict(states.select("sale_date", "fingerprint").collect().iter_rows())
        result = publish_marts(connection, fingerprints=fingerprints, built=days, run_id=context.run.run_id)
    yield dg.MaterializeResult(
        asset_key=PUBLICATION,
        metadata={"publication": result.version, "net_revenue": str(totals["silver"]), "days_published": len(days)},
    )


def _lake_totals(lake: Lake, days: Collection[date]) -> dict[str, Decimal]:
    """The amount of all lines of silver, and of all facts: those of the days built now are summed, the rest as counted.

    A day that is not built now was summed when it was. `day_quality` has the sums of silver by day.
    """
    daily, is_built = lake.scan(DAY_QUALITY).collect(), pl.col("sale_date").is_in(list(days))
    facts = lake.scan(FACT_SALE, stretches(days)).select(pl.col("total_amount").sum()).collect(engine="streaming")
    others = daily.filter(~is_built)["accepted_amount"].sum()
    return {
        "silver": Decimal(daily["accepted_amount"].sum() or 0),
        "facts": Decimal(others or 0) + Decimal(facts.item() or 0),
    }
