"""The layout advisor of the lake: how the files of a table lie, how they should, and whether that is faster.

What is there is read from the Delta log and the files' footers. A proposal is tried on a copy of the largest closed
months by the reads that the platform does (a day, a week, a month), and is worth it only when it wins there. What the
platform filters Delta tables by is the day and the month and nothing else, so there is nothing else to sort by.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable, WriterProperties, write_deltalake

from retail_platform.contracts import SILVER_SALES, Table
from retail_platform.lakehouse.days import ONE_DAY, Days, next_month
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.maintenance import (
    TARGET_BYTES,
    Compression,
    Upkeep,
    compact,
    compress,
    compression_of,
    group_rows,
)

Kind = Literal["compact", "sort", "compress", "unpartition"]

SMALL_BYTES = 2**18
"""Mean bytes of a month below which months are not worth a file each: opening one costs more than reading it."""

DENSE: Compression = "ZSTD"
"""Two thirds of the bytes of Snappy, for more or less work when read: that is what is tried."""

SAMPLE_ROWS = 2_000_000
"""Rows of the months that a proposal is tried on, about; at least one month."""

SORTED_ENOUGH = 2.0
"""How many times its share of a month a read of one day may open before the month counts as unsorted."""

WIN, TIE = 0.9, 1.05
"""A proposal wins that takes at most WIN of the seconds, or at most TIE of them and WIN of the bytes."""

REPEATS = 5


@dataclass(frozen=True)
class DataFile:
    """A data file: where it is, its month (None: none), bytes, rows, and first and last day where the log says."""

    path: Path
    month: date | None
    size: int
    rows: int
    first_day: date | None
    last_day: date | None

    def holds(self, days: Days | None) -> bool:
        """Whether it may hold rows of the days."""
        if days is None or self.month is None:
            return True
        first, last = self.first_day or self.month, self.last_day or next_month(self.month) - ONE_DAY
        return first < days.end and days.start <= last


@dataclass(frozen=True)
class Layout:
    """How the closed months of a table lie; of a table without months, all of it.

    Attributes:
        months: how many; 0 for a table without months.
        files: data files.
        size: their bytes.
        rows: their rows.
        small_files: files below half of the target size, in months of more than one file.
        day_bytes: bytes of the row groups that a read of one day opens, on average; 0 for a table without days.
        day_share: how many times the bytes of a day that is.
    """

    months: int
    files: int
    size: int
    rows: int
    small_files: int
    day_bytes: int
    day_share: float


@dataclass(frozen=True)
class Proposal:
    """Another layout, and why.

    Attributes:
        kind: `compact`, `sort` and `compress` are the same work, for different reasons; `unpartition` is advice only.
        text: the layout in words.
        why: the numbers that speak for it.
        months: the months it concerns.
    """

    kind: Kind
    text: str
    why: str
    months: tuple[date, ...]


@dataclass(frozen=True)
class Reads:
    """What the typical reads of a sample cost: CPU seconds (best of several), bytes and files opened."""

    seconds: float
    size: int
    files: int


@dataclass(frozen=True)
class Advice:
    """What the advisor says of a table: how it lies, what it proposes, and what came of trying it.

    Attributes:
        table: which one.
        layout: as it is.
        proposal: None when it lies well.
        before: the reads of the sample as it is; None without a proposal.
        after: the same of its copy in the proposed layout.
        applied: what was done, when asked and worth it.
    """

    table: Table
    layout: Layout
    proposal: Proposal | None = None
    before: Reads | None = None
    after: Reads | None = None
    applied: Upkeep | None = None

    @property
    def is_worth_it(self) -> bool:
        """Whether the proposal won on the sample."""
        return self.before is not None and self.after is not None and wins(self.before, self.after)

    @property
    def verdict(self) -> str:
        """In words."""
        if self.proposal is None:
            return "as it should be"
        if self.applied:
            return "applied"
        if not self.is_worth_it:
            return "not worth it"
        return "advice only: writes replace whole months" if self.proposal.kind == "unpartition" else "worth it"

    @property
    def row(self) -> dict[str, Any]:
        """The advice as a row of a table for people; before and after are of the sample's reads."""
        reads = self.before is not None and self.after is not None
        before, after = self.before or Reads(0, 0, 0), self.after or Reads(0, 0, 0)
        return {
            "table": str(self.table),
            "files": self.layout.files,
            "bytes": self.layout.size,
            "rows": self.layout.rows,
            "small files": self.layout.small_files,
            "proposal": self.proposal.text if self.proposal else None,
            "why": self.proposal.why if self.proposal else None,
            "seconds": f"{before.seconds:.3f} -> {after.seconds:.3f}" if reads else None,
            "bytes read": f"{before.size} -> {after.size}" if reads else None,
            "files opened": f"{before.files} -> {after.files}" if reads else None,
            "verdict": self.verdict,
            "files now": self.applied.after.files if self.applied else None,
            "bytes now": self.applied.after.size if self.applied else None,
        }


