"""The Delta tables of one platform: scan, overwrite by day range or month, and what changed since a version.

Every write is one Delta commit that replaces a named part of a table, so running it twice changes nothing. A commit
names the days it replaced and the source versions it was made from; that is how a reader of a table finds what changed
since it last looked. What the rows mean stays out (`transforms/`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake

from retail_platform.contracts import Table
from retail_platform.lakehouse.days import Days, days_in, month_of, next_month

CHANGED_DAYS = "retail.changed_days"
"""Key in a commit's metadata: the day ranges that the commit replaced, as JSON [[start, end], …]."""

NOTE = "retail.note"
"""Key in a commit's metadata: how the rows of a whole table were made, in the words of their writer."""

KEEPS_ROWS = ("OPTIMIZE", "VACUUM START", "VACUUM END")
"""Operations of commits that change files and no rows."""

TABLE_CONFIGURATION: Mapping[str, str | None] = {
    "delta.checkpointInterval": "20",
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}


class Lake:
    """The tables under one folder, each at `<root>/<layer>/<table>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: Table) -> Path:
        """Where the table lies."""
        return self.root / table.layer / table.name

    def version(self, table: Table) -> int | None:
        """The newest Delta version of the table; None before its first write."""
        delta = self._open(table)
        return None if delta is None else delta.version()

    def scan(self, table: Table, days: Days | Sequence[Days] | None = None, version: int | None = None) -> pl.LazyFrame:
        """The table, or the rows of some days, lazily.

        Args:
            table: what to read; without a first write it has no rows. A column that its contract got since the last
                write is null.
            days: one or more day ranges; None reads all, rows without a day included.
            version: an older Delta version.
        """
        delta = self._open(table, version)
        if delta is None:
            return table.empty().lazy()
        present = {field.name for field in delta.schema().fields}
        later = [pl.lit(None, dtype).alias(name) for name, dtype in table.schema.items() if name not in present]
        frame = pl.scan_delta(delta).with_columns(later).select(list(table.schema))
        return frame if days is None else frame.filter(_in_days(table, days))

    def scan_undated(self, table: Table) -> pl.LazyFrame:
        """The rows of a day-keyed table that have no day."""
        return self.scan(table).filter(pl.col(_month(table)).is_null())

    def scan_months(self, table: Table, months: Sequence[date]) -> pl.LazyFrame:
        """The rows of whole months, named by their first days."""
        return self.scan(table).filter(pl.col(_month(table)).is_in(list(months)))

    def row_count(self, table: Table) -> int:
        """The rows of the table; read from the log alone, so that it costs the same however many there are."""
        delta = self._open(table)
        if delta is None:
            return 0
        counts = pl.DataFrame(delta.get_add_actions(flatten=True))["num_records"]
        if counts.null_count():  # written by something that counts none
            return int(self.scan(table).select(pl.len()).collect().item())
        return int(counts.sum())

    def newest_day(self, table: Table) -> date | None:
        """The newest day of a day-keyed table that has rows; read from the log alone."""
        delta = self._open(table)
        if delta is None:
            return None
        files = pl.DataFrame(delta.get_add_actions(flatten=True))
        newest = files[f"max.{table.day}"].max() if files.height else None
        return newest if isinstance(newest, date) else None

    def months(self, table: Table) -> list[date]:
        """The months for which the table holds files, in order; read from the log alone."""
        delta = self._open(table)
        if delta is None:
            return []
        values = pl.DataFrame(delta.get_add_actions(flatten=True))[f"partition.{_month(table)}"]
        return values.drop_nulls().unique().sort().to_list()

    def month_groups(self, table: Table, row_count: int, days: Days | None = None) -> list[list[date]]:
        """The months of a table that start in the days, in order, in groups of about so many rows; from the log alone.

        A month with more rows is a group by itself.
        """
        delta = self._open(table)
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
    ) -> int:
        """Replace the rows of some days by the frame's, in one commit.

        Args:
            table: a table with a day column.
            frame: exactly the rows of those days, in the contract's columns.
            days: the day ranges.
            consumed: the `position` of every source the rows were made from.
            note: what the writer wants to know again next time (`note`).

        Returns:
            The new Delta version.
        """
        return self._overwrite(table, frame, _days_sql(table, days), consumed, days, note)

    def replace_months(
        self, table: Table, frame: pl.DataFrame, months: Sequence[date], consumed: Mapping[str, int] | None = None
    ) -> int:
        """Replace whole months by the frame's rows, in one commit; as `replace_days`."""
        listed = ", ".join(f"'{month}'" for month in months)
        predicate = f"{_month(table)} IN ({listed})" if months else "false"
        return self._overwrite(table, frame, predicate, consumed, [Days(m, next_month(m)) for m in months])

    def replace_days_and_undated(self, table: Table, frame: pl.DataFrame, days: Days) -> int:
        """Replace the rows of a day range and all rows without a day by the frame's, in one commit.

        Rows without a day belong to no range; what concerns them travels with every run.
        """
        return self._overwrite(table, frame, f"{_month(table)} IS NULL OR {_days_sql(table, [days])}", None, [days])

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
        delta = self._open(table)
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

    def note(self, table: Table) -> str | None:
        """What the newest commit that wrote rows says of how they were made; None when it says nothing."""
        delta = self._open(table)
        commits = [] if delta is None else delta.history()
        return next((commit.get(NOTE) for commit in commits if commit["operation"] not in KEEPS_ROWS), None)

    def position(self, source: Table) -> dict[str, int]:
        """Which table this is and how far it has come: what a consumer records as `consumed`.

        The name carries the Delta table's id, so that a table made anew is not taken for the old one.
        """
        delta = self._open(source)
        return {} if delta is None else {_identity(source, delta): delta.version()}

    def consumed(self, table: Table, source: Table) -> int | None:
        """The version of `source` that the table's rows were made from; None when never recorded."""
        delta, origin = self._open(table), self._open(source)
        return None if delta is None or origin is None else delta.transaction_version(_identity(source, origin))

    def day_states(self, table: Table) -> dict[date | None, str]:
        """Day (None: rows without one) -> fingerprint, of a table of day states."""
        return dict(self.scan(table).select("sale_date", "fingerprint").collect().iter_rows())

    def changed_days(self, table: Table, since: int | None) -> set[date] | None:
        """The days for which rows were replaced after a version.

        Returns:
            The days, or None when they cannot be told (no version given, or its log is gone): take all.
        """
        delta = self._open(table)
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

    def _open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        path = self.path(table)
        if not (path / "_delta_log").is_dir():
            return None
        return DeltaTable(path, version=version)

    def _create(self, table: Table) -> DeltaTable:
        schema = table.empty().to_arrow().schema
        return DeltaTable.create(
            self.path(table),
            schema,
            mode="ignore",
            partition_by=[table.month] if table.month else None,
            name=str(table),
            configuration=dict(TABLE_CONFIGURATION),
            commit_properties=CommitProperties(custom_metadata={CHANGED_DAYS: "[]"}),
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
            return (self._open(table) or self._create(table)).version()
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
        delta = self._open(table) or self._create(table)
        _follow_contract(table, delta)
        named = json.dumps([[str(start), str(end)] for start, end in days])
        properties = CommitProperties(
            custom_metadata={CHANGED_DAYS: named} | ({} if note is None else {NOTE: note}),
            app_transactions=[Transaction(source, version) for source, version in (consumed or {}).items()],
        )
        rows = frame.select(list(table.schema))
        if mode == "append":
            write_deltalake(delta, rows, mode=mode, commit_properties=properties)
        else:
            write_deltalake(delta, rows, mode=mode, predicate=predicate, commit_properties=properties)
        delta.update_incremental()
        return delta.version()


def _follow_contract(table: Table, delta: DeltaTable) -> None:
    """Add the columns that the contract got since the table was made; they are null in the rows that are there."""
    present = {field.name for field in delta.schema().fields}
    wanted = Schema.from_arrow(table.empty().to_arrow().schema).fields
    if new := [field for field in wanted if field.name not in present]:
        unchanged = CommitProperties(custom_metadata={CHANGED_DAYS: "[]"})
        delta.alter.add_columns(new, commit_properties=unchanged)


def _identity(table: Table, delta: DeltaTable) -> str:
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


def _days_sql(table: Table, days: Sequence[Days]) -> str:
    month, day = _month(table), table.day
    parts = (
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
        elif commit["operation"] not in (*KEEPS_ROWS, "CREATE TABLE"):
            return None
    return changed
