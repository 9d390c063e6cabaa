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
    SILVER_REJECTS,
    SILVER_SALES,
    Table,
)
from retail_platform.defs.closed import fingerprint, open_month, stands
from retail_platform.defs.layers import LAKE_POOL, key_of, table_spec
from retail_platform.defs.partitions import days_of_run
from retail_platform.defs.provided import provider_client, told
from retail_platform.defs.reports import BLOCKING, check_specs, report_days, require, result_of, written
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
    build: Callable[[Lake, date], pl.DataFrame],
    newcomers: Callable[[Lake, date], pl.DataFrame | None] | None = None,
) -> dg.AssetsDefinition:
    """The asset of a dimension with versions.

    Args:
        table: the dimension.
        sources: the month summaries its versions are judged by, and what else it is made from.
        member: its natural key.
        key: its surrogate key.
        build: makes all versions from the sources and the first day of the open month.
        newcomers: gives the versions that are to be added when no other can have changed; None when one can.
    """

    @dg.multi_asset(
        name=table.name,
        specs=[table_spec(table, *map(key_of, sources))],
        check_specs=check_specs(key_of(table), *BLOCKING, "intervals_are_sound"),
        pool=LAKE_POOL,
    )
    def dimension(lake: dg.ResourceParam[Lake]) -> Results:
        month, consumed, made_from = open_month(lake), lake.position(sources[0]), None
        if newcomers is not None:
            made_from = fingerprint(month)
            added = (
                newcomers(lake, month) if stands(lake, table, Days(date.min, month), made_from, sources[0]) else None
            )
            if added is not None:
                yield from _added(lake, table, added, member, key, made_from)
                return
        frame = build(lake, month) if lake.months(SILVER_SALES) else table.empty()
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
        yield written(lake, table, frame, version, current=int(frame["is_current"].sum()), rekeyed_months=len(changed))

    return dimension


def _added(lake: Lake, table: Table, frame: pl.DataFrame, member: str, key: str, made_from: str) -> Results:
    """Add versions of members that the dimension does not have."""
    alike = lake.scan(table).join(frame.lazy().select(key), on=key, how="semi").collect()
    unique = keys_are_unique(table, pl.concat([alike, frame]))
    yield from require(key_of(table), [contract_holds(table, frame), unique, intervals_are_sound(frame, member)])
    version = lake.version(table) if frame.is_empty() else lake.add(table, frame, note=made_from)
    assert version is not None
    yield written(lake, table, frame, version, rekeyed_months=0)


def _new_customers(lake: Lake, month: date) -> pl.DataFrame | None:
    """The customers first seen in the open month that `dim_customer` lacks, while no closed month has changed.

    The open month makes no version of a known customer. None when one that was new in it is another now, or gone.
    """
    first = pl.col("version") == 1
    versions = lake.scan(DIM_CUSTOMER).drop_nulls("customer_id")
    known = versions.filter(first, pl.col("valid_from") < month).select("customer_id")
    arrived = lake.scan_months(CUSTOMER_MONTHS, [month]).join(known, on="customer_id", how="anti")
    judged = customer_versions(nw.from_native(arrived.collect(engine="streaming").lazy()), month).to_native().collect()
    frame = customer_dimension(judged).drop_nulls("customer_id")
    held = versions.filter(first, pl.col("valid_from") >= month).collect()
    columns = list(DIM_CUSTOMER.schema)
    if not held.join(frame, on=columns, how="anti", nulls_equal=True).is_empty():
        return None
    return frame.join(held, on="customer_id", how="anti")


def _products(lake: Lake, open_month: date) -> pl.DataFrame:
    months, categories = (lake.scan(table).collect() for table in (PRODUCT_MONTHS, PRODUCT_CATEGORY))
    versions = product_versions(nw.from_native(months.lazy()), open_month).to_native().collect()
    return product_dimension(versions, months, categories)


