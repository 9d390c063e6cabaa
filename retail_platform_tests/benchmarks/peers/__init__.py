"""The same job written by hand, as someone would who needs just this: from the two files to the star schema.

In, in all of them, with the design's rules: kept bytes and their hash; bronze as text with file and row; typed, cleaned
lines; rejects with the first reason that applies, supersession and repeats included; month summaries by product and
customer; both versioned dimensions with scores and segments; surrogate keys and line ids; invoices, calendar and
countries; facts keyed to the versions of their day, with amounts in euros and dollars; the checks that stop the
platform's run (nothing null that must not be, unique keys, rows add up, no orphans, equal totals). Polars and DuckDB
write the same Delta tables, partitioned by month; dbt-postgres starts from COPY, keeps no bytes, has keys of another
hash and no bank holidays, and ends with headline marts in PostgreSQL: by day, month and country, products, customers,
segments.

Out: the ledger and any second delivery (they load once, all of it), day states, versioned re-keying, mappings as data,
categories of products, analytics (forecasts, features, scores of quality …), history, previews, a catalogue, a restart.

They share no code with the package. Reference tables (countries, spellings, rates) are given to them as files, as the
platform has them packaged.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from retail_platform.contracts import (
    BRONZE_SALES,
    DIM_CUSTOMER,
    DIM_INVOICE,
    DIM_PRODUCT,
    EXCHANGE_RATES,
    FACT_SALE,
    SILVER_REJECTS,
    SILVER_SALES,
    Table,
)
from retail_platform.lakehouse.lake import Lake
from retail_platform.reference import read_countries, read_country_aliases
from retail_platform.settings import Settings
from retail_platform.warehouse.query import query_warehouse
from retail_platform.warehouse.server import warehouse_database
from retail_platform_tests.benchmarks.watched import DidNotEndWellError, inherited, watch

if TYPE_CHECKING:
    from retail_platform_tests.benchmarks.parts import Bench, Row

JOBS = {"by hand: Polars": "polars_job", "by hand: DuckDB": "duckdb_job", "by hand: dbt-postgres": "dbt_job"}
COMPARED: dict[Table, dict[str, pl.Expr]] = {
    BRONZE_SALES: {},
    SILVER_SALES: {"net revenue": pl.col("line_amount").sum()},
    DIM_PRODUCT: {"prices": pl.col("recommended_price").sum()},
    DIM_CUSTOMER: {
        "lifetime values": pl.col("lifetime_value").sum(),
        "average orders": pl.col("avg_order_value").sum(),
        "scores": pl.sum_horizontal("recency_score", "frequency_score", "monetary_score").sum().cast(pl.Int64),
    },
    DIM_INVOICE: {"total": pl.col("invoice_total").sum()},
    FACT_SALE: {
        "net revenue": pl.col("total_amount").sum(),
        "euros": pl.col("total_amount_eur").sum(),
        "dollars": pl.col("total_amount_usd").sum(),
        "lines of guests": (pl.col("customer_key") == -1).sum(),
    },
}
"""Of each table, what has to be equal beside the number of rows."""
KEYS = {
    DIM_PRODUCT: "product_key",
    DIM_CUSTOMER: "customer_key",
    DIM_INVOICE: "invoice_key",
    FACT_SALE: "product_key",
}
"""Surrogate keys whose sums have to be equal where Delta tables are compared; dbt's are hashes of another kind."""


def write_reference(folder: Path, lake: Lake) -> None:
    """Write what the jobs are given: rates by day, countries, spellings."""
    folder.mkdir(exist_ok=True)
    rates = lake.scan(EXCHANGE_RATES).select("rate_date", "currency_code", "per_eur").collect()
    wanted = rates.filter(pl.col("currency_code").is_in(["GBP", "EUR", "USD"]))
    wanted.pivot("currency_code", index="rate_date", values="per_eur").sort("rate_date").write_csv(folder / "rates.csv")
    read_countries().write_csv(folder / "countries.csv")
    read_country_aliases().write_csv(folder / "country_aliases.csv")


def figures_of(settings: Settings) -> dict[str, str]:
    """What a platform holds: the lake's tables, and the net revenue of its marts."""
    (total,) = query_warehouse(warehouse_database(settings), "select sum(net_revenue) from marts.daily_sales").rows
    return lake_figures({table: Lake(settings.lake).scan(table) for table in (*COMPARED, SILVER_REJECTS)}) | {
        "marts: net revenue": str(total[0])
    }


def lake_figures(tables: dict[Table, pl.LazyFrame]) -> dict[str, str]:
    """Figures of Delta tables, as text."""
    found: dict[str, Any] = {}
    for table, expressions in COMPARED.items():
        keys = {"sum of keys": pl.col(KEYS[table]).cast(pl.Int128).sum()} if table in KEYS else {}
        row = tables[table].select(pl.len().alias("rows"), **expressions, **keys).collect().row(0, named=True)
        found |= {f"{table}: {name}": value for name, value in row.items()}
    reasons = tables[SILVER_REJECTS].group_by("reason").len().sort("reason").collect()
    found |= {f"{SILVER_REJECTS}: {reason}": rows for reason, rows in reasons.iter_rows()}
    return {name: str(value) for name, value in found.items()}


def run(bench: "Bench", name: str, files: Sequence[Path], lines: int) -> tuple["Row", dict[str, str]]:
    """Run a job by hand in a process of its own; its row, and what it made."""
    with bench.home("peer") as settings:
        out = settings.home / "out"
        out.mkdir()
        out.chmod(0o755)
        module = f"retail_platform_tests.benchmarks.peers.{JOBS[name]}"
        command = [sys.executable, "-m", module, str(out), str(bench.folder / "reference"), *map(str, files)]
        try:
            watched = watch(command, settings.home / "run.log", inherited(settings.home), settings.home, bench.limit)
        except DidNotEndWellError as error:
            return {"part": "engines", "variant": name, "lines": lines, "error": str(error)}, {}
        told = json.loads((out / "told.json").read_text())
        row = {
            "part": "engines",
            "variant": name,
            "lines": lines,
            "figures": watched.figures(),
            "steps": {step: watched.span(*span) for step, span in told["steps"].items()},
            "bytes": {"out": sum(file.stat().st_size for file in settings.home.rglob("*") if file.is_file())},
        }
        if "figures" in told:
            return row, told["figures"]
        tables = {table: pl.scan_delta(str(out / table.layer / table.name)) for table in (*COMPARED, SILVER_REJECTS)}
        return row, lake_figures(tables)
