"""Silver: typed lines, rejects with their reason, and the month summaries that dimensions are judged by."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import dagster as dg
import narwhals as nw
import polars as pl

from retail_platform.contracts import (
    BRONZE_DAYS,
    BRONZE_SALES,
    CUSTOMER_MONTHS,
    PRODUCT_MONTHS,
    SILVER_DAYS,
    SILVER_REJECTS,
    SILVER_SALES,
)
from retail_platform.contracts.rules import Rule, rules_that
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.partitions import days_of_run
from retail_platform.defs.plots import daily_revenue_plot
from retail_platform.defs.reports import (
    BLOCKING,
    check_specs,
    markdown_table,
    report_days,
    require,
    result_of,
    written,
)
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.mapping import load_mappings
from retail_platform.settings import Settings
from retail_platform.transforms.customers import customer_months
from retail_platform.transforms.products import product_months
from retail_platform.transforms.quality import (
    Finding,
    contract_holds,
    keys_are_unique,
    redeliveries_empty_no_invoice,
    rows_match_bronze,
)
from retail_platform.transforms.rules import rules_hold
from retail_platform.transforms.sales import judge_sales, silver_lines, silver_rejects

SALES, REJECTS = key_of(SILVER_SALES), key_of(SILVER_REJECTS)
FAILING, WARNING = rules_that("fail"), rules_that("warn")


class Judged(NamedTuple):
    """What the rules made of the rows of some days.

    Attributes:
        rows: the delivered rows (sale_date only).
        lines: the accepted lines.
        rejects: the rejected rows.
        failing: whether the rules hold that stop the run.
        warning: whether the rules hold that only warn.
    """

    rows: pl.DataFrame
    lines: pl.DataFrame
    rejects: pl.DataFrame
    failing: list[Finding]
    warning: list[Finding]


def rule_check(rule: Rule) -> dg.AssetCheckSpec:
    """The check of a rule that drops no row."""
    return dg.AssetCheckSpec(
        rule.name,
        asset=SALES,
        blocking=rule.severity == "fail",
        description=f"Broken when {rule.broken_when}. {rule.advice}",
        metadata={"severity": rule.severity, "columns": ", ".join(rule.columns), "dimension": rule.dimension or ""},
    )


@dg.multi_asset(
    name="silver",
    specs=[
        table_spec(SILVER_SALES, key_of(BRONZE_SALES), daily=True),
        table_spec(SILVER_REJECTS, key_of(BRONZE_SALES), daily=True),
        table_spec(SILVER_DAYS, key_of(BRONZE_DAYS), daily=True),
    ],
    check_specs=[
        *check_specs(SALES, *BLOCKING, "rows_match_bronze"),
        *check_specs(SALES, "redeliveries_empty_no_invoice", blocking=False),
        *check_specs(REJECTS, *BLOCKING),
        *map(rule_check, (*FAILING, *WARNING)),
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LAKE_POOL,
)
def silver(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Type and judge the rows of the run's days, and every row without a usable day."""
    days = days_of_run(context)
    states = pl.concat([lake.scan(BRONZE_DAYS, days), lake.scan_undated(BRONZE_DAYS)]).collect()
    rows, lines, rejects, failing, warning = _judged(settings, lake, days)
    yield from require(SALES, [contract_holds(SILVER_SALES, lines), keys_are_unique(SILVER_SALES, lines)])
    yield from require(REJECTS, [contract_holds(SILVER_REJECTS, rejects), keys_are_unique(SILVER_REJECTS, rejects)])
    yield from require(SALES, [rows_match_bronze(rows, lines, rejects), *failing])
    for finding in (redeliveries_empty_no_invoice(lines, rejects), *warning):
        yield result_of(finding, SALES, dg.AssetCheckSeverity.WARN)

    rejects_version = lake.replace_days_and_undated(SILVER_REJECTS, rejects, days)
    version = lake.replace_days(SILVER_SALES, lines, [days])
    states_version = lake.replace_days_and_undated(SILVER_DAYS, states, days)
    report_days(context, SILVER_SALES, lines)
    _plot_revenue(context, lines)
    yield written(lake, SILVER_SALES, lines, version, net_revenue=str(lines["line_amount"].sum()))
    yield written(lake, SILVER_REJECTS, rejects, rejects_version, by_reason=_by_reason(rejects))
    yield written(lake, SILVER_DAYS, states, states_version)


def _judged(settings: Settings, lake: Lake, days: Days) -> Judged:
    """The rows of the days and those without a day, judged."""
    rows = pl.concat([lake.scan(BRONZE_SALES, days), lake.scan_undated(BRONZE_SALES)]).collect()
    deliveries = Ledger(settings).deliveries()
    ranked = deliveries.select("delivery_id", "file_sha256", "delivery_rank", "mapping").unique()
    mappings = load_mappings(settings)
    used = {name: mappings[name] for name in (ranked["mapping"].unique().sort() if ranked.height else mappings)}
    judged = judge_sales(nw.from_native(rows.lazy()), nw.from_native(ranked.lazy()), used).to_native().collect()
    lines, rejects = (part(nw.from_native(judged.lazy())) for part in (silver_lines, silver_rejects))
    findings = rules_hold(judged, (*FAILING, *WARNING))
    return Judged(
        rows.select("sale_date"),
        lines.to_native().collect(),
        rejects.to_native().collect(),
        failing=findings[: len(FAILING)],
        warning=findings[len(FAILING) :],
    )


def _by_reason(rejects: pl.DataFrame) -> dg.MarkdownMetadataValue:
    advice = {rule.name: rule.advice for rule in rules_that("drop")}
    counted = rejects.group_by("reason").agg(rows=pl.len(), amount=pl.col("line_amount").sum()).sort("reason")
    counted = counted.with_columns(what_to_do=pl.col("reason").replace_strict(advice, return_dtype=pl.String))
    return dg.MetadataValue.md(markdown_table(counted))


def _plot_revenue(context: dg.AssetExecutionContext, lines: pl.DataFrame) -> None:
    """The run's days as a picture, on the last partition."""
    if lines["sale_date"].n_unique() < 2:
        return
    daily = lines.group_by("sale_date").agg(pl.col("line_amount").sum().cast(pl.Float64)).sort("sale_date")
    plot = daily_revenue_plot(daily["sale_date"].to_list(), daily["line_amount"].to_list(), "Net revenue per day")
    context.add_asset_metadata({"daily_revenue": plot}, asset_key=SALES, partition_key=context.partition_keys[-1])


@dg.multi_asset(
    name="month_summaries",
    specs=[table_spec(PRODUCT_MONTHS, SALES), table_spec(CUSTOMER_MONTHS, SALES)],
    check_specs=[*check_specs(key_of(PRODUCT_MONTHS), *BLOCKING), *check_specs(key_of(CUSTOMER_MONTHS), *BLOCKING)],
    pool=LAKE_POOL,
)
def month_summaries(
    lake: dg.ResourceParam[Lake],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Sum up the months in which silver changed since the last time, and only those."""
    for table, summary in ((PRODUCT_MONTHS, product_months), (CUSTOMER_MONTHS, customer_months)):
        position = lake.position(SILVER_SALES)
        months = lake.changed_months(SILVER_SALES, since=lake.consumed(table, SILVER_SALES))
        lines = nw.from_native(lake.scan_months(SILVER_SALES, months))
        frame = summary(lines).to_native().collect().select(list(table.schema))
        yield from require(key_of(table), [contract_holds(table, frame), keys_are_unique(table, frame)])
        version = lake.replace_months(table, frame, months, consumed=position)
        yield written(lake, table, frame, version, months=len(months))
