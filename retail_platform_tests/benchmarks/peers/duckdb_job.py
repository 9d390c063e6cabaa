"""The job by hand in DuckDB SQL: `python -m retail_platform_tests.benchmarks.peers.duckdb_job OUT REFERENCE FILE …`.

`duckdb_job.sql` has all of it but what SQL cannot do: hashing files, bank holidays, writing Delta tables.
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import holidays
from deltalake import write_deltalake

from retail_platform_tests.benchmarks.peers.spans import Spans

TABLES = {
    "bronze": {"bronze": ("bronze", "sales", True)},
    "silver": {"lines": ("silver", "sales", True), "rejects": ("silver", "rejects", True)},
    "month_summaries": {
        "product_months": ("silver", "product_months", True),
        "customer_months": ("silver", "customer_months", True),
    },
    "calendar_and_countries": {
        "dim_date": ("gold", "dim_date", False),
        "dim_country": ("gold", "dim_country", False),
    },
    "dim_product": {"dim_product": ("gold", "dim_product", False)},
    "dim_customer": {"dim_customer": ("gold", "dim_customer", False)},
    "dim_invoice": {"dim_invoice": ("gold", "dim_invoice", True)},
    "fact_sale": {"fact_sale": ("gold", "fact_sale", True)},
}
"""Step -> table -> layer, name and whether it is partitioned by month."""


def read_files(connection: duckdb.DuckDBPyConnection, out: Path, files: Sequence[Path]) -> None:
    """Keep the bytes; the rows as text in table `raw`, the files in table `file`."""
    now = datetime.now(UTC)
    (out / "bytes").mkdir()
    connection.execute(
        "create table file (rank integer, delivery_id varchar, file_sha256 varchar, source_file varchar, "
        "ingested_at timestamptz, latest date)"
    )
    for rank, file in enumerate(files):
        with file.open("rb") as content:
            sha = hashlib.file_digest(content, "sha256").hexdigest()
        shutil.copyfile(file, out / "bytes" / sha)
        stamp = re.search(r"__(\d{8}T\d{6}Z)", file.name)
        latest = datetime.strptime(stamp[1], "%Y%m%dT%H%M%SZ").date() + timedelta(days=1) if stamp else date.max
        row = [rank, f"{sha}#0", sha, file.name, now, latest]
        connection.execute("insert into file values (?, ?, ?, ?, ?, ?)", row)
        into = "insert into raw" if rank else "create table raw as"
        rows = f"from read_csv('{file}', all_varchar = true, header = true)"
        connection.execute(f"{into} select {rank} as rank, row_number() over () as file_row, * {rows}").fetchall()


def main(out: Path, reference: Path, files: Sequence[Path]) -> None:
    """Run the steps of the SQL file, and write what each makes."""
    spans, connection = Spans(), duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    england = holidays.country_holidays("GB", subdiv="ENG", years=range(2000, 2031))
    connection.execute("create table holiday (date date, holiday_name varchar)")
    connection.executemany("insert into holiday values (?, ?)", list(england.items()))
    text = Path(__file__).with_suffix(".sql").read_text().replace("$reference", str(reference))
    for part in text.split("-- step: ")[1:]:
        name, _, statements = part.partition("\n")
        with spans.step(name):
            if name == "bronze":
                read_files(connection, out, files)
            made, *checks = statements.split("-- check: ")
            connection.execute(made).fetchall()
            for check in checks:
                told, _, question = check.partition("\n")
                if connection.execute(question).fetchall() != [(True,)]:
                    raise SystemExit(f"check failed: {told}")
            for table, (layer, title, by_month) in TABLES[name].items():
                columns = "* exclude (rank)" if table == "bronze" else "*"
                reader = connection.sql(f"select {columns} from {table}").to_arrow_reader(100_000)
                write_deltalake(out / layer / title, reader, partition_by=["sale_month"] if by_month else None)
    spans.tell(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(file) for file in sys.argv[3:]])
