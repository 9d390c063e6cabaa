"""Upkeep of the Delta tables: small files become large ones, what no version needs goes, the log stays short.

Nothing here changes a row, and each step may be cut off at any point. Readers go on with the version they began with:
its files stay for `delta.deletedFileRetentionDuration`, 7 days. The caller holds the lake's lock. Whether a layout is a
good one is judged elsewhere (`layout.py`).
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties

from retail_platform.contracts import Table
from retail_platform.lakehouse.lake import CHANGED_DAYS, Lake
from retail_platform.lakehouse.transactions import STAGING

TARGET_BYTES = 128 * 2**20
"""Size of the files that are made: what a run reads and writes again for a late day."""

FEWEST_ROWS, MOST_ROWS = 8_192, 122_880
"""Of a row group, which a reader takes or leaves as one: fewer compress worse, more make a read of one day longer."""

Compression = Literal["SNAPPY", "ZSTD"]

COMPRESSION = "retail.compression"
"""Property of a table: how its closed months are compressed. Unless the advisor has found better that is Snappy, in
which new days are written, too."""

STALE_SECONDS = 24 * 3600.0
"""Age from which such a folder was left behind by a kill: no run takes so long."""


@dataclass(frozen=True)
class Extent:
    """How large something is: data files and rows of a table's newest version, or files that were removed.

    Attributes:
        files: how many.
        size: their bytes.
        rows: rows in them; 0 where it is not data that is counted.
    """

    files: int
    size: int
    rows: int = 0

    def __add__(self, other: "Extent") -> "Extent":
        return Extent(self.files + other.files, self.size + other.size, self.rows + other.rows)


@dataclass(frozen=True)
class Upkeep:
    """What was done to a table.

    Attributes:
        table: which one.
        before: how large it was: for `compact` its data files, for `vacuum` all files in its folder but the log, for
            `shorten_log` the files of its log.
        after: the same afterwards.
        seconds: how long it took.
    """

    table: Table
    before: Extent
    after: Extent
    seconds: float


def extent(lake: Lake, table: Table) -> Extent:
    """The data files of the newest version, from the log alone."""
    delta = lake.open(table)
    if delta is None:
        return Extent(0, 0)
    files = pl.DataFrame(delta.get_add_actions()).select("size_bytes", "num_records")
    return Extent(files.height, int(files["size_bytes"].sum()), int(files["num_records"].sum()))


def crowded_months(lake: Lake, table: Table, open_month: date) -> list[date]:
    """The closed months with more files than their bytes need, by their first days: those whose average is half empty.

    Args:
        lake: where the table is.
        table: one without months has none.
        open_month: the first month that is not closed; its days are still being written.
    """
    delta = lake.open(table)
    if table.month is None or delta is None:
        return []
    files = pl.DataFrame(delta.get_add_actions(flatten=True)).select(
        month=f"partition.{table.month}", size="size_bytes"
    )
    months = files.group_by("month").agg(files=pl.len(), mean=pl.col("size").mean())
    is_crowded = (pl.col("files") > 1) & (pl.col("mean") < TARGET_BYTES / 2)
    return months.filter(is_crowded & (pl.col("month") < open_month))["month"].sort().to_list()


def group_rows(month_rows: int) -> int:
    """Rows of a row group for months of so many rows: about two days', where that is neither few nor many."""
    return min(max(month_rows // 16, FEWEST_ROWS), MOST_ROWS)


def compression_of(delta: DeltaTable) -> Compression:
    """How the closed months of a table are compressed."""
    return "ZSTD" if delta.metadata().configuration.get(COMPRESSION) == "ZSTD" else "SNAPPY"


def compress(lake: Lake, table: Table, compression: Compression) -> None:
    """Say how closed months are compressed from now on; a commit that changes no row."""
    unchanged = CommitProperties(custom_metadata={CHANGED_DAYS: "[]", **lake.signature})
    DeltaTable(lake.path(table)).alter.set_table_properties(
        {COMPRESSION: compression}, raise_if_not_exists=False, commit_properties=unchanged
    )


def compact(lake: Lake, table: Table, months: Sequence[date]) -> Upkeep:
    """Write the files of some months again, as few as they need, sorted by day, in one commit that changes no row.

    Sorted, a file spans few days and a row group fewer, so that a read of days opens less. Of a table without days the
    order of the rows stays.
    """
    started, before, delta = time.perf_counter(), extent(lake, table), lake.open(table)
    if delta is None or not months:
        return Upkeep(table, before, before, 0.0)
    files = pl.DataFrame(delta.get_add_actions(flatten=True))
    rows = int(files.filter(pl.col(f"partition.{table.month}").is_in(list(months)))["num_records"].sum())
    writing: dict[str, Any] = {
        "partition_filters": [(str(table.month), "in", [str(month) for month in months])],
        "target_size": TARGET_BYTES,
        # One month at a time: each task holds its month in memory.
        "max_concurrent_tasks": 1,
        "writer_properties": WriterProperties(
            max_row_group_size=group_rows(rows // len(months)), compression=compression_of(delta)
        ),
        "commit_properties": CommitProperties(custom_metadata=lake.signature),
    }
    if table.day:
        delta.optimize.z_order([table.day], **writing)
    else:
        delta.optimize.compact(**writing)
    return Upkeep(table, before, extent(lake, table), time.perf_counter() - started)


def vacuum(lake: Lake, table: Table) -> Upkeep:
    """Remove the files that no version of the last 7 days names, and what killed runs have left; no commit if none."""
    started, path = time.perf_counter(), lake.path(table)
    delta, before = DeltaTable(path), _size(_data(path))
    for folder in path.glob(f"{STAGING}*"):
        if time.time() - folder.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(folder)
    if delta.vacuum(full=True):
        delta.vacuum(full=True, dry_run=False, commit_properties=CommitProperties(custom_metadata=lake.signature))
    return Upkeep(table, before, _size(_data(path)), time.perf_counter() - started)


def shorten_log(lake: Lake, table: Table) -> Upkeep:
    """Sum up the log in a checkpoint, from which readers start, and remove what is older than 30 days."""
    started, log = time.perf_counter(), lake.path(table) / "_delta_log"
    before, delta = _size(log.iterdir()), DeltaTable(lake.path(table))
    if not (log / f"{delta.version():020}.checkpoint.parquet").exists():
        delta.create_checkpoint()
    delta.cleanup_metadata()
    return Upkeep(table, before, _size(log.iterdir()), time.perf_counter() - started)


def _data(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if "_delta_log" not in file.parts)


def _size(paths: Iterator[Path]) -> Extent:
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    return Extent(len(sizes), sum(sizes))