def _customers(lake: Lake, open_month: date) -> pl.DataFrame:
    versions = customer_versions(nw.from_native(lake.scan(CUSTOMER_MONTHS)), open_month)
    return customer_dimension(versions.to_native().collect())


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
def dim_invoice(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Write the invoices of the run's days."""
    days, key = days_of_run(context), key_of(DIM_INVOICE)
    frame = invoices(lake.scan(SILVER_SALES, days).collect())
    yield from require(key, [contract_holds(DIM_INVOICE, frame), keys_are_unique(DIM_INVOICE, frame)])
    version = lake.replace_days(DIM_INVOICE, frame, [days])
    around = lake.scan_months(DIM_INVOICE, days.months_around()).select("invoice_no", "sale_date").collect()
    yield result_of(invoices_stay_on_one_day(around), key, dg.AssetCheckSeverity.WARN)
    report_days(context, DIM_INVOICE, frame)
    yield written(lake, DIM_INVOICE, frame, version)


@dg.multi_asset(
    name="day_quality",
    specs=[table_spec(DAY_QUALITY, key_of(SILVER_SALES), key_of(SILVER_REJECTS), daily=True)],
    check_specs=check_specs(key_of(DAY_QUALITY), *BLOCKING, "counts_match_silver"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=LAKE_POOL,
)
def day_quality(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Results:
    """Count the delivered rows of the run's days; of every day in silver when the table is new to the lake."""
    days, key = days_of_run(context), key_of(DAY_QUALITY)
    months = [] if lake.version(DAY_QUALITY) is not None else [*lake.months(SILVER_SALES), *lake.months(SILVER_REJECTS)]
    ranges = stretches([*days.every(), *days_in([Days(month, next_month(month)) for month in months])])
    lines, rejects = (
        lake.scan(table, ranges).select("sale_month", "sale_date", "line_amount", *more).collect()
        for table, more in ((SILVER_SALES, ()), (SILVER_REJECTS, ("reason",)))
    )
    counted = quality_of_days(nw.from_native(lines.lazy()), nw.from_native(rejects.lazy()))
    frame = counted.to_native().collect().sort("sale_date")
    checks = [contract_holds(DAY_QUALITY, frame), keys_are_unique(DAY_QUALITY, frame)]
    yield from require(key, [*checks, counts_match_silver(frame, lines, rejects)])
    version = lake.replace_days(DAY_QUALITY, frame, ranges)
    report_days(context, DAY_QUALITY, frame)
    yield written(lake, DAY_QUALITY, frame, version)


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
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Results:
    """Key the lines of the run's days, and of every day whose keys or exchange rates have moved since the last time."""
    key = key_of(FACT_SALE)
    consumed = {name: version for table in MOVING for name, version in lake.position(table).items()}
    ranges = stretches([*days_of_run(context).every(), *_rekeyed_days(lake)])
    lines = lake.scan(SILVER_SALES, ranges).collect()
    spellings = nw.from_native(alias_keys(read_country_aliases()).lazy())
    rates = lake.scan(EXCHANGE_RATES).collect()
    facts = _keyed(lake, lines, spellings, rates, settings.shop_currency)
    yield from require(
        key, [*_findings(lake, lines, facts), amounts_follow_the_rates(facts, rates, settings.shop_currency)]
    )
    unmapped = unmapped_spellings(nw.from_native(lines.lazy()), spellings).to_native().collect()
    yield result_of(countries_are_known(unmapped), key, dg.AssetCheckSeverity.WARN)

    version = lake.replace_days(FACT_SALE, facts, ranges, consumed)
    report_days(context, FACT_SALE, facts)
    total = str(facts["total_amount"].sum())
    yield written(lake, FACT_SALE, facts, version, days_written=sum(len(r.every()) for r in ranges), net_revenue=total)


def _rekeyed_days(lake: Lake) -> set[date]:
    """The days whose keys or rates have moved since facts were last keyed; all days when that is not known."""
    months = lake.months(SILVER_SALES)
    held = days_in([Days(month, next_month(month)) for month in months])
    moved: set[date] = set()
    for table in MOVING:
        changed = lake.changed_days(table, lake.consumed(FACT_SALE, table))
        moved |= held if changed is None else held & changed
    return moved


def _keyed(
    lake: Lake, lines: pl.DataFrame, spellings: nw.LazyFrame[Any], rates: pl.DataFrame, shop_currency: str
) -> pl.DataFrame:
    products, customers = (lake.scan(table).collect() for table in (DIM_PRODUCT, DIM_CUSTOMER))
    countries = nw.from_native(lines.lazy().select("country").unique())
    keys = country_keys(countries, spellings).to_native().collect()
    return fact_sales(lines, products, customers, keys, rates, shop_currency)


def _findings(lake: Lake, lines: pl.DataFrame, facts: pl.DataFrame) -> list[Finding]:
    """What must hold of facts before they are written."""
    months = facts["sale_month"].unique().sort().to_list()
    sources = {
        "product_key": lake.scan(DIM_PRODUCT),
        "customer_key": lake.scan(DIM_CUSTOMER),
        "country_key": lake.scan(DIM_COUNTRY),
        "date_key": lake.scan(DIM_DATE),
        "invoice_key": lake.scan_months(DIM_INVOICE, months),
    }
    keys = {column: source.select(column).collect().to_series() for column, source in sources.items()}
    totals = {"silver": Decimal(lines["line_amount"].sum()), "facts": Decimal(facts["total_amount"].sum())}
    return [
        contract_holds(FACT_SALE, facts),
        keys_are_unique(FACT_SALE, facts),
        no_orphan_keys(facts, keys),
        totals_match(totals),
    ]
