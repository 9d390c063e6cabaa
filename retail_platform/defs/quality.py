"""Quality in gold: outliers, scores, profiles and drift. A day whose score is too low is held back here.

Each table is a function of the days, whichever run made it: what depends on a changed day is made again, the rest is
kept. How rows are judged stays out (`silver.py`), and so does counting them (`gold.py`).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl

from retail_platform.contracts import (
    BRONZE_SALES,
    COLUMN_DRIFT,
    DAY_QUALITY,
    FACT_SALE,
    LINE_OUTLIERS,
    PRODUCT_BANDS,
    QUALITY_PROFILES,
    QUALITY_SCORES,
    ROW_DRIFT,
    SILVER_REJECTS,
    SILVER_SALES,
    Table,
)
from retail_platform.defs.closed import fingerprint, kept, open_month, standing, standing_plots, stands
from retail_platform.defs.layers import AFTER_MARTS, LAKE_POOL, key_of, table_spec
from retail_platform.defs.plots import drift_plot, flagged_lines_plot, quality_trend_plot
from retail_platform.defs.reports import BLOCKING, check_specs, require, result_of, written
from retail_platform.lakehouse.days import ONE_DAY, Days, days_in, next_month, stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.parts import PART_ROWS
from retail_platform.lakehouse.stage import delivered_rows
from retail_platform.reference import read_country_aliases
from retail_platform.settings import Settings
from retail_platform.transforms import drift as drifts
from retail_platform.transforms import outliers as far
from retail_platform.transforms import profiles, scores
from retail_platform.transforms import score_findings as findings
from retail_platform.transforms.corrections import read_corrections
from retail_platform.transforms.countries import alias_keys, unplaced_lines
from retail_platform.transforms.quality import Finding, contract_holds, keys_are_unique

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]
Changed = set[date] | None
"""Days, or None for all of them."""

COMPARED = ("quantity", "unit_price", "country", "line_type", "stock_code", "is_cancelled", "is_guest")
"""Columns whose drift is judged."""


@dg.multi_asset(
    name="outliers",
    specs=[
        table_spec(PRODUCT_BANDS, key_of(SILVER_SALES)),
        table_spec(LINE_OUTLIERS, key_of(SILVER_SALES), key_of(PRODUCT_BANDS)),
    ],
    check_specs=[
        *check_specs(key_of(PRODUCT_BANDS), *BLOCKING, far.bands_hold_what_is_expected),
        *check_specs(key_of(LINE_OUTLIERS), *BLOCKING, far.flags_are_outside_their_band),
    ],
    pool=LAKE_POOL,
)
def outliers(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Learn the bands when a month has closed or a closed day has changed, and judge the lines of changed days."""
    silver, closed = lake.position(SILVER_SALES), Days(date.min, open_month(lake))
    made_from = fingerprint(closed.end)
    made_again = not stands(lake, PRODUCT_BANDS, closed, made_from)
    if made_again:
        learnt = far.product_bands(_products(lake, [closed]))
        bands = learnt.with_columns(as_of_date=closed.end - ONE_DAY).select(list(PRODUCT_BANDS.schema))
        findings = _sound(PRODUCT_BANDS, bands, far.bands_hold_what_is_expected(bands))
    else:
        bands = lake.scan(PRODUCT_BANDS).collect()
        findings = standing(PRODUCT_BANDS, *BLOCKING, far.bands_hold_what_is_expected)
    yield from require(key_of(PRODUCT_BANDS), findings)
    yield kept(lake, PRODUCT_BANDS, bands, silver, {"made_again": made_again}, made_from)

    is_judged_by_them = lake.consumed(LINE_OUTLIERS, PRODUCT_BANDS) == lake.version(PRODUCT_BANDS)
    changed = _changed(lake, LINE_OUTLIERS, SILVER_SALES) if is_judged_by_them else None
    frame = _flagged(lake, changed, bands.drop("as_of_date"))
    found = far.flags_are_outside_their_band(frame, bands)
    yield from require(key_of(LINE_OUTLIERS), _sound(LINE_OUTLIERS, frame, found))
    version = _replace_outliers(lake, frame, changed, silver | lake.position(PRODUCT_BANDS))
    more: dict[str, Any] = {"days_judged": "all" if changed is None else len(changed)}
    plots = _flagged_plot(context, lake, changed)
    yield written(lake, LINE_OUTLIERS, frame, version, **more, **plots)


