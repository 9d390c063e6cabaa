"""The job by hand in dbt on PostgreSQL: `python -m retail_platform_tests.benchmarks.peers.dbt_job OUT REFERENCE FILE …`

COPY of the files into raw tables, then one `dbt build` of `dbt_postgres/`: everything from raw text to the star schema
and the headline marts in SQL. The server is the platform's embedded one, with the same settings, on a home of its own.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from retail_platform.settings import get_settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.server import warehouse_database
from retail_platform_tests.benchmarks.peers.spans import Spans

PROJECT = Path(__file__).with_name("dbt_postgres")
COLUMNS = "invoice_no, stock_code, description, quantity, invoice_date, unit_price, customer_id, country"
FIGURES = {
    "bronze.sales: rows": "select count(*) from raw.sales",
    "silver.sales: rows": "select count(*) from by_hand.sales",
    "silver.sales: net revenue": "select sum(line_amount) from by_hand.sales",
    "gold.dim_product: rows": "select count(*) from by_hand.dim_product",
    "gold.dim_product: prices": "select sum(recommended_price) from by_hand.dim_product",
    "gold.dim_customer: rows": "select count(*) from by_hand.dim_customer",
    "gold.dim_customer: lifetime values": "select sum(lifetime_value) from by_hand.dim_customer",
    "gold.dim_customer: average orders": "select sum(avg_order_value) from by_hand.dim_customer",
    "gold.dim_customer: scores": (
        "select sum(recency_score + frequency_score + monetary_score) from by_hand.dim_customer"
    ),
    "gold.dim_invoice: rows": "select count(*) from by_hand.dim_invoice",
    "gold.dim_invoice: total": "select sum(invoice_total) from by_hand.dim_invoice",
    "gold.fact_sale: rows": "select count(*) from by_hand.fact_sale",
    "gold.fact_sale: net revenue": "select sum(total_amount) from by_hand.fact_sale",
    "gold.fact_sale: euros": "select sum(total_amount_eur) from by_hand.fact_sale",
    "gold.fact_sale: dollars": "select sum(total_amount_usd) from by_hand.fact_sale",
    "gold.fact_sale: lines of guests": "select count(*) from by_hand.fact_sale where customer_key = -1",
    "marts: net revenue": "select sum(net_revenue) from by_hand.daily_sales",
}


def load(connection: psycopg.Connection, reference: Path, files: Sequence[Path]) -> None:
    """COPY the files, and the reference tables, into schema `raw`."""
    columns = ", ".join(f"{name} text" for name in COLUMNS.split(", "))
    connection.execute("create schema raw")
    connection.execute(
        f"create table raw.sales ({columns}, source_row bigint generated always as identity, "
        "file_rank integer, file_name text, delivered_at timestamp)"
    )
    for rank, file in enumerate(files):
        stamp = re.search(r"__(\d{8}T\d{6})Z", file.name)
        constants = {"file_rank": str(rank), "file_name": f"'{file.name}'"}
        constants["delivered_at"] = f"'{stamp[1]}'" if stamp else "'9999-01-01'"
        for name, value in constants.items():
            connection.execute(f"alter table raw.sales alter {name} set default {value}")
        copy(connection, f"raw.sales ({COLUMNS})", file)
    connection.execute("create table raw.country_aliases (spelling text, member text)")
    copy(connection, "raw.country_aliases", reference / "country_aliases.csv")
    header = (reference / "countries.csv").read_text().splitlines()[0].split(",")
    connection.execute(f"create table raw.countries ({', '.join(f'{name} text' for name in header)})")
    copy(connection, "raw.countries", reference / "countries.csv")
    rates = (reference / "rates.csv").read_text().splitlines()[0].lower().split(",")
    typed = ", ".join(f"{name} {'date' if name == 'rate_date' else 'numeric(18, 6)'}" for name in rates)
    connection.execute(f"create table raw.rates ({typed})")
    copy(connection, "raw.rates", reference / "rates.csv")
    connection.execute("analyze raw.sales")


def copy(connection: psycopg.Connection, table: str, file: Path) -> None:
    """COPY one CSV file; empty is null."""
    with (
        file.open("rb") as content,
        connection.cursor().copy(f"copy {table} from stdin (format csv, header)") as into,
    ):
        while chunk := content.read(2**20):
            into.write(chunk)


def build(database: Database, out: Path) -> None:
    """One `dbt build`, tests included."""
    environment = {
        **os.environ,
        "PEER_HOST": database.host,
        "PEER_PORT": str(database.port),
        "PEER_USER": database.user,
        "PEER_PASSWORD": database.password,
        "PEER_DBNAME": database.dbname,
    }
    paths = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    paths += ["--target-path", str(out / "target"), "--log-path", str(out / "logs")]
    dbt = Path(sys.executable).with_name("dbt")
    subprocess.run([str(dbt), "build", *paths], env=environment, check=True)


def main(out: Path, reference: Path, files: Sequence[Path]) -> None:
    """Load, build, and tell the figures."""
    spans = Spans()
    with spans.step("server"):
        database = warehouse_database(get_settings())
    with spans.step("copy"), database.connect() as connection:
        load(connection, reference, files)
    with spans.step("dbt build"):
        build(database, out)
    with database.connect() as connection:
        reasons = connection.execute("select reason, count(*) from by_hand.rejects group by reason").fetchall()
        found = {name: str(connection.execute(query).fetchone()[0]) for name, query in FIGURES.items()}  # type: ignore
    spans.tell(out, figures=found | {f"silver.rejects: {reason}": str(rows) for reason, rows in reasons})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(file) for file in sys.argv[3:]])
