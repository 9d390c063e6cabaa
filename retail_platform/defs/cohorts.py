"""The pictures of the cohorts, on the asset of their mart. What a cohort is stays in dbt."""

from collections.abc import Collection
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.defs.closed import standing_plots
from retail_platform.defs.layers import asset_key
from retail_platform.defs.plots import heat_map_plot
from retail_platform.lakehouse.days import next_month

COHORTS = asset_key("marts", "cohort_retention")

PICTURES = {
    "retention": ("retention_pct", "Customers of a cohort who bought again, in percent"),
    "lifetime_value": ("avg_lifetime_value", "What a customer of a cohort has brought so far"),
}


def cohort_plots(instance: dg.DagsterInstance, cohorts: pl.DataFrame, days: Collection[date]) -> dict[str, Any]:
    """Heat maps of the cohorts and the newest month they show; those that stand when only the open month was built.

    Args:
        instance: Dagster's, which knows the maps of the last build.
        cohorts: their closed months, as `closed_cohorts` gives them.
        days: the days of the build; none for all.
    """
    if cohorts.is_empty():
        return {}
    newest = cohorts["sale_month"].sort().item(-1)
    shown = {"newest_closed_month": str(newest)}
    if days and min(days) >= next_month(newest):
        return shown | (standing_plots(instance, COHORTS, **shown) or _drawn(cohorts))
    return shown | _drawn(cohorts)


def _drawn(cohorts: pl.DataFrame) -> dict[str, dg.MarkdownMetadataValue]:
    darkest = cohorts.filter(pl.col("month_number") > 0).select(pl.col(pl.Float64).quantile(0.95)).row(0, named=True)
    return {
        name: heat_map_plot(cohort_matrix(cohorts, column), title, "first order", "months since", darkest[column])
        for name, (column, title) in PICTURES.items()
    }


def cohort_matrix(cohorts: pl.DataFrame, column: str) -> pl.DataFrame:
    """A row per cohort (yyyy-mm) and a column per month since; null where that is to come."""
    named = cohorts.with_columns(pl.col("cohort_month").dt.strftime("%Y-%m"))
    return named.pivot("month_number", index="cohort_month", values=column)
