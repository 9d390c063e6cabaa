"""The files that benchmarks land: the real data's two, or a sample; a new day; a correction of an old one."""

import os
from datetime import date, timedelta
from pathlib import Path

import click
import polars as pl

from retail_platform.sources.online_retail import split
from retail_platform.sources.sample import write_sample

STAMP = "%Y%m%dT%H%M%SZ"


def write_files(folder: Path, sample: int | None) -> list[Path]:
    """The deliveries, in order: of the real data (RETAIL_REAL_DATA), or a generated sample of so many lines."""
    folder.mkdir()
    if sample:
        return write_sample(folder, sample, files="yearly")
    if "RETAIL_REAL_DATA" not in os.environ:
        raise click.UsageError(
            "RETAIL_REAL_DATA names no folder that holds online_retail_II.parquet; set it, or give --sample."
        )
    return split(Path(os.environ["RETAIL_REAL_DATA"], "online_retail_II.parquet"), folder, by="sheet")


def write_new_day(folder: Path, newest: Path, ahead: int, lines: int) -> Path:
    """The last day of a file once more, as new invoices so many days later.

    Args:
        folder: where to write.
        newest: the file with the newest day.
        ahead: how many days after it.
        lines: how many at the most; an invoice may be cut.
    """
    rows = pl.scan_csv(newest, infer_schema=False)
    day_of = pl.col("InvoiceDate").str.head(10)
    last = date.fromisoformat(rows.select(day_of.max()).collect().item())
    day = last + timedelta(days=ahead)
    path = folder / f"new_day__{day + timedelta(days=1):{STAMP}}.csv"
    fresh = (
        rows.filter(day_of == str(last))
        .head(lines)
        .with_columns(
            pl.col("Invoice").str.replace("5", f"9{ahead}"), pl.col("InvoiceDate").str.replace(str(last), str(day))
        )
    )
    fresh.collect().write_csv(path)
    return path


def write_correction(folder: Path, landing: Path, lines: int) -> Path:
    """An old day's lines once more, each with one more unit, delivered after all others.

    Args:
        folder: where to write.
        landing: the files that were delivered.
        lines: how many at the most.
    """
    files = sorted(landing.glob("*.csv"), key=lambda file: file.stem.rpartition("__")[2])
    rows, day_of = pl.scan_csv(files[len(files) // 3], infer_schema=False), pl.col("InvoiceDate").str.head(10)
    middle = rows.select(day_of.unique().sort()).collect().to_series()
    old = rows.filter(day_of == middle[len(middle) // 2]).head(lines)
    path = folder / "correction__20991231T000000Z.csv"
    raised = (pl.col("Quantity").cast(pl.Int64, strict=False) + 1).cast(pl.String)
    old.with_columns(pl.coalesce(raised, "Quantity").alias("Quantity")).collect().write_csv(path)
    return path
