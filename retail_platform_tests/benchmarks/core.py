"""How long the way from landing to marts takes: `python -m retail_platform_tests.benchmarks.core`.

On the real data's two files (RETAIL_REAL_DATA), or on a sample with `--sample LINES`. Prints one table; no time fails
it, a wrong total does. The same revenue by day in plain Polars, in the same minute, makes figures of two machines
comparable: it reads the files and applies the rules that decide which lines count, and leaves out all the rest (the
ledger, bronze, rejects with reasons, dimensions and their versions, keys, Delta, PostgreSQL, marts, checks, history).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from retail_platform.settings import Settings
from retail_platform.sources.online_retail import split
from retail_platform.sources.sample import write_sample
from retail_platform.warehouse.query import query_warehouse
from retail_platform.warehouse.server import stop_server, warehouse_database

LATE_DAY = "2010-06-15"
WIDTH = 140
"""Characters of the table, also where the terminal is narrower or none."""
PARTS = ("land and register", "all steps", "Dagster around the steps", "writing events, in both", "in all")


def write_files(folder: Path, sample: int | None) -> list[Path]:
    """The deliveries, in order."""
    folder.mkdir()
    if sample:
        return write_sample(folder, sample, files="yearly")
    if "RETAIL_REAL_DATA" not in os.environ:
        raise click.UsageError(
            "RETAIL_REAL_DATA names no folder that holds online_retail_II.parquet; set it, or give --sample."
        )
    return split(Path(os.environ["RETAIL_REAL_DATA"], "online_retail_II.parquet"), folder, by="sheet")


def write_new_day(folder: Path, rows: pl.DataFrame, days: int) -> Path:
    """The last day of the data once more, as new invoices so many days later."""
    last = date.fromisoformat(rows["InvoiceDate"].str.head(10).max())  # type: ignore[arg-type]
    day, path = last + timedelta(days=days), folder / f"new_day_{days}__20120101T000000Z.csv"
    rows.filter(pl.col("InvoiceDate").str.starts_with(str(last))).with_columns(
        pl.col("Invoice").str.replace("5", f"9{days}"), pl.col("InvoiceDate").str.replace(str(last), str(day))
    ).write_csv(path)
    return path


def without_a_day(folder: Path, files: Sequence[Path]) -> tuple[list[Path], Path]:
    """The same files without one day, and that day as a file that comes last."""
    kept, late = [], []
    for path in files:
        rows = pl.read_csv(path, infer_schema=False)
        is_late = pl.col("InvoiceDate").str.starts_with(LATE_DAY)
        kept.append(folder / f"without_{path.name}")
        rows.remove(is_late).write_csv(kept[-1])
        late.append(rows.filter(is_late))
    path = folder / "late_day__20120102T000000Z.csv"
    pl.concat(late).write_csv(path)
    return kept, path


def plain_polars(files: Sequence[Path]) -> tuple[float, Decimal]:
    """Revenue by day, by hand: seconds, and the total."""
    began = time.perf_counter()
    rows = pl.concat(
        pl.scan_csv(path, infer_schema=False).with_columns(delivery=pl.lit(number)) for number, path in enumerate(files)
    )
    invoice, code = pl.col("Invoice").str.strip_chars(), pl.col("StockCode").str.strip_chars().str.to_uppercase()
    typed = rows.select(
        "delivery",
        invoice=invoice,
        code=code,
        description=pl.col("Description").str.strip_chars().str.replace_all(" +", " "),
        quantity=pl.col("Quantity").cast(pl.Int32),
        at=pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S"),
        price=pl.col("Price").cast(pl.Decimal(18, 4)),
        customer="Customer ID",
        country="Country",
    ).with_columns(day=pl.col("at").dt.date())
    sold = typed.filter(
        pl.col("delivery") == pl.col("delivery").max().over("invoice", "day"),
        pl.col("price") > 0,
        pl.col("quantity") != 0,
        ~pl.col("invoice").str.starts_with("A"),
        ~pl.col("code").str.starts_with("TEST"),
    ).unique()
    by_day = sold.group_by("day").agg(revenue=(pl.col("price") * pl.col("quantity")).sum()).collect()
    return time.perf_counter() - began, Decimal(by_day["revenue"].sum())


def run_plan(folder: Path, home: Path, plan: Sequence[tuple[str, Sequence[Path]]]) -> dict[str, Any]:
    """Run phases in one new process on a platform; what it measured, and the seconds of the whole process."""
    written, out = folder / "plan.json", folder / "out.json"
    written.write_text(json.dumps([{"name": name, "files": [str(file) for file in files]} for name, files in plan]))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RETAIL_", "DAGSTER_"))}
    began = time.perf_counter()
    with (folder / "run.log").open("ab") as log:
        command = [sys.executable, "-m", "retail_platform_tests.benchmarks.measured", str(written), str(out)]
        ended = subprocess.run(command, env={**environment, "RETAIL_HOME": str(home)}, stdout=log, stderr=log)
    if ended.returncode:
        raise click.ClickException((folder / "run.log").read_text()[-4000:])
    measured: dict[str, Any] = json.loads(out.read_text())
    return {**measured, "whole process": time.perf_counter() - began}


def benchmark(folder: Path, sample: int | None) -> dict[str, Any]:
    """All phases: two platforms, of which the second one gets its late day."""
    files = write_files(folder / "files", sample)
    last = pl.read_csv(files[-1], infer_schema=False)
    first_new, second_new = (write_new_day(folder, last, days) for days in (1, 2))
    kept, late = without_a_day(folder, files)
    seconds, revenue = plain_polars(files)
    homes = [Settings(home=folder / name, database_url=None, dagster_database_url=None) for name in ("one", "two")]
    try:
        first = run_plan(folder, homes[0].home, [("all files", files), ("new day, warm", [first_new])])
        again = run_plan(folder, homes[0].home, [("new day, new process", [second_new])])
        second = run_plan(folder, homes[1].home, [("all files but a day", kept), ("late day, warm", [late])])
        (total,) = query_warehouse(warehouse_database(homes[1]), "select sum(net_revenue) from marts.daily_sales").rows
    finally:
        for settings in homes:
            stop_server(settings)
    if total[0] != revenue:
        raise click.ClickException(f"the marts hold {total[0]}, plain Polars {revenue}; expected the same.")
    return {"plain Polars": seconds, "processes": [first, again, second]}


def show(figures: dict[str, Any]) -> Table:
    """Seconds of every phase, a column each."""
    processes = figures["processes"]
    phases = [phase for process in processes for phase in process["phases"]]
    table = Table("seconds", *(phase["name"] for phase in phases), title="From landing to marts", title_justify="left")
    for step in phases[0]["steps"]:
        table.add_row(f"step {step}", *(f"{phase['steps'][step]:.2f}" for phase in phases))
    table.add_section()
    for part in PARTS:
        table.add_row(part, *(f"{phase[part]:.2f}" for phase in phases))
    for part in ("Python and imports", "PostgreSQL", "definitions"):
        table.add_row(f"start: {part}", *_once(processes, lambda process, part=part: f"{process['start'][part]:.2f}"))
    table.add_row("whole process", *_once(processes, lambda process: f"{process['whole process']:.2f}"))
    for part in ("process", "its children", "PostgreSQL"):
        row = _once(processes, lambda process, part=part: f"{process['peak MiB'][part]:,.0f}")
        table.add_row(f"peak MiB: {part}", *row)
    plain = figures["plain Polars"]
    table.add_section()
    table.add_row("plain Polars, all files", f"{plain:.2f}")
    table.add_row("times plain Polars", *(f"{phase['in all'] / plain:.1f}" for phase in phases))
    return table


def _once(processes: Sequence[dict[str, Any]], value: Any) -> list[str]:
    """A figure of each process, under the first of its phases."""
    return [value(each) if not number else "" for each in processes for number in range(len(each["phases"]))]


@click.command()
@click.option("--sample", type=click.IntRange(min=1000), help="Lines of a generated sample, instead of the real data.")
@click.option("--json", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write core.json there.")
def main(sample: int | None, folder: Path | None) -> None:
    """Measure, and print one table."""
    # As root the embedded server runs as another user, who must get into the folder.
    work = Path(tempfile.mkdtemp(prefix="retail-bench-"))
    work.chmod(0o755)
    try:
        figures = benchmark(work, sample)
    finally:
        shutil.rmtree(work)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "core.json").write_text(json.dumps(figures, indent=2))
    Console(width=WIDTH).print(show(figures))


if __name__ == "__main__":
    main()
