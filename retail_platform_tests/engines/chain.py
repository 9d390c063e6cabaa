"""Delivered files to facts on one engine, step by step as the assets do it; in a process of its own where that helps.

`python -m retail_platform_tests.engines.chain HOME LAKE MASTER` runs it on Spark.
"""

import sys
from pathlib import Path

import narwhals as nw
import polars as pl

from retail_platform.contracts import (
    BRONZE_SALES,
    CUSTOMER_MONTHS,
    DIM_CUSTOMER,
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
from retail_platform.engines.base import Engine
from retail_platform.lakehouse.days import Days, stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.mapping import load_mappings
from retail_platform.lakehouse.stage import bronze_rows, undated_rows
from retail_platform.reference import read_country_aliases
from retail_platform.settings import Settings
from retail_platform.sources.sample import write_sample
from retail_platform.transforms.countries import alias_keys, country_keys
from retail_platform.transforms.customers import customer_dimension, customer_months, customer_versions
from retail_platform.transforms.facts import fact_sales, invoices
from retail_platform.transforms.products import product_dimension, product_months, product_versions
from retail_platform.transforms.sales import judge_sales, silver_lines, silver_rejects

MADE = (
    SILVER_SALES,
    SILVER_REJECTS,
    PRODUCT_MONTHS,
    CUSTOMER_MONTHS,
    DIM_PRODUCT,
    DIM_CUSTOMER,
    DIM_INVOICE,
    FACT_SALE,
)
"""What `run_chain` writes besides bronze."""


def land_sample(settings: Settings, lines: int, days: int) -> None:
    """Put a sample into landing and register it."""
    write_sample(settings.landing, lines, days=days)
    register_arrivals(settings)


def run_chain(settings: Settings, lake: Lake, engine: Engine) -> None:
    """Make every table from bronze to the facts of what is registered."""
    days = write_bronze(settings, lake)
    make_silver(settings, lake, engine, days)
    months = lake.months(SILVER_SALES)
    for table, summary in ((PRODUCT_MONTHS, product_months), (CUSTOMER_MONTHS, customer_months)):
        frame = engine.collect(summary(engine.scan(lake, SILVER_SALES)), table.schema)
        lake.replace_months(table, frame, months)
    products = engine.scan(lake, PRODUCT_MONTHS)
    versions = product_versions(products, months[-1])
    dimension = product_dimension(versions, products, engine.scan(lake, PRODUCT_CATEGORY))
    lake.replace(DIM_PRODUCT, engine.collect(dimension, DIM_PRODUCT.schema))
    customers = customer_dimension(customer_versions(engine.scan(lake, CUSTOMER_MONTHS), months[-1]))
    lake.replace(DIM_CUSTOMER, engine.collect(customers, DIM_CUSTOMER.schema))
    of_days = invoices(engine.scan(lake, SILVER_SALES, [days]))
    engine.stage(of_days, lake, DIM_INVOICE, [days]).commit()
    engine.stage(facts_of(lake, engine, days), lake, FACT_SALE, [days]).commit({"dimensions": 1})


def write_bronze(settings: Settings, lake: Lake) -> Days:
    """Bronze of every registered day; the days."""
    ledger = Ledger(settings)
    held = [day for day in ledger.day_states()["sale_date"].to_list() if day is not None]
    days = Days(min(held), stretches([max(held)])[0].end)
    rows = pl.concat([bronze_rows(settings, ledger, *days), undated_rows(settings, ledger)]).collect()
    lake.replace_days(BRONZE_SALES, rows, [days], undated=True)
    return days


def make_silver(settings: Settings, lake: Lake, engine: Engine, days: Days) -> None:
    """Judge the rows of some days and those without one."""
    rows = engine.scan(lake, BRONZE_SALES, [days], undated=True)
    ranked = Ledger(settings).deliveries().select("delivery_id", "file_sha256", "delivery_rank", "mapping").unique()
    mappings = {name: mapping for name, mapping in load_mappings(settings).items() if name in ranked["mapping"]}
    judged = engine.persist(judge_sales(rows, engine.lazy(ranked), mappings))
    rejects = engine.stage(silver_rejects(judged), lake, SILVER_REJECTS, [days], undated=True)
    lines = engine.stage(silver_lines(judged), lake, SILVER_SALES, [days])
    assert lines.rows().height + rejects.rows().height == lake.scan(BRONZE_SALES).collect().height
    rejects.commit()
    lines.commit()


def facts_of(lake: Lake, engine: Engine, days: Days) -> nw.LazyFrame:
    """The facts of some days, not computed yet."""
    lines = engine.scan(lake, SILVER_SALES, [days])
    products, customers = (engine.lazy(lake.scan(table).collect()) for table in (DIM_PRODUCT, DIM_CUSTOMER))
    spellings = engine.lazy(alias_keys(read_country_aliases()))
    keys = engine.lazy(engine.collect(country_keys(lines.select("country").unique(), spellings)))
    rates = engine.lazy(lake.scan(EXCHANGE_RATES).collect())
    return fact_sales(lines, products, customers, keys, rates)


def content(lake: Lake, table: Table) -> pl.DataFrame:
    """All rows of a table in one order, without when they came in."""
    frame = lake.scan(table).collect().drop("ingested_at", "created_at", strict=False)
    return frame.sort(table.key)


def main(home: str, root: str, master: str) -> None:
    from retail_platform.engines.spark import SparkEngine

    with SparkEngine(master, memory=2**30) as engine:
        # Two hundred tasks a step, as on a large cluster, would take most of the time.
        engine.session.conf.set("spark.sql.shuffle.partitions", "4")
        run_chain(Settings(home=Path(home), mappings=None), Lake(Path(root)), engine)


if __name__ == "__main__":
    main(*sys.argv[1:])