def _flagged(lake: Lake, changed: Changed, bands: pl.DataFrame) -> pl.DataFrame:
    """The flagged lines of the changed days (None: of all), judged so many months at a time as fit memory."""
    found = [pl.DataFrame(schema=LINE_OUTLIERS.schema)]
    for months in lake.month_groups(SILVER_SALES, PART_ROWS):
        days = days_in([Days(month, next_month(month)) for month in months])
        if ranges := stretches(days if changed is None else days & changed):
            flagged = far.flagged_lines(_products(lake, ranges), bands)
            found.append(flagged.select(list(LINE_OUTLIERS.schema)))
    return pl.concat(found).sort(LINE_OUTLIERS.key)


def _replace_outliers(lake: Lake, frame: pl.DataFrame, changed: Changed, consumed: dict[str, int]) -> int:
    """Write the flagged lines of the changed days in place of those that these days had; None: of all."""
    if changed is None:
        months = [Days(month, next_month(month)) for month in lake.months(SILVER_SALES)]
        return lake.replace(LINE_OUTLIERS, frame, months, consumed)
    ranges = stretches(changed)
    if _of_days(lake, LINE_OUTLIERS, changed).is_empty():
        return lake.add(LINE_OUTLIERS, frame, ranges, consumed)
    sql = " OR ".join(f"(sale_date >= '{start}' AND sale_date < '{end}')" for start, end in ranges)
    return lake.replace_where(LINE_OUTLIERS, frame, sql, ranges, consumed)


def _flagged_plot(context: dg.AssetExecutionContext, lake: Lake, changed: Changed) -> dict[str, Any]:
    """The flagged lines of all days as a picture; the last one when a single day was judged, which hardly moves it."""
    stands_still = changed is not None and len(changed) <= 1
    plots = standing_plots(context.instance, key_of(LINE_OUTLIERS)) if stands_still else {}
    if plots:
        return plots
    daily = far.flagged_by_day(lake.scan(LINE_OUTLIERS).select("sale_date", "measure").collect())
    title = "Lines per day outside the band of their product"
    return {} if daily.is_empty() else {"flagged": flagged_lines_plot(daily, title)}


def _products(lake: Lake, ranges: Sequence[Days] | None) -> pl.LazyFrame:
    """The product lines of some days, with what an outlier tells of its line."""
    columns = [name for name in LINE_OUTLIERS.schema if name in SILVER_SALES.schema]
    return lake.scan(SILVER_SALES, ranges).filter(pl.col("line_type") == "product").select(columns)