def advise(lake: Lake, tables: Sequence[Table], apply: bool = False) -> list[Advice]:
    """Judge tables, try what is proposed on a sample, and apply what has won if asked.

    Args:
        lake: where they are; the caller holds its lock when it applies.
        tables: which ones; those never written are left out.
        apply: whether to do it.
    """
    return [_advise(lake, table, apply) for table in tables if lake.version(table) is not None]


def propose(
    files: Sequence[DataFile], layout: Layout, unsorted: Sequence[date] = (), loose: Sequence[date] = ()
) -> Proposal | None:
    """The layout that the numbers ask for, what weighs most first; None when that is the one it has.

    Args:
        files: the files of the closed months of a table.
        layout: of these files.
        unsorted: the months of which a read of a day opens more than `SORTED_ENOUGH` times what it would when sorted.
        loose: the months whose files could be compressed more densely.
    """
    if not layout.months:
        return None
    if crowded := _crowded(files):
        held = [file for file in files if file.month in crowded]
        size = sum(file.size for file in held)
        few = sum(ceil(sum(f.size for f in held if f.month == month) / TARGET_BYTES) for month in crowded)
        mean = _bytes(size / len(held))
        why = f"{len(held)} files of {mean} on average in {len(crowded)} closed months; {few} would do"
        return Proposal("compact", f"files of up to {_bytes(TARGET_BYTES)}, sorted by day", why, tuple(crowded))
    if unsorted:
        why = (
            f"a read of one day opens {_bytes(layout.day_bytes)}, {layout.day_share:.1f} times the day; "
            f"{len(unsorted)} closed months are not sorted, or their row groups are too long"
        )
        text = f"sorted by day, row groups of {group_rows(layout.rows // layout.months):,} rows"
        return Proposal("sort", text, why, tuple(unsorted))
    mean_month = layout.size / layout.months
    if layout.months > 1 and mean_month < SMALL_BYTES:
        why = f"{layout.months} months of {_bytes(mean_month)} on average; to open a file costs more than to read it"
        return Proposal("unpartition", "no partitions, one file", why, tuple(_months(files)))
    if loose:
        why = f"{len(loose)} closed months are compressed as quickly as new days, though nothing of them changes"
        return Proposal("compress", f"compressed by {DENSE}, sorted by day", why, tuple(loose))
    return None


def wins(before: Reads, after: Reads) -> bool:
    """Whether the second takes clearly less time, or about as much for clearly fewer bytes."""
    seconds, size = after.seconds / max(before.seconds, 1e-9), after.size / max(before.size, 1)
    return seconds <= WIN or (seconds <= TIE and size <= WIN)


def _advise(lake: Lake, table: Table, apply: bool) -> Advice:
    files = _closed_files(lake, table)
    layout, unsorted = _survey(table, files)
    proposal = propose(files, layout, unsorted, _loose(files))
    if proposal is None:
        return Advice(table, layout)
    delta = lake.open(table)
    assert delta is not None
    compression = DENSE if proposal.kind == "compress" else compression_of(delta)
    before, after = _try(table, files, proposal, compression)
    advice = Advice(table, layout, proposal, before, after)
    if not (apply and advice.is_worth_it and proposal.kind != "unpartition"):
        return advice
    if proposal.kind == "compress":
        compress(lake, table, DENSE)
    return Advice(table, layout, proposal, before, after, compact(lake, table, proposal.months))


