"""Marts: dbt builds and tests them beside the published ones; when every test passed they are published."""

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from retail_platform.contracts import FACT_SALE, SILVER_DAYS, SILVER_SALES
from retail_platform.defs.layers import LAKE_POOL, OWNERS, TRANSIENT_FAULTS, asset_key
from retail_platform.defs.reports import check_specs, require
from retail_platform.lakehouse.days import ONE_DAY
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import CHECKOUT, Settings
from retail_platform.transforms.quality import totals_match
from retail_platform.warehouse.load import pending_days
from retail_platform.warehouse.publish import built_days, publish_marts, record_build
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.totals import revenue_totals

PUBLICATION = asset_key("marts", "publication")

dbt_project = DbtProject(project_dir=CHECKOUT / "dbt_project")
dbt_project.prepare_if_dev()


class MartsTranslator(DagsterDbtTranslator):
    """dbt's models as assets: marts are built in `marts_build`, but are known by the schema they are read from."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """The schema and the name, as everywhere."""
        key = super().get_asset_key(dbt_resource_props)
        return dg.AssetKey(["marts" if part == "marts_build" else part for part in key.path])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """All of dbt's models are one group."""
        return "marts"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """As every asset of the platform."""
        return OWNERS


@dbt_assets(
    name="dbt_marts",
    manifest=dbt_project.manifest_path,
    project=dbt_project,
    dagster_dbt_translator=MartsTranslator(),
    retry_policy=TRANSIENT_FAULTS,
    pool=LAKE_POOL,
)
def dbt_marts(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, settings: dg.ResourceParam[Settings]
) -> Iterator[Any]:
    """Build and test the models; day-keyed ones for the days loaded since the last publication."""
    database = warehouse_database(settings)
    with database.connect() as connection:
        days = pending_days(connection)
    # dbt reads the address of the warehouse and the days from the environment: changed --vars would cost a full parse.
    os.environ.update(database.environment() | _range_environment(days))
    yield from dbt.cli(["build", "--exclude-resource-type", "unit_test"], context=context).stream()
    with database.connect() as connection:
        record_build(connection, days)


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
        totals = {
            "silver": lake.scan(SILVER_SALES).select(pl.col("line_amount").sum()).collect().item(),
            "facts": lake.scan(FACT_SALE).select(pl.col("total_amount").sum()).collect().item(),
            **revenue_totals(connection),
        }
        yield from require(PUBLICATION, [totals_match(totals)])
        days = built_days(connection)
        states = lake.scan(SILVER_DAYS).filter(pl.col("sale_date").is_null() | pl.col("sale_date").is_in(list(days)))
        fingerprints = dict(states.select("sale_date", "fingerprint").collect().iter_rows())
        result = publish_marts(connection, fingerprints=fingerprints, built=days, run_id=context.run_id)
    yield dg.MaterializeResult(
        asset_key=PUBLICATION,
        metadata={"publication": result.version, "net_revenue": str(totals["silver"]), "days_published": len(days)},
    )
