"""Silver: typed lines, rejects with their reason, and the month summaries that dimensions are judged by."""

from collections.abc import Iterator, Sequence
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
from retail_platform.defs.reports import BLOCKING, Checks, DaysWritten, check_specs, markdown_table, written
from retail_platform.engines.base import Engine, Staged
from retail_platform.engines.choose import Engines, Footprint
from retail_platform.engines.windows import Window, rows_by_day
from retail_platform.lakehouse.days import Days, next_month
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.mapping import Mapping, load_mappings
from retail_platform.settings import Settings
from retail_platform.transforms.customers import customer_months
from retail_platform.transforms.products import product_months
from retail_platform.transforms.quality import (
    contract_holds,
    keys_are_unique,
    redeliveries_empty_no_invoice,
    rows_match_bronze,
)
from retail_platform.transforms.rules import rules_hold
from retail_platform.transforms.sales import judge_sales, silver_lines, silver_rejects

SALES, REJECTS = key_of(SILVER_SALES), key_of(SILVER_REJECTS)
FAILING, WARNING = rules_that("fail"), rules_that("warn")
JUDGING = Footprint(working=2600, made=1000)
"""Measured on 10 million generated lines: 1,400 bytes a delivered row in windows of a million rows, 3,200 in those of a
fifth of it; made are the judged rows and both tables."""
SUMMING = Footprint(working=150, made=20)
"""Measured as JUDGING: 50 bytes a line."""


class Judged(NamedTuple):
    """What the rules made of the rows of a window.

    Attributes:
        delivered: the rows as they were delivered.
        judged: every one of them, judged.
        lines: the accepted lines.
        rejects: the rejected rows.
    """

    delivered: nw.LazyFrame[Any]
    judged: nw.LazyFrame[Any]
    lines: Staged
    rejects: Staged


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
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    engine: dg.ResourceParam[Engines],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Type and judge the rows of the run's days, and every row without a usable day."""
    days, looked_at = days_of_run(context), _LookedAt(lake)
    states = pl.concat([lake.scan(BRONZE_DAYS, days), lake.scan_undated(BRONZE_DAYS)]).collect()
    choice = engine.choose(JUDGING, rows_by_day(states), [days])
    with engine.open(choice) as opened:
        deliveries, mappings = _deliveries(settings)
        for window in choice.windows:
            judged = _judged(opened, lake, window, opened.lazy(deliveries), mappings)
            if not all([looked_at.hold(opened, judged, window, part) for part in window.parts]):
                break
            held = states.filter(window.holds(pl.col("sale_date")))
            rejects_version, version = judged.rejects.commit(), judged.lines.commit()
            states_version = lake.replace_days(SILVER_DAYS, held, window.days, undated=window.is_last)
    yield from looked_at.checks.results()
    looked_at.lines.report(context)
    revenue = pl.concat(looked_at.revenue)
    _plot_revenue(context, revenue)
    yield looked_at.lines.result(version, net_revenue=str(revenue["line_amount"].sum()), **choice.metadata)
    yield looked_at.rejects.result(rejects_version, by_reason=_by_reason(looked_at.reasons))
    yield written(lake, SILVER_DAYS, states, states_version)


def _deliveries(settings: Settings) -> tuple[pl.DataFrame, dict[str, Mapping]]:
    """What `judge_sales` has to know of the deliveries, and the mappings that they use."""
    deliveries, mappings = Ledger(settings).deliveries(), load_mappings(settings)
    ranked = deliveries.select("delivery_id", "file_sha256", "delivery_rank", "mapping").unique()
    return ranked, {name: mappings[name] for name in (ranked["mapping"].unique().sort() if ranked.height else mappings)}


def _judged(
    engine: Engine, lake: Lake, window: Window, deliveries: nw.LazyFrame[Any], mappings: dict[str, Mapping]
) -> Judged:
    """The rows of a window, judged and not yet to be seen."""
    delivered = engine.scan(lake, BRONZE_SALES, window.days, undated=window.is_last)
    judged = engine.persist(judge_sales(delivered, deliveries, mappings))
    lines = engine.stage(silver_lines(judged), lake, SILVER_SALES, window.days)
    rejects = engine.stage(silver_rejects(judged), lake, SILVER_REJECTS, window.days, undated=window.is_last)
    return Judged(delivered, judged, lines, rejects)


