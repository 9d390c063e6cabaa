"""Gold: the star schema. Dimensions are rebuilt from month summaries; invoices, facts and quality day by day."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import narwhals as nw
import polars as pl

from retail_platform.contracts import (
    CUSTOMER_MONTHS,
    DAY_QUALITY,
    DIM_COUNTRY,
    DIM_CUSTOMER,
    DIM_DATE,
    DIM_INVOICE,
    DIM_PRODUCT,
    EXCHANGE_RATES,
    FACT_SALE,
    PRODUCT_CATEGORY,
    PRODUCT_MONTHS,
    SILVER_DAYS,
    SILVER_REJECTS,
    SILVER_SALES,
    Table,
)
from retail_platform.defs.closed import fingerprint, open_month, stands
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.partitions import days_of_run
from retail_platform.defs.provided import provider_client, told
from retail_platform.defs.reports import BLOCKING, Checks, DaysWritten, check_specs, require, result_of, written
from retail_platform.engines.base import Engine, Staged
from retail_platform.engines.choose import Choice, Engines, Footprint
from retail_platform.engines.windows import RowsByDay, Window, rows_by_day
from retail_platform.lakehouse.days import Days, days_in, next_month, stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.providers.countries import WORLD_BANK, country_facts
from retail_platform.reference import read_country_aliases
from retail_platform.settings import Settings
from retail_platform.transforms.calendar import date_dimension
from retail_platform.transforms.countries import alias_keys, country_dimension, country_keys, unmapped_spellings
from retail_platform.transforms.customers import customer_dimension, customer_versions
from retail_platform.transforms.day_quality import quality_of_days
from retail_platform.transforms.enrichment import amounts_follow_the_rates
from retail_platform.transforms.facts import fact_sales, invoices, rekeyed_months
from retail_platform.transforms.products import product_dimension, product_versions
from retail_platform.transforms.quality import (
    Finding,
    contract_holds,
    countries_are_known,
    counts_match_silver,
    intervals_are_sound,
    invoices_stay_on_one_day,
    keys_are_unique,
    no_orphan_keys,
    totals_match,
)

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]

MOVING = (DIM_PRODUCT, DIM_CUSTOMER, EXCHANGE_RATES)
"""What facts of days beside the run's follow: each write names the days it moved."""

VERSIONS = Footprint(working=2500, made=300)
INVOICES = Footprint(working=150, made=30)
COUNTING = Footprint(working=60, made=20)
KEYING = Footprint(working=1600, made=400)
"""Measured on 10 million generated lines: 1,700 bytes a customer month, and 36, 16 and 1,200 a delivered row."""