@dg.multi_asset(
    name="quality_scores",
    specs=[table_spec(QUALITY_SCORES, *map(key_of, (DAY_QUALITY, FACT_SALE, LINE_OUTLIERS, SILVER_REJECTS)))],
    check_specs=[
        *check_specs(
            key_of(QUALITY_SCORES), *BLOCKING, findings.every_day_is_scored, findings.totals_reach_their_threshold
        ),
        *check_specs(key_of(QUALITY_SCORES), findings.dimensions_reach_their_thresholds, blocking=False),
    ],
    pool=LAKE_POOL,
)
def quality_scores(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Results:
    """Score the days; while any day's total is below the threshold, whichever run brought it, nothing is published."""
    key, rule, sources = key_of(QUALITY_SCORES), score_rule(settings), (DAY_QUALITY, FACT_SALE, LINE_OUTLIERS)
    consumed = {name: version for source in sources for name, version in lake.position(source).items()}
    changed = _changed(lake, QUALITY_SCORES, *sources)
    frame = scores.scored(_counts(settings, lake, changed), rule)
    complete = findings.every_day_is_scored(frame, lake.scan(DAY_QUALITY).collect())
    yield from require(key, _sound(QUALITY_SCORES, frame, complete))
    now = frame if changed is None else frame.filter(pl.col("sale_date").is_in(list(changed)))
    held = findings.held_back(frame, settings.quality_minimum_rows, settings.quality_accepted_days, rule)
    low = findings.low_dimensions(now, settings.quality_minimum_rows, rule)
    faults = _faults(
        settings, lake, [*held["sale_date"].head(5), *low["sale_date"].unique(maintain_order=True).head(5)]
    )

    trend = _trend(context, lake, frame, rule, is_wanted=now.height > 1 or held.height > 0)
    version = lake.replace(QUALITY_SCORES, frame, consumed=consumed)
    yield written(lake, QUALITY_SCORES, frame, version, days_scored=now.height, days_held_back=held.height, **trend)
    warning = findings.dimensions_reach_their_thresholds(now, faults, settings.quality_minimum_rows, rule)
    yield result_of(warning, key, dg.AssetCheckSeverity.WARN)
    yield from require(key, [findings.totals_reach_their_threshold(held, faults, rule)])


def score_rule(settings: Settings) -> scores.ScoreRule:
    """The weights and thresholds of the settings over the defaults."""
    return scores.ScoreRule(
        weights=scores.WEIGHTS | settings.quality_weights,
        thresholds=scores.THRESHOLDS | settings.quality_thresholds,
        floors=scores.FLOORS | settings.quality_floors,
        on_time_hours=settings.quality_on_time_hours,
        late_hours=settings.quality_late_hours,
        history_hours=settings.quality_history_hours,
        period_days=settings.quality_period_days,
    )


def _counts(settings: Settings, lake: Lake, changed: Changed) -> pl.DataFrame:
    """What every day's scores are made from: counted for the changed days, kept for the others; hours of all."""
    ledger = Ledger(settings)
    parts = [stretches(changed or ())]
    if changed is None:  # whole months, so many at a time as fit memory
        months, count = lake.months(DAY_QUALITY), -(-lake.row_count(SILVER_SALES) // PART_ROWS) or 1
        parts = [[Days(month, next_month(month)) for month in months[first::count]] for first in range(count)]
    counted = pl.concat([scores.COUNTS.to_frame(), *(_counted(settings, lake, ledger, days) for days in parts)])
    every = _with_kept(lake, QUALITY_SCORES, counted, changed, list(scores.COUNTS))
    delivered = ledger.deliveries().select("delivery_id", "delivered_at")
    # Of all days: a late part of a batch moves the stamp of the whole delivery.
    hours = scores.delivery_hours(ledger.delivery_days(), delivered, settings.quality_period_days)
    return every.drop("delivery_hours").join(hours, on="sale_date", how="left").select(list(scores.COUNTS))


def _counted(settings: Settings, lake: Lake, ledger: Ledger, days: Sequence[Days]) -> pl.DataFrame:
    """What the scores of some days are made from, hours aside."""
    lines, rejects = (lake.scan(table, days) for table in (SILVER_SALES, SILVER_REJECTS))
    standing_rows = _standing(settings, ledger, lines, rejects)
    flagged = _of_days(lake, LINE_OUTLIERS, days_in(days))
    return scores.sales_counts(
        lake.scan(DAY_QUALITY, days).collect(),
        standing_rows,
        scores.missing_values(scores.delivered_values(lines, standing_rows.lazy()), scores.REQUIRED),
        scores.outlier_values(_products(lake, days), lake.scan(PRODUCT_BANDS).collect(), flagged),
        scores.unrelated_values(lake.scan(FACT_SALE, days), scores.FACT_KEYS, _unplaced(lines)),
    )


def _faults(settings: Settings, lake: Lake, days: Iterable[date]) -> pl.DataFrame:
    """What takes from the scores of some days: rules, rows and files."""
    ranges = stretches(days)
    lines, rejects = (lake.scan(table, ranges) for table in (SILVER_SALES, SILVER_REJECTS))
    standing, lines = _standing(settings, Ledger(settings), lines, rejects), lines.collect().lazy()
    unknown = _unplaced(lines.select("country").unique()).collect()["country"]
    flagged = _of_days(lake, LINE_OUTLIERS, {day for days in ranges for day in days.every()})
    return findings.summed_up(findings.faulty_rows(lines.collect(), standing, flagged, unknown.drop_nulls().to_list()))


def _standing(settings: Settings, ledger: Ledger, lines: pl.LazyFrame, rejects: pl.LazyFrame) -> pl.DataFrame:
    """The rejected rows that neither the retailer nor a correction has made good."""
    corrections = ledger.corrections()
    told = read_corrections(delivered_rows(settings, ledger, corrections).collect())
    named = told["reject_id"].drop_nulls().to_list()
    return scores.standing_rejects(lines, rejects, ledger.deliveries(), corrections["delivery_id"].to_list(), named)


def _unplaced(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The lines whose country nobody knows."""
    spellings = nw.from_native(alias_keys(read_country_aliases()).lazy())
    found: pl.LazyFrame = unplaced_lines(nw.from_native(lines), spellings).to_native()
    return found


def _trend(
    context: dg.AssetExecutionContext, lake: Lake, frame: pl.DataFrame, rule: scores.ScoreRule, is_wanted: bool
) -> dict[str, Any]:
    """The plot of the scores and the week it goes up to; drawn when it is wanted, or there is none of this week."""
    if frame.is_empty():
        return {}
    week = {"trend_to_week": str(frame["sale_date"].dt.truncate("1w").max())}
    version = lake.version(QUALITY_SCORES)
    plots = {} if is_wanted else standing_plots(context.instance, key_of(QUALITY_SCORES), delta_version=version, **week)
    title = "Quality of the sale lines, total score per day"
    return week | (plots or {"trend": quality_trend_plot(frame, rule.thresholds["total"], title)})


@dg.multi_asset(
    name="quality_profiles",
    specs=[table_spec(QUALITY_PROFILES, key_of(BRONZE_SALES), key_of(SILVER_SALES))],
    check_specs=check_specs(key_of(QUALITY_PROFILES), *BLOCKING, profiles.counts_add_up),
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def quality_profiles(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> Results:
    """Describe the deliveries that hold a changed day, or of which there is more, as delivered and as accepted."""
    key, position = key_of(QUALITY_PROFILES), lake.position(BRONZE_SALES) | lake.position(SILVER_SALES)
    before, changed = (
        lake.scan(QUALITY_PROFILES).collect(),
        _changed(lake, QUALITY_PROFILES, BRONZE_SALES, SILVER_SALES),
    )
    ledger = Ledger(settings)
    holding = ledger.delivery_days()
    deliveries = profiles.stale_deliveries(holding, ledger.deliveries(), before, changed)
    span = _span(holding.join(deliveries, on="delivery_id", how="semi")["sale_date"].drop_nulls())
    of_them = pl.col("delivery_id").is_in(deliveries["delivery_id"].to_list())
    bronze = pl.concat([lake.scan(BRONZE_SALES, span), lake.scan_undated(BRONZE_SALES)]).filter(of_them)
    silver = lake.scan(SILVER_SALES, span).filter(of_them)
    described = profiles.profiles_of_deliveries({BRONZE_SALES: bronze, SILVER_SALES: silver}, deliveries)

    days = {*deliveries["sale_date"], *before.filter(of_them)["sale_date"]}
    others = before.filter(pl.col("sale_date").is_in(list(days)), ~of_them)
    frame = pl.concat([others, described])
    yield from require(key, _sound(QUALITY_PROFILES, frame, profiles.counts_add_up(frame)))
    version = lake.replace_days(QUALITY_PROFILES, frame, stretches(days), position)
    yield written(lake, QUALITY_PROFILES, frame, version, deliveries_described=deliveries.height)


@dg.multi_asset(
    name="drift",
    specs=[table_spec(COLUMN_DRIFT, key_of(SILVER_SALES)), table_spec(ROW_DRIFT, key_of(DAY_QUALITY))],
    check_specs=[
        *check_specs(key_of(COLUMN_DRIFT), *BLOCKING, drifts.every_day_is_judged),
        *check_specs(key_of(COLUMN_DRIFT), drifts.days_look_like_those_before, blocking=False),
        *check_specs(key_of(ROW_DRIFT), *BLOCKING),
    ],
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def drift(lake: dg.ResourceParam[Lake]) -> Results:
    """Compare the changed days, and those that look back on them, with the days before."""
    key, rule = key_of(COLUMN_DRIFT), drifts.DriftRule()
    silver, counts = lake.position(SILVER_SALES), lake.position(DAY_QUALITY)
    changed, recounted = _changed(lake, COLUMN_DRIFT, SILVER_SALES), _changed(lake, ROW_DRIFT, DAY_QUALITY)
    daily = (
        lake.scan(DAY_QUALITY).select("sale_date", row_count="accepted_rows").filter(pl.col("row_count") > 0).collect()
    )
    judged = {day + timedelta(days=n) for day in _all_or(changed, daily) for n in range(rule.days + 1)}
    made = drifts.column_drift(_compared(lake, changed, rule.days), COMPARED, judged, rule)
    columns = _with_kept(lake, COLUMN_DRIFT, made, None if changed is None else judged)
    again = {day + timedelta(weeks=n) for day in _all_or(recounted, daily) for n in range(rule.weeks + 1)}
    rows = _with_kept(lake, ROW_DRIFT, drifts.row_drift(daily, again, rule), None if recounted is None else again)
    yield from require(key, _sound(COLUMN_DRIFT, columns, drifts.every_day_is_judged(columns, rows, daily)))
    yield from require(key_of(ROW_DRIFT), _sound(ROW_DRIFT, rows))
    new = [frame.filter(pl.col("sale_date").is_in(_all_or(changed, daily))) for frame in (columns, rows)]
    yield result_of(drifts.days_look_like_those_before(*new), key, dg.AssetCheckSeverity.WARN)
    version = lake.replace(COLUMN_DRIFT, columns, consumed=silver)
    yield written(lake, COLUMN_DRIFT, columns, version, days_judged=new[1].height, **_widest(lake, new[0], rule.days))
    yield written(lake, ROW_DRIFT, rows, lake.replace(ROW_DRIFT, rows, consumed=counts))


def _compared(lake: Lake, changed: Changed, days: int) -> pl.LazyFrame:
    """The lines of the changed days and of so many days around; None: of all."""
    around = None
    if changed is not None:
        around = stretches(day + timedelta(days=n) for day in changed for n in range(-days, days + 1))
    lines = lake.scan(SILVER_SALES, around).with_columns(is_guest=pl.col("customer_id").is_null())
    return lines.select("sale_date", *COMPARED)


def _widest(lake: Lake, columns: pl.DataFrame, days: int) -> dict[str, Any]:
    """A picture of the column that moved most on the newest day that one did; none of a single day like the others."""
    is_wanted = (pl.col("verdict") == "shifted") | (pl.col("sale_date").n_unique() > 1)
    moved = columns.filter(is_wanted).drop_nulls("psi").filter(pl.col("verdict") != "stable")
    if moved.is_empty():
        return {}
    day, name = moved.sort("sale_date", "psi", descending=True).select("sale_date", "column_name").row(0)
    shares = drifts.shares_of_bins(_compared(lake, {day}, days), name, day)
    return {"drift": drift_plot(shares, f"{name} of {day} and of the 30 days before")}


def _sound(table: Table, frame: pl.DataFrame, *more: Finding) -> list[Finding]:
    return [contract_holds(table, frame), keys_are_unique(table, frame), *more]


def _changed(lake: Lake, table: Table, *sources: Table) -> Changed:
    """The days for which rows of a source were replaced since the table was made from it; None when unknown: all."""
    found = [lake.changed_days(source, lake.consumed(table, source)) for source in sources]
    known = [days for days in found if days is not None]
    return set().union(*known) if len(known) == len(found) else None


def _span(days: pl.Series) -> list[Days]:
    """From the first to the last of some days: one condition instead of one for each stretch."""
    return [] if days.is_empty() else [Days(days.min(), days.max() + ONE_DAY)]  # type: ignore[arg-type, operator]


def _all_or(changed: Changed, frame: pl.DataFrame) -> set[date]:
    """The changed days; every day of the frame when they are unknown."""
    return set(frame["sale_date"].to_list()) if changed is None else changed


def _of_days(lake: Lake, table: Table, changed: Collection[date]) -> pl.DataFrame:
    """The rows of some days, of a table that is kept as one."""
    is_wanted = (pl.col("sale_date").is_between(*days, closed="left") for days in stretches(changed))
    return lake.scan(table).filter(pl.any_horizontal(pl.lit(False), *is_wanted)).collect()


def _with_kept(
    lake: Lake, table: Table, made: pl.DataFrame, changed: Changed, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """The rows that were made of changed days, and those that stand of the others, by the table's key."""
    names = list(columns or table.schema)
    others = lake.scan(table).select(names).filter(~pl.col("sale_date").is_in(list(changed or ()))).collect()
    return pl.concat([others.head(0) if changed is None else others, made.select(names)]).sort(table.key)