class _LookedAt:
    """What was found of a run's windows, and what there is to tell of them."""

    def __init__(self, lake: Lake) -> None:
        self.checks = Checks()
        self.lines, self.rejects = DaysWritten(lake, SILVER_SALES), DaysWritten(lake, SILVER_REJECTS)
        self.revenue, self.reasons = list[pl.DataFrame](), list[pl.DataFrame]()

    def hold(self, engine: Engine, made: Judged, window: Window, part: tuple[Days, ...]) -> bool:
        """Look at a part of a window; whether it may be written."""
        with_undated = window.is_last and part is window.parts[-1]
        lines, rejects = made.lines.rows(part), made.rejects.rows(part, undated=with_undated)
        delivered, judged = made.delivered.select("sale_date"), made.judged
        if len(window.parts) > 1:
            delivered, judged = (frame.filter(_is_in(part, with_undated)) for frame in (delivered, judged))
        findings = rules_hold(engine.collect(judged), (*FAILING, *WARNING))
        matching = rows_match_bronze(engine.collect(delivered), lines, rejects)
        held = [
            self.checks.hold(SALES, [contract_holds(SILVER_SALES, lines), keys_are_unique(SILVER_SALES, lines)]),
            self.checks.hold(
                REJECTS, [contract_holds(SILVER_REJECTS, rejects), keys_are_unique(SILVER_REJECTS, rejects)]
            ),
            self.checks.hold(SALES, [matching, *findings[: len(FAILING)]]),
        ]
        self.checks.note(SALES, [redeliveries_empty_no_invoice(lines, rejects), *findings[len(FAILING) :]])
        self._tell(lines, rejects)
        return all(held)

    def _tell(self, lines: pl.DataFrame, rejects: pl.DataFrame) -> None:
        self.lines.add(lines)
        self.rejects.add(rejects)
        self.revenue.append(lines.group_by("sale_date").agg(pl.col("line_amount").sum()))
        self.reasons.append(rejects.group_by("reason").agg(rows=pl.len(), amount=pl.col("line_amount").sum()))


def _is_in(part: tuple[Days, ...], undated: bool) -> nw.Expr:
    """Whether a row belongs to a part of a window."""
    day = nw.col("sale_date")
    within = (day.is_between(each.start, each.end, closed="left") for each in part)
    return nw.any_horizontal(day.is_null() & nw.lit(undated), *within, ignore_nulls=True)


def _by_reason(counts: Sequence[pl.DataFrame]) -> dg.MarkdownMetadataValue:
    """The rejected rows by reason, from the counts of the windows."""
    advice = {rule.name: rule.advice for rule in rules_that("drop")}
    counted = pl.concat(counts).group_by("reason").agg(pl.col("rows", "amount").sum()).sort("reason")
    counted = counted.with_columns(what_to_do=pl.col("reason").replace_strict(advice, return_dtype=pl.String))
    return dg.MetadataValue.md(markdown_table(counted))


def _plot_revenue(context: dg.AssetExecutionContext, revenue: pl.DataFrame) -> None:
    """The revenue of the run's days as a picture, on the last partition."""
    if revenue.height < 2:
        return
    daily = revenue.select("sale_date", pl.col("line_amount").cast(pl.Float64)).sort("sale_date")
    plot = daily_revenue_plot(daily["sale_date"].to_list(), daily["line_amount"].to_list(), "Net revenue per day")
    context.add_asset_metadata({"daily_revenue": plot}, asset_key=SALES, partition_key=context.partition_keys[-1])


@dg.multi_asset(
    name="month_summaries",
    specs=[table_spec(PRODUCT_MONTHS, SALES), table_spec(CUSTOMER_MONTHS, SALES)],
    check_specs=[*check_specs(key_of(PRODUCT_MONTHS), *BLOCKING), *check_specs(key_of(CUSTOMER_MONTHS), *BLOCKING)],
    pool=LAKE_POOL,
)
def month_summaries(
    lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engines]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Sum up the months in which silver changed since the last time, and only those."""
    for table, summary in ((PRODUCT_MONTHS, product_months), (CUSTOMER_MONTHS, customer_months)):
        key, checks, rows = key_of(table), Checks(), 0
        position = lake.position(SILVER_SALES)
        months = lake.changed_months(SILVER_SALES, since=lake.consumed(table, SILVER_SALES))
        ranges = [Days(month, next_month(month)) for month in months]
        held = rows_by_day(lake.scan(SILVER_DAYS, ranges).collect())
        choice = engine.choose(SUMMING, held, ranges, by="month")
        with engine.open(choice) as opened:
            for window in choice.windows:
                frame = opened.collect(summary(opened.scan(lake, SILVER_SALES, window.days)), table.schema)
                if not checks.hold(key, [contract_holds(table, frame), keys_are_unique(table, frame)]):
                    break
                summed = [month for days in window.days for month in days.months()]
                version = lake.replace_months(table, frame, summed, position if window.is_last else None)
                rows += frame.height
        yield from checks.results()
        yield written(lake, table, frame, version, rows_written=rows, months=len(months), **choice.metadata)
