"""The Delta tables of one platform: scan, overwrite by day range or month, and what changed since a version.

Every write is one Delta commit that replaces a named part of a table, so running it twice changes nothing. A commit
names the days it replaced and the source versions it was made from; that is how a reader of a table finds what changed
since it last looked. What the rows mean stays out (`transforms/`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from retail_platform.contracts import Table
from retail_platform.lakehouse.days import Days, days_in, month_of, next_month
from retail_platform.lakehouse.transactions import STAGING, DataFile, Replacement, commit_files, data_files

CHANGED_DAYS = "retail.changed_days"
"""Key in a commit's metadata: the day ranges that the commit replaced, as JSON [[start, end], …]."""

NOTE = "retail.note"
"""Key in a commit's metadata: how the rows of a whole table were made, in the words of their writer."""

MADE_BY = "retail.made_by"
"""Key in a commit's metadata: what ran when it was made."""

HOUSEKEEPING = ("OPTIMIZE", "VACUUM START", "VACUUM END", "CREATE TABLE", "ADD COLUMN")
"""Delta's names of operations after which every row is as it was."""

TABLE_CONFIGURATION: Mapping[str, str | None] = {
    "delta.checkpointInterval": "20",
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}


class VersionGoneError(Exception):
    """A table has no such version any more, or never had; the message says which can be read."""