@dg.multi_asset(
    name="calendar_and_countries",
    specs=[table_spec(DIM_DATE, key_of(SILVER_SALES)), table_spec(DIM_COUNTRY)],
    check_specs=[*check_specs(key_of(DIM_DATE), *BLOCKING), *check_specs(key_of(DIM_COUNTRY), *BLOCKING)],
    pool=LAKE_POOL,
)
def calendar_and_countries(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> Results:
    """Write the two dimensions that come from reference data."""
    months = lake.months(SILVER_SALES)
    years = (months[0].year, months[-1].year) if months else (settings.first_day.year,) * 2
    with provider_client(settings) as client:
        url = settings.provider_urls.get("countries", WORLD_BANK)
        facts = country_facts(client, settings.country_facts_year, url)
    frames = {
        DIM_DATE: date_dimension(*years, settings.fiscal_year_start_month),
        DIM_COUNTRY: country_dimension(facts.frame),
    }
    sources = {DIM_COUNTRY: told(facts)}
    for table, frame in frames.items():
        yield from require(key_of(table), [contract_holds(table, frame), keys_are_unique(table, frame)])
        yield written(lake, table, frame, lake.replace(table, frame), **sources.get(table, {}))


def versioned_dimension(
    table: Table,
    sources: Sequence[Table],
    member: str,
    key: str,
    build: Callable[[Engine, Lake, date], nw.LazyFrame[Any]],
    newcomers: Callable[[Engine, Lake, date], pl.DataFrame | None] | None = None,
) -> dg.AssetsDefinition:
    """The asset of a dimension with versions.

    Args:
        table: the dimension.
        sources: the month summaries its versions are judged by, and what else it is made from.
        member: its natural key.
        key: its surrogate key.
        build: makes all versions from the sources and the first day of the open month, on an engine.
        newcomers: gives the versions that are to be added when no other can have changed; None when one can.
    """

    @dg.multi_asset(
        name=table.name,
        specs=[table_spec(table, *map(key_of, sources))],
        check_specs=check_specs(key_of(table), *BLOCKING, "intervals_are_sound"),
        pool=LAKE_POOL,
    )
    def dimension(lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engines]) -> Results:
        month, consumed, made_from = open_month(lake), lake.position(sources[0]), None
        choice = engine.choose(VERSIONS, {None: lake.row_count(sources[0])})
        with engine.open(choice) as opened:
            if newcomers is not None:
                made_from = fingerprint(month)
                is_standing = stands(lake, table, Days(date.min, month), made_from, sources[0])
                added = newcomers(opened, lake, month) if is_standing else None
                if added is not None:
                    yield from _added(lake, table, added, member, key, made_from, choice)
                    return
            made = build(opened, lake, month) if lake.months(SILVER_SALES) else opened.lazy(table.empty())
            frame = opened.collect(made, table.schema).sort(member, "version")
        yield from require(
            key_of(table),
            [
                contract_holds(table, frame),
                keys_are_unique(table, frame),
                intervals_are_sound(frame.drop_nulls(member), member),
            ],
        )
        changed = rekeyed_months(lake.scan(table).collect(), frame, member, key, lake.months(FACT_SALE))
        version = lake.replace(table, frame, changed, consumed if made_from else None, made_from)
        counts = {"current": int(frame["is_current"].sum()), "rekeyed_months": len(changed)}
        yield written(lake, table, frame, version, **counts, **choice.metadata)

    return dimension


def _added(
    lake: Lake, table: Table, frame: pl.DataFrame, member: str, key: str, made_from: str, choice: Choice
) -> Results:
    """Add versions of members that the dimension does not have."""
    alike = lake.scan(table).join(frame.lazy().select(key), on=key, how="semi").collect()
    unique = keys_are_unique(table, pl.concat([alike, frame]))
    yield from require(key_of(table), [contract_holds(table, frame), unique, intervals_are_sound(frame, member)])
    version = lake.version(table) if frame.is_empty() else lake.add(table, frame, note=made_from)
    assert version is not None
    yield written(lake, table, frame, version, rekeyed_months=0, **choice.metadata)


def _new_customers(engine: Engine, lake: Lake, month: date) -> pl.DataFrame | None:
    """The customers first seen in the open month that `dim_customer` lacks, while no closed month has changed.

    The open month makes no version of a known customer. None when one that was new in it is another now, or gone.
    """
    first = pl.col("version") == 1
    versions = lake.scan(DIM_CUSTOMER).drop_nulls("customer_id")
    known = versions.filter(first, pl.col("valid_from") < month).select("customer_id")
    arrived = lake.scan_months(CUSTOMER_MONTHS, [month]).join(known, on="customer_id", how="anti")
    judged = customer_versions(engine.lazy(arrived.collect(engine="streaming")), month)
    frame = engine.collect(customer_dimension(judged), DIM_CUSTOMER.schema).drop_nulls("customer_id")
    held = versions.filter(first, pl.col("valid_from") >= month).collect()
    if not held.join(frame, on=list(DIM_CUSTOMER.schema), how="anti", nulls_equal=True).is_empty():
        return None
    return frame.join(held, on="customer_id", how="anti")


def _products(engine: Engine, lake: Lake, open_month: date) -> nw.LazyFrame[Any]:
    months, categories = (engine.lazy(lake.scan(table).collect()) for table in (PRODUCT_MONTHS, PRODUCT_CATEGORY))
    return product_dimension(product_versions(months, open_month), months, categories)


def _customers(engine: Engine, lake: Lake, open_month: date) -> nw.LazyFrame[Any]:
    return customer_dimension(customer_versions(engine.scan(lake, CUSTOMER_MONTHS), open_month))


dim_product = versioned_dimension(
    DIM_PRODUCT, (PRODUCT_MONTHS, PRODUCT_CATEGORY), "stock_code", "product_key", _products
)

dim_customer = versioned_dimension(
    DIM_CUSTOMER, (CUSTOMER_MONTHS,), "customer_id", "customer_key", _customers, _new_customers
)


