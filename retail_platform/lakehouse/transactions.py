"""Commits of files that others wrote: which files some days are in, and the transaction that puts new ones there.

For engines whose workers write Parquet by themselves: into a folder of the table that no commit names, until one does.
What the rows mean stays out, and so does how they are written.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import polars as pl
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from retail_platform.contracts import Table
from retail_platform.lakehouse.days import ONE_DAY, Days, next_month

NO_MONTH = "__HIVE_DEFAULT_PARTITION__"
"""The month in the name of the folder of rows without one, for all who write Parquet in folders."""

STAGING = "staging-"
"""Prefix of the folders of files that no commit names yet. No underscore: vacuum leaves what starts with one."""

IN_STATS = (date, datetime, int, str)
"""What the log keeps the least and the largest of. Decimals are numbers there, which readers take for floats."""

LONGEST_IN_STATS = 64
"""Characters of a value; as long as delta-rs writes them."""


class ReplacedMeanwhileError(Exception):
    """Another commit wrote rows of the same days since these were staged; nothing was committed: run it again."""


class DataFile(NamedTuple):
    """A Parquet file of one version of a table, as its log tells it.

    Attributes:
        path: where it is.
        month: its partition; None for the rows without a day, and where a table has no months.
        size: in bytes.
        rows: how many it holds.
        span: from the first of its days to the last; None where `month` is.
    """

    path: Path
    month: date | None
    size: int
    rows: int
    span: Days | None

    def touches(self, days: Sequence[Days]) -> bool:
        """Whether it may hold rows of the days."""
        return self.span is not None and any(self.span.start < end and start < self.span.end for start, end in days)

    def is_within(self, days: Sequence[Days]) -> bool:
        """Whether it can hold no row of another day."""
        return self.span is None or all(any(day in each for each in days) for day in self.span.every())


@dataclass(frozen=True)
class Replacement:
    """New files for whole days of a table, from when they are begun until they are committed.

    Attributes:
        table: the table.
        days: the day ranges that are replaced.
        undated: whether the rows without a day are replaced too.
        replaced: the files of the table that hold such rows, and go.
        folder: where the new files are written, each in a folder `<month column>=<month>`.
    """

    table: Table
    days: tuple[Days, ...]
    undated: bool
    replaced: frozenset[DataFile]
    folder: Path

    @property
    def mixed(self) -> list[DataFile]:
        """Which of the replaced files hold rows of other days too; these rows have to be in the new files."""
        return sorted(file for file in self.replaced if not file.is_within(self.days))

    def files(self) -> list[Path]:
        """The new files, in order."""
        return sorted(self.folder.glob(f"{self.table.month}=*/*.parquet"))

    def discard(self) -> None:
        """Remove the new files, for they will not be committed."""
        shutil.rmtree(self.folder, ignore_errors=True)


def data_files(table: Table, path: Path, delta: DeltaTable) -> list[DataFile]:
    """The files of a version of a table that lies at a path, in order, from its log alone."""
    actions = pl.DataFrame(delta.get_add_actions(flatten=True))
    asked = {"month": f"partition.{table.month}", "first": f"min.{table.day}", "last": f"max.{table.day}"}
    told = (
        (pl.col(column) if column in actions.columns else pl.lit(None, pl.Date)).alias(name)
        for name, column in asked.items()
    )
    rows = actions.select("path", "size_bytes", "num_records", *told).sort("path").iter_rows()
    return [
        DataFile(path / unquote(name), month, size, count, _span(month, first, last))
        for name, size, count, month, first, last in rows
    ]


def commit_files(
    replacement: Replacement, path: Path, delta: DeltaTable, properties: CommitProperties, present: Sequence[DataFile]
) -> None:
    """Take the new files for those that hold the days, in one transaction on top of that very version.

    Args:
        replacement: what is replaced, and the new files.
        path: where the table lies.
        delta: the version.
        properties: what the commit says, and that it is not tried on top of another version.
        present: the files of the version that hold rows of those days.

    Raises:
        ReplacedMeanwhileError: they are not those that held them when the new files were begun.
        deltalake.exceptions.CommitFailedError: another commit came first.
    """
    if frozenset(present) != replacement.replaced:
        raise ReplacedMeanwhileError(
            f"{replacement.table}: another run wrote rows of the same days while these were made. Nothing was "
            "replaced; run it again."
        )
    month, now = str(replacement.table.month), time.time_ns() // 1_000_000
    gone = [
        RemoveAction(_in_log(file.path, path), True, now, file.size, {month: _partition(file.month)})
        for file in present
    ]
    new = [_add_action(file, path, month) for file in _beside_the_others(replacement, path)]
    delta.create_write_transaction([*gone, *new], "append", delta.schema(), [month], commit_properties=properties)


def _span(month: date | None, first: date | None, last: date | None) -> Days | None:
    """The days of a file; the whole month when the log does not say."""
    if month is None:
        return None
    return Days(month, next_month(month)) if first is None or last is None else Days(first, last + ONE_DAY)


def _beside_the_others(replacement: Replacement, path: Path) -> list[Path]:
    """Move the new files, which are still not named by any commit, to where files of their months lie.

    Readers that tell partitions by folders (Spark, DuckDB) need all of a table's files equally deep.
    """
    name = replacement.folder.name
    for file in replacement.files():
        (path / file.parent.name).mkdir(exist_ok=True)
        file.rename(path / file.parent.name / f"{name}-{file.name}")
    return sorted(path.glob(f"{replacement.table.month}=*/{name}-*.parquet"))


def _partition(month: date | None) -> str | None:
    return None if month is None else str(month)


def _in_log(file: Path, path: Path) -> str:
    return quote(file.relative_to(path).as_posix(), safe="/=")


def _add_action(file: Path, path: Path, month: str) -> AddAction:
    value = unquote(file.parent.name.partition("=")[2])
    status = file.stat()
    return AddAction(
        path=_in_log(file, path),
        size=status.st_size,
        partition_values={month: None if value == NO_MONTH else value},
        modification_time=status.st_mtime_ns // 1_000_000,
        data_change=True,
        stats=json.dumps(file_stats(file)),
    )


def file_stats(file: Path) -> dict[str, Any]:
    """What a commit tells of the values in a Parquet file, for readers to leave it out by; from its footer."""
    footer = pq.read_metadata(file)
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    stats: dict[str, Any] = {"numRecords": footer.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for i, name in enumerate(footer.schema.names):
        chunks = [group.column(i).statistics for group in groups]
        if all(chunk is not None and chunk.has_null_count for chunk in chunks):
            stats["nullCount"][name] = sum(chunk.null_count for chunk in chunks)
        valued = [chunk for chunk in chunks if chunk is None or chunk.num_values]
        if valued and all(chunk is not None and chunk.has_min_max and _is_told(chunk) for chunk in valued):
            stats["minValues"][name] = _text(min(chunk.min for chunk in valued))
            stats["maxValues"][name] = _text(max(chunk.max for chunk in valued))
    return stats


def _is_told(chunk: pq.Statistics) -> bool:
    """Whether the log takes the least and the largest value: exact in JSON, and short."""
    ends = (chunk.min, chunk.max)
    return all(isinstance(end, IN_STATS) and len(str(end)) <= LONGEST_IN_STATS for end in ends)


def _text(value: date | datetime | int | str) -> int | str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, date) else value