class Lake:
    """The tables under one folder, each at `<root>/<layer>/<table>`."""

    def __init__(self, root: Path, made_by: str | None = None) -> None:
        """Nothing is opened or made.

        Args:
            root: the folder.
            made_by: what runs, for the record of every commit: `run <id>`.
        """
        self.root = root
        self.signature: dict[str, str] = {} if made_by is None else {MADE_BY: made_by}

    def path(self, table: Table) -> Path:
        """Where the table lies."""
        return self.root / table.layer / table.name

    def version(self, table: Table) -> int | None:
        """The newest Delta version of the table; None before its first write."""
        delta = self.open(table)
        return None if delta is None else delta.version()

    def version_at(self, table: Table, moment: datetime) -> int:
        """The version of the table that was the newest at a moment.

        Args:
            table: which one.
            moment: UTC unless it says its zone.

        Raises:
            VersionGoneError: the table, or its log, begins later.
        """
        delta = self.open(table)
        wanted = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
        commits = [] if delta is None else delta.history()
        if found := [commit["version"] for commit in commits if commit["timestamp"] <= wanted]:
            return int(max(found))
        first = f"begins {datetime.fromtimestamp(commits[-1]['timestamp'] / 1000, UTC)}" if commits else "is empty"
        raise VersionGoneError(f"{table} has no version as old as {moment}; its log {first}.")

    def scan(
        self, table: Table, days: Days | Sequence[Days] | None = None, version: int | datetime | None = None
    ) -> pl.LazyFrame:
        """The table, or the rows of some days, lazily.

        Args:
            table: what to read; without a first write it has no rows. A column that its contract got since the last
                write is null.
            days: one or more day ranges; None reads all, rows without a day included.
            version: an older Delta version, or a moment (UTC unless it says its zone).

        Raises:
            VersionGoneError: there is no such version.
        """
        delta = self.open(table, self.version_at(table, version) if isinstance(version, datetime) else version)
        if delta is None:
            return table.empty().lazy()
        present = {field.name for field in delta.schema().fields}
        later = [pl.lit(None, dtype).alias(name) for name, dtype in table.schema.items() if name not in present]
        frame = pl.scan_delta(delta).with_columns(later).select(list(table.schema))
        return frame if days is None else frame.filter(_in_days(table, days))

    def scan_undated(self, table: Table, version: int | None = None) -> pl.LazyFrame:
        """The rows of a day-keyed table that have no day."""
        return self.scan(table, version=version).filter(pl.col(_month(table)).is_null())

    def scan_months(self, table: Table, months: Sequence[date]) -> pl.LazyFrame:
        """The rows of whole months, named by their first days."""
        return self.scan(table).filter(pl.col(_month(table)).is_in(list(months)))

    def row_count(self, table: Table) -> int:
        """The rows of the table; read from the log alone, so that it costs the same however many there are."""
        delta = self.open(table)
        if delta is None:
            return 0
        counts = pl.DataFrame(delta.get_add_actions(flatten=True))["num_records"]
        if counts.null_count():  # written by something that counts none
            return int(self.scan(table).select(pl.len()).collect().item())
        return int(counts.sum())

    def newest_day(self, table: Table) -> date | None:
        """The newest day of a day-keyed table that has rows; read from the log alone."""
        delta = self.open(table)
        if delta is None:
            return None
        files = pl.DataFrame(delta.get_add_actions(flatten=True))
        newest = files[f"max.{table.day}"].max() if files.height else None
        return newest if isinstance(newest, date) else None

    def months(self, table: Table) -> list[date]:
        """The months for which the table holds files, in order; read from the log alone."""
        return sorted({file.month for file in self.files(table) if file.month is not None})

    def month_groups(self, table: Table, row_count: int, days: Days | None = None) -> list[list[date]]:
        """The months of a table that start in the days, in order, in groups of about so many rows; from the log alone.

        A month with more rows is a group by itself.
        """
        delta = self.open(table)
        if delta is None:
            return []
        files = pl.DataFrame(delta.get_add_actions(flatten=True)).rename({f"partition.{_month(table)}": "month"})
        counts = files.drop_nulls("month").group_by("month").agg(rows=pl.col("num_records").sum()).sort("month")
        groups, held = list[list[date]](), 0
        for month, rows in counts.iter_rows():
            if days is not None and month not in days:
                continue
            if groups and held + rows <= row_count:
                groups[-1].append(month)
                held += rows
            else:
                groups.append([month])
                held = rows
        return groups

    def replace_days(
        self,
        table: Table,
        frame: pl.DataFrame,
        days: Sequence[Days],
        consumed: Mapping[str, int] | None = None,
        note: str | None = None,
        *,
        undated: bool = False,
    ) -> int:
        """Replace the rows of some days by the frame's, in one commit.

        Args:
            table: a table with a day column.
            frame: exactly the rows of those days, in the contract's columns.
            days: the day ranges.
            consumed: the `position` of every source the rows were made from.
            undated: whether all rows without a day are replaced with them: they belong to no range, and what concerns
                them travels with every run.
            note: what the writer wants to know again next time (`note`).

        Returns:
            The new Delta version.
        """
        return self._overwrite(table, frame, _days_sql(table, days, undated), consumed, days, note)

    def replace_months(
        self, table: Table, frame: pl.DataFrame, months: Sequence[date], consumed: Mapping[str, int] | None = None
    ) -> int:
        """Replace whole months by the frame's rows, in one commit; as `replace_days`."""
        listed = ", ".join(f"'{month}'" for month in months)
        predicate = f"{_month(table)} IN ({listed})" if months else "false"
        return self._overwrite(table, frame, predicate, consumed, [Days(m, next_month(m)) for m in months])

    def replace(
        self,
        table: Table,
        frame: pl.DataFrame,
        changed: Sequence[Days] = (),
        consumed: Mapping[str, int] | None = None,
        note: str | None = None,
    ) -> int:
        """Replace the whole table, in one commit; no commit when it already holds the same rows in the same order.

        A commit is also made when the same rows were made from a newer source, so that they are not made again.

        Args:
            table: what to write.
            frame: all its rows.
            changed: the days for which readers of the table must look again (a dimension's re-keyed months).
            consumed: the `position` of every source the rows were made from.
            note: what the writer wants to know again next time (`note`); another one than before is a commit too.

        Returns:
            The newest Delta version.
        """
        delta = self.open(table)
        made_from = (consumed or {}).items()
        is_newest = delta is not None and all(delta.transaction_version(name) == at for name, at in made_from)
        is_noted = self.note(table) == note
        if delta is not None and is_newest and is_noted and self.scan(table).collect().equals(frame):
            return delta.version()
        return self._overwrite(table, frame, None, consumed, changed, note)

    def replace_where(
        self, table: Table, frame: pl.DataFrame, condition: str, changed: Sequence[Days], consumed: Mapping[str, int]
    ) -> int:
        """Replace the rows for which a condition in SQL holds by the frame's, for which it holds too; as `replace`."""
        return self._overwrite(table, frame, condition, consumed, changed)

    def add(
        self,
        table: Table,
        frame: pl.DataFrame,
        changed: Sequence[Days] = (),
        consumed: Mapping[str, int] | None = None,
        note: str | None = None,
    ) -> int:
        """Add rows, or none, in one commit, without a look at those that the table has; as `replace`."""
        return self._write(table, frame, changed, consumed, note, mode="append")

    def files(
        self,
        table: Table,
        days: Days | Sequence[Days] | None = None,
        version: int | None = None,
        *,
        undated: bool = False,
    ) -> list[DataFile]:
        """The files in which rows of some days may be, in order; read from the log alone.

        Args:
            table: what to read; without a first write it has no files.
            days: one or more day ranges; None takes every file, those of rows without a day included.
            version: an older Delta version.
            undated: whether the files of rows without a day come along with those of `days`.
        """
        delta = self.open(table, version)
        files = [] if delta is None else data_files(table, self.path(table), delta)
        if days is None:
            return files
        ranges = [days] if isinstance(days, Days) else days
        return [file for file in files if file.touches(ranges) or (undated and file.month is None)]

    def begin_replacement(self, table: Table, days: Sequence[Days], *, undated: bool = False) -> Replacement:
        """Begin new files for whole days, to be written by somebody else; nothing is visible before they are committed.

        Args:
            table: a table with a day column.
            days: the day ranges.
            undated: whether the rows without a day are replaced too.
        """
        _follow_contract(table, self.open(table) or self._create(table))
        replaced = frozenset(self.files(table, days, undated=undated))
        return Replacement(table, tuple(days), undated, replaced, self.path(table) / f"{STAGING}{uuid4().hex}")

    def commit_replacement(self, replacement: Replacement, consumed: Mapping[str, int] | None = None) -> int:
        """Show the new files instead of those they replace, in one commit.

        Args:
            replacement: its files hold exactly the rows of its days, and those that its mixed files had of other days.
            consumed: the `position` of every source the rows were made from.

        Returns:
            The new Delta version.

        Raises:
            ReplacedMeanwhileError: rows of those days were committed since it was begun; nothing is replaced.
        """
        table, days = replacement.table, replacement.days
        properties = self._commit_properties(days, consumed, retries=0)
        while True:
            delta = DeltaTable(self.path(table))
            present = self.files(table, days, delta.version(), undated=replacement.undated)
            try:
                commit_files(replacement, self.path(table), delta, properties, present)
            except CommitFailedError:
                # Another commit came first, perhaps of other days: look again. Without one it is another trouble.
                if self.version(table) == delta.version():
                    raise
            else:
                replacement.discard()
                return delta.version() + 1

    def note(self, table: Table) -> str | None:
        """What the newest commit that changed rows says of how they were made; None when it says nothing."""
        delta = self.open(table)
        for commits in (1, 16, None):  # the newest says it, but for a few commits of maintenance
            for commit in [] if delta is None else delta.history(commits):
                if commit["operation"] not in HOUSEKEEPING:
                    return commit.get(NOTE)
        return None

    def position(self, source: Table) -> dict[str, int]:
        """Which table this is and how far it has come: what a consumer records as `consumed`.

        The name carries the Delta table's id, so that a table made anew is not taken for the old one.
        """
        delta = self.open(source)
        return {} if delta is None else {identity(source, delta): delta.version()}

    def consumed(self, table: Table, source: Table) -> int | None:
        """The version of `source` that the table's rows were made from; None when never recorded."""
        delta, origin = self.open(table), self.open(source)
        return None if delta is None or origin is None else delta.transaction_version(identity(source, origin))

    def day_states(self, table: Table) -> dict[date | None, str]:
        """Day (None: rows without one) -> fingerprint, of a table of day states."""
        return dict(self.scan(table).select("sale_date", "fingerprint").collect().iter_rows())

    def changed_days(self, table: Table, since: int | None) -> set[date] | None:
        """The days for which rows were replaced after a version.

        Returns:
            The days, or None when they cannot be told (no version given, or its log is gone): take all.
        """
        delta = self.open(table)
        if delta is None or since is None or since > delta.version():
            return None
        commits = [commit for commit in delta.history(delta.version() - since) if commit["version"] > since]
        if len(commits) < delta.version() - since:
            return None
        return _named_days(commits)

    def changed_months(self, table: Table, since: int | None) -> list[date]:
        """The months in which rows were replaced after a version, in order; all the table's months when unknown."""
        days = self.changed_days(table, since)
        return self.months(table) if days is None else sorted({month_of(day) for day in days})

    def open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        """The Delta table as deltalake has it, at a version or the newest; None before its first write.

        Raises:
            VersionGoneError: there is no such version.
        """
        path = self.path(table)
        if not (path / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(path, version=version)
        except DeltaError as error:
            if version is None:
                raise
            raise VersionGoneError(
                f"{table} has no version {version}: `retail lake history {table}` lists those it has."
            ) from error

    def _create(self, table: Table) -> DeltaTable:
        schema = table.empty().to_arrow().schema
        return DeltaTable.create(
            self.path(table),
            schema,
            mode="ignore",
            partition_by=[table.month] if table.month else None,
            name=str(table),
            configuration=dict(TABLE_CONFIGURATION),
            commit_properties=CommitProperties(custom_metadata={CHANGED_DAYS: "[]"} | self.signature),
        )

    def _overwrite(
        self,
        table: Table,
        frame: pl.DataFrame,
        predicate: str | None,
        consumed: Mapping[str, int] | None,
        days: Sequence[Days],
        note: str | None = None,
    ) -> int:
        if predicate == "false":
            return (self.open(table) or self._create(table)).version()
        return self._write(table, frame, days, consumed, note, mode="overwrite", predicate=predicate)

    def _write(
        self,
        table: Table,
        frame: pl.DataFrame,
        days: Sequence[Days],
        consumed: Mapping[str, int] | None,
        note: str | None,
        mode: Literal["append", "overwrite"],
        predicate: str | None = None,
    ) -> int:
        delta = self.open(table) or self._create(table)
        _follow_contract(table, delta)
        properties, rows = self._commit_properties(days, consumed, note), frame.select(list(table.schema))
        if mode == "append":
            write_deltalake(delta, rows, mode=mode, commit_properties=properties)
        else:
            write_deltalake(delta, rows, mode=mode, predicate=predicate, commit_properties=properties)
        delta.update_incremental()
        return delta.version()

    def _commit_properties(
        self,
        days: Sequence[Days],
        consumed: Mapping[str, int] | None,
        note: str | None = None,
        retries: int | None = None,
    ) -> CommitProperties:
        """What a commit says of itself: its days, the source versions its rows were made from, who made it, a note."""
        named = json.dumps([[str(start), str(end)] for start, end in days])
        return CommitProperties(
            custom_metadata={CHANGED_DAYS: named} | self.signature | ({} if note is None else {NOTE: note}),
            app_transactions=[Transaction(source, version) for source, version in (consumed or {}).items()],
            max_commit_retries=retries,
        )


def _follow_contract(table: Table, delta: DeltaTable) -> None:
    """Add the columns that the contract got since the table was made; they are null in the rows that are there."""
    present = {field.name for field in delta.schema().fields}
    wanted = Schema.from_arrow(table.empty().to_arrow().schema).fields
    if new := [field for field in wanted if field.name not in present]:
        unchanged = CommitProperties(custom_metadata={CHANGED_DAYS: "[]"})
        delta.alter.add_columns(new, commit_properties=unchanged)


def identity(table: Table, delta: DeltaTable) -> str:
    """Which table this is: its name and its Delta id."""
    return f"{table}/{delta.metadata().id}"


def _month(table: Table) -> str:
    if table.month is None:
        raise ValueError(f"{table} is not partitioned by month; its contract would have to name the column")
    return table.month


def _in_days(table: Table, days: Days | Sequence[Days]) -> pl.Expr:
    ranges = [days] if isinstance(days, Days) else days
    return pl.any_horizontal(
        pl.lit(False), *(_between(table, pl.col(str(table.day)), pl.col(_month(table)), r) for r in ranges)
    )


def _between(table: Table, day: pl.Expr, month: pl.Expr, days: Days) -> pl.Expr:
    in_months = (month >= days.start.replace(day=1)) & (month < days.end)
    return in_months & (day >= days.start) & (day < days.end)


def _days_sql(table: Table, days: Sequence[Days], undated: bool) -> str:
    month, day = _month(table), table.day
    parts = [f"{month} IS NULL"] if undated else []
    parts += (
        f"({month} >= '{start.replace(day=1)}' AND {month} < '{end}' AND {day} >= '{start}' AND {day} < '{end}')"
        for start, end in days
    )
    return " OR ".join(parts) or "false"


def _named_days(commits: Sequence[Mapping[str, Any]]) -> set[date] | None:
    """The days that the commits say they replaced; None when one that wrote rows does not say."""
    changed: set[date] = set()
    for commit in commits:
        if CHANGED_DAYS in commit:
            ranges = json.loads(commit[CHANGED_DAYS])
            changed |= days_in([Days(date.fromisoformat(start), date.fromisoformat(end)) for start, end in ranges])
        elif commit["operation"] not in HOUSEKEEPING:
            return None
    return changed