@dg.multi_asset(
    name="dim_invoice",
    specs=[table_spec(DIM_INVOICE, key_of(SILVER_SALES), daily=True)],
    check_specs=[
        *check_specs(key_of(DIM_INVOICE), *BLOCKING),
        *check_specs(key_of(DIM_INVOICE), "invoices_stay_on_one_day", blocking=False),
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LAKE_POOL,
)
def dim_invoice(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engines]
) -> Results:
    """Write the invoices of the run's days."""
    days, key = days_of_run(context), key_of(DIM_INVOICE)
    checks, rows = Checks(), DaysWritten(lake, DIM_INVOICE)
    choice = engine.choose(INVOICES, _delivered_rows(lake, [days]), [days])
    with engine.open(choice) as opened:
        for window in choice.windows:
            made = invoices(opened.scan(lake, SILVER_SALES, window.days)).sort("sale_date", "invoice_no")
            staged = opened.stage(made, lake, DIM_INVOICE, window.days)
            frames = map(staged.rows, window.parts)
            if not all([_take(checks, rows, DIM_INVOICE, frame) for frame in frames]):
                break
            version = staged.commit()
    yield from checks.results()
    around = lake.scan_months(DIM_INVOICE, days.months_around()).select("invoice_no", "sale_date").collect()
    yield result_of(invoices_stay_on_one_day(around), key, dg.AssetCheckSeverity.WARN)
    rows.report(context)
    yield rows.result(version, **choice.metadata)


def _take(checks: Checks, written_rows: DaysWritten, table: Table, frame: pl.DataFrame, *more: Finding) -> bool:
    """Look at rows that are about to be written, and count them; whether they may be."""
    written_rows.add(frame)
    return checks.hold(key_of(table), [contract_holds(table, frame), keys_are_unique(table, frame), *more])


def _delivered_rows(lake: Lake, ranges: Sequence[Days]) -> RowsByDay:
    """Rows delivered of each day, which are no fewer than its lines."""
    return rows_by_day(lake.scan(SILVER_DAYS, ranges).collect())


@dg.multi_asset(
    name="day_quality",
    specs=[table_spec(DAY_QUALITY, key_of(SILVER_SALES), key_of(SILVER_REJECTS), daily=True)],
    check_specs=check_specs(key_of(DAY_QUALITY), *BLOCKING, "counts_match_silver"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LAKE_POOL,
)
def day_quality(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engines]
) -> Results:
    """Count the delivered rows of the run's days; of every day in silver when the table is new to the lake."""
    days = days_of_run(context)
    months = [] if lake.version(DAY_QUALITY) is not None else [*lake.months(SILVER_SALES), *lake.months(SILVER_REJECTS)]
    ranges = stretches([*days.every(), *days_in([Days(month, next_month(month)) for month in months])])
    checks, rows = Checks(), DaysWritten(lake, DAY_QUALITY)
    choice = engine.choose(COUNTING, _delivered_rows(lake, ranges), ranges)
    with engine.open(choice) as opened:
        for window in choice.windows:
            lines, rejects = (opened.scan(lake, table, window.days) for table in (SILVER_SALES, SILVER_REJECTS))
            frame = opened.collect(quality_of_days(lines, rejects), DAY_QUALITY.schema).sort("sale_date")
            counted = opened.collect(lines.select("sale_date")), opened.collect(rejects.select("sale_date", "reason"))
            if not _take(checks, rows, DAY_QUALITY, frame, counts_match_silver(frame, *counted)):
                break
            version = lake.replace_days(DAY_QUALITY, frame, window.days)
    yield from checks.results()
    rows.report(context)
    yield rows.result(version, **choice.metadata)