def _closed_files(lake: Lake, table: Table) -> list[DataFile]:
    """The files of the months that a later sale has closed; all files of a table without months."""
    delta = lake.open(table)
    assert delta is not None
    files = _files(table, lake.path(table), delta)
    newest = lake.months(SILVER_SALES)[-1:]
    return [file for file in files if table.month is None or (file.month is not None and [file.month] < newest)]


def _files(table: Table, path: Path, delta: DeltaTable) -> list[DataFile]:
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    asked = (f"partition.{table.month}", f"min.{table.day}", f"max.{table.day}")
    told = [pl.col(name) if name in actions.columns else pl.lit(None, pl.Date).alias(name) for name in asked]
    rows = actions.select("path", "size_bytes", "num_records", *told).sort("path").iter_rows()
    return [DataFile(path / name, month, size, count, *span) for name, size, count, month, *span in rows]


def _survey(table: Table, files: Sequence[DataFile]) -> tuple[Layout, list[date]]:
    """The layout of some files, and the unsorted months among them."""
    months, opened, shares = _months(files), list[float](), dict[date, float]()
    for month in months if table.day else ():
        held = [file for file in files if file.month == month]
        groups = [group for file in held for group in _groups(file, str(table.day))]
        days = sorted({day for first, last, _ in groups for day in (first, last)})
        rows = sum(file.rows for file in held)
        if not days or rows < 2 * group_rows(rows):
            continue
        span = Days(days[0], days[-1] + ONE_DAY).every()
        a_day = sum(size for first, last, size in groups for day in span if first <= day <= last) / len(span)
        opened.append(a_day)
        shares[month] = a_day * len(span) / sum(size for _, _, size in groups)
    crowded = _crowded(files)
    small = [file for file in files if file.month in crowded and file.size < TARGET_BYTES / 2]
    layout = Layout(
        months=len(months),
        files=len(files),
        size=sum(file.size for file in files),
        rows=sum(file.rows for file in files),
        small_files=len(small),
        day_bytes=round(sum(opened) / len(opened)) if opened else 0,
        day_share=sum(shares.values()) / len(shares) if shares else 0.0,
    )
    ideal = {month: _ideal_share(files, month) for month in shares}
    return layout, [month for month, share in shares.items() if share > SORTED_ENOUGH * ideal[month]]


def _ideal_share(files: Sequence[DataFile], month: date) -> float:
    """What a day opens of a sorted month, in days: its own rows, and on average the rest of one row group."""
    rows, days = sum(file.rows for file in files if file.month == month), (next_month(month) - month).days
    return 1 + group_rows(rows) / max(rows / days, 1)


def _groups(file: DataFile, day: str) -> Iterator[tuple[date, date, int]]:
    """First day, last day and bytes of each row group, from the footer."""
    footer = pq.read_metadata(file.path)
    column = footer.schema.names.index(day)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        statistics = group.column(column).statistics
        size = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
        if statistics is not None and statistics.has_min_max:
            yield statistics.min, statistics.max, size


def _crowded(files: Sequence[DataFile]) -> list[date]:
    sizes: dict[date, list[int]] = {}
    for file in files:
        if file.month is not None:
            sizes.setdefault(file.month, []).append(file.size)
    return sorted(m for m, found in sizes.items() if len(found) > 1 and sum(found) / len(found) < TARGET_BYTES / 2)


def _loose(files: Sequence[DataFile]) -> list[date]:
    """The months with a file that could be compressed more densely."""
    kinds = {file.month: pq.read_metadata(file.path).row_group(0).column(0).compression for file in files if file.rows}
    return sorted(month for month, kind in kinds.items() if month is not None and kind != DENSE)


def _months(files: Sequence[DataFile]) -> list[date]:
    return sorted({file.month for file in files if file.month is not None})