@dg.multi_asset(
    name="fact_sale",
    specs=[
        table_spec(
            FACT_SALE,
            *(key_of(table) for table in (SILVER_SALES, DIM_DATE, DIM_COUNTRY, DIM_PRODUCT, DIM_CUSTOMER, DIM_INVOICE)),
            key_of(EXCHANGE_RATES),
            daily=True,
        )
    ],
    check_specs=[
        *check_specs(key_of(FACT_SALE), *BLOCKING, "no_orphan_keys", "totals_match", amounts_follow_the_rates),
        *check_specs(key_of(FACT_SALE), "countries_are_known", blocking=False),
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LAKE_POOL,
)
def fact_sale(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    engine: dg.ResourceParam[Engines],
) -> Results:
    """Key the lines of the run's days, and of every day whose keys or exchange rates have moved since the last time."""
    consumed = {name: version for table in MOVING for name, version in lake.position(table).items()}
    ranges = stretches([*days_of_run(context).every(), *_rekeyed_days(lake)])
    choice = engine.choose(KEYING, _delivered_rows(lake, ranges), ranges)
    with engine.open(choice) as opened:
        keying = _Keying(opened, lake, settings.shop_currency)
        for window in choice.windows:
            lines = opened.scan(lake, SILVER_SALES, window.days)
            staged = opened.stage(keying.facts(lines).sort("sale_date", "sale_id"), lake, FACT_SALE, window.days)
            if not keying.hold(lines, staged, window):
                break
            version = staged.commit(consumed if window.is_last else None)
    yield from keying.checks.results()
    keying.rows.report(context)
    days_written = sum(len(each.every()) for each in ranges)
    yield keying.rows.result(version, days_written=days_written, net_revenue=str(keying.net_revenue), **choice.metadata)


def _rekeyed_days(lake: Lake) -> set[date]:
    """The days whose keys or rates have moved since facts were last keyed; all days when that is not known."""
    months = lake.months(SILVER_SALES)
    held = days_in([Days(month, next_month(month)) for month in months])
    moved: set[date] = set()
    for table in MOVING:
        changed = lake.changed_days(table, lake.consumed(FACT_SALE, table))
        moved |= held if changed is None else held & changed
    return moved


class _Keying:
    """The facts of a run, window by window; what they are keyed to is read once."""

    def __init__(self, engine: Engine, lake: Lake, shop_currency: str) -> None:
        self.checks, self.rows, self.net_revenue = Checks(), DaysWritten(lake, FACT_SALE), Decimal(0)
        self._engine, self._lake, self._shop_currency = engine, lake, shop_currency
        self._spellings = engine.lazy(alias_keys(read_country_aliases()))
        products, customers = (lake.scan(table).collect() for table in (DIM_PRODUCT, DIM_CUSTOMER))
        self._rates = lake.scan(EXCHANGE_RATES).collect()
        self._products, self._customers, self._by_day = map(engine.lazy, (products, customers, self._rates))
        self._known = {
            "product_key": products["product_key"],
            "customer_key": customers["customer_key"],
            "country_key": lake.scan(DIM_COUNTRY).select("country_key").collect().to_series(),
            "date_key": lake.scan(DIM_DATE).select("date_key").collect().to_series(),
        }

    def facts(self, lines: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """Silver lines, keyed."""
        keys = country_keys(lines.select("country").unique(), self._spellings)
        return fact_sales(lines, self._products, self._customers, keys, self._by_day, self._shop_currency)

    def hold(self, lines: nw.LazyFrame[Any], staged: Staged, window: Window) -> bool:
        """Look at what was made of the lines of a window; whether it may be written."""
        silver = self._engine.collect(lines.select(nw.col("line_amount").sum())).item()
        parts = [self._look_at(staged.rows(part), part) for part in window.parts]
        totals = {"silver": Decimal(silver or 0), "facts": sum((total for total, _ in parts), Decimal(0))}
        self.net_revenue += totals["facts"]
        unmapped = self._engine.collect(unmapped_spellings(lines, self._spellings))
        self.checks.note(key_of(FACT_SALE), [countries_are_known(unmapped)])
        return all([self.checks.hold(key_of(FACT_SALE), [totals_match(totals)]), *(held for _, held in parts)])

    def _look_at(self, facts: pl.DataFrame, days: tuple[Days, ...]) -> tuple[Decimal, bool]:
        """The total of some facts, and whether they may be written."""
        invoice_keys = self._lake.scan(DIM_INVOICE, days).select("invoice_key").collect().to_series()
        findings = [
            no_orphan_keys(facts, self._known | {"invoice_key": invoice_keys}),
            amounts_follow_the_rates(facts, self._rates, self._shop_currency),
        ]
        return Decimal(facts["total_amount"].sum()), _take(self.checks, self.rows, FACT_SALE, facts, *findings)