def _try(table: Table, files: Sequence[DataFile], proposal: Proposal, compression: Compression) -> tuple[Reads, Reads]:
    """The typical reads of the largest months of a proposal, as they are and in a copy in the proposed layout."""
    sample = _sample(files, proposal)
    reads = _typical_reads(table, sample)
    if proposal.kind == "unpartition":
        reads = [None, *reads[-5 if table.day else -1 :]]  # of the newest month: all months are alike
    with tempfile.TemporaryDirectory(prefix="retail-layout-") as folder:
        path = Path(folder, "sample")
        rows = pl.concat([_with_month(table, file) for file in sample], how="vertical").collect()
        write_deltalake(
            path,
            rows.sort(table.day, maintain_order=True) if table.day else rows,
            partition_by=None if proposal.kind == "unpartition" or not table.month else [table.month],
            target_file_size=TARGET_BYTES,
            writer_properties=WriterProperties(
                max_row_group_size=group_rows(rows.height // max(len(_months(sample)), 1)), compression=compression
            ),
        )
        copied = _files(table, path, DeltaTable(path))
        return _measure(table, sample, reads), _measure(table, copied, reads)


def _sample(files: Sequence[DataFile], proposal: Proposal) -> list[DataFile]:
    """The files of the proposal's largest months, up to `SAMPLE_ROWS`; of all of them where months would go."""
    if proposal.kind == "unpartition":
        return [file for file in files if file.month in proposal.months]
    rows = {month: sum(file.rows for file in files if file.month == month) for month in proposal.months}
    chosen, taken = set[date](), 0
    for month in sorted(rows, key=lambda month: -rows[month]):
        if chosen and taken + rows[month] > SAMPLE_ROWS:
            break
        chosen.add(month)
        taken += rows[month]
    return [file for file in files if file.month in chosen]


def _typical_reads(table: Table, sample: Sequence[DataFile]) -> list[Days | None]:
    """Of each month: three days, a week, and all of it; of tables without days all of it."""
    reads = list[Days | None]()
    for month in _months(sample):
        reads.append(Days(month, next_month(month)))
        if table.day:
            starts = [month + timedelta(days=n) for n in (4, 14, 24)]
            reads += [Days(start, start + ONE_DAY) for start in starts]
            reads.append(Days(month + timedelta(days=7), month + timedelta(days=14)))
    return reads


def _measure(table: Table, files: Sequence[DataFile], reads: Sequence[Days | None]) -> Reads:
    opened = [[file for file in files if file.holds(days)] for days in reads]
    best = []
    for days, held in zip(reads, opened, strict=True):
        taken = list[float]()
        for _ in range(REPEATS):
            started = time.process_time()
            _read(table, held, days)
            taken.append(time.process_time() - started)
        best.append(min(taken))
    sizes = [_bytes_read(table, file, days) for days, held in zip(reads, opened, strict=True) for file in held]
    return Reads(sum(best), sum(sizes), sum(map(len, opened)))


def _read(table: Table, files: Sequence[DataFile], days: Days | None) -> None:
    """Read the rows of the days, as a scan does that has pruned the files by the log."""
    if not files:
        return
    rows = pl.scan_parquet([file.path for file in files], hive_partitioning=False)
    if table.day and days is not None:
        rows = rows.filter(pl.col(table.day).is_between(*days, closed="left"))
    rows.collect()


def _bytes_read(table: Table, file: DataFile, days: Days | None) -> int:
    """Bytes of the row groups that may hold rows of the days."""
    if table.day is None or days is None:
        return file.size
    return sum(size for first, last, size in _groups(file, table.day) if first < days.end and days.start <= last)


def _with_month(table: Table, file: DataFile) -> pl.LazyFrame:
    """The rows of a file with the column that only its folder tells."""
    rows = pl.scan_parquet(file.path, hive_partitioning=False)
    return rows.with_columns(pl.lit(file.month, pl.Date).alias(str(table.month)))


def _bytes(size: float) -> str:
    """Bytes as people say them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"
