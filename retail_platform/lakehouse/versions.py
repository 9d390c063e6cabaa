"""Time travel: the commits of a table, what each did, and going back to the rows of an older version.

A restore is a commit like any other: readers see it at once, and the versions before it stay. Reading an older version
is `Lake.scan(table, version=…)`. Which days have to be run after a restore is answered here; running them stays out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from retail_platform.contracts import BRONZE_DAYS, SILVER_DAYS, TABLES, Table
from retail_platform.lakehouse.days import Days, next_month, stretches
from retail_platform.lakehouse.lake import CHANGED_DAYS, HOUSEKEEPING, MADE_BY, Lake, VersionGoneError, identity

STATES = (BRONZE_DAYS, SILVER_DAYS)
"""The tables that say which deliveries the days of the tables beside them are made of."""

ROWS = "retail.rows"
"""Key in the metadata of a restore: how many rows it added and removed, as JSON; Delta tells of files only."""


@dataclass(frozen=True)
class Commit:
    """One version of a table.

    Attributes:
        version: its number.
        at: when it was committed, UTC.
        operation: Delta's name of it: WRITE, OPTIMIZE, RESTORE, ….
        days: the day ranges it replaced; none when it changed no row; None when it does not say (a whole table).
        rows_added: rows it wrote that were not there; None when the log does not tell.
        rows_removed: rows that were there and are not any more.
        made_by: what ran: `run <id>`, or a command; None for commits before this was recorded.
        made_from: source table -> its version that the rows were made from, where the table records it.
    """

    version: int
    at: datetime
    operation: str
    days: tuple[Days, ...] | None
    rows_added: int | None
    rows_removed: int | None
    made_by: str | None
    made_from: Mapping[str, int]


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes:
        version: the newest version afterwards; that of before where no row differed.
        days: the days whose rows differed (None among them: rows without a day); None when the table has no days.
        is_changed: whether there was anything to restore.
    """

    version: int
    days: frozenset[date | None] | None
    is_changed: bool


class RestoreError(Exception):
    """A table is not restored by itself; the message says what to do instead."""


def history(lake: Lake, table: Table, limit: int | None = None) -> list[Commit]:
    """The commits that the table's log still holds, newest first.

    Args:
        lake: where the table is.
        table: which one; without a first write it has none.
        limit: how many at most.
    """
    path = lake.path(table)
    if lake.version(table) is None:
        return []
    told = DeltaTable(path).history(limit)
    rows, commits = _rows_of_files(path, told[-1]["version"] - 1), []
    for commit in reversed(told):
        actions = _actions(path, commit["version"])
        added, removed = _row_changes(rows, actions, commit)
        commits.append(
            Commit(
                version=commit["version"],
                at=datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
                operation=commit["operation"],
                days=_days(commit),
                rows_added=added,
                rows_removed=removed,
                made_by=commit.get(MADE_BY),
                made_from={txn["appId"].partition("/")[0]: txn["version"] for txn in actions.get("txn", ())},
            )
        )
    return commits[::-1]


def restore(lake: Lake, table: Table, version: int) -> Restored:
    """Put back the rows of an older version, as a new commit.

    The commit names the days that differ, so that readers look at them again, and what the old rows were made from, so
    that what has changed in the sources since is seen again. The states of days that differ are withdrawn first: they
    wait for a run, which makes them from the deliveries again. The caller holds the lake's lock.

    Args:
        lake: where the table is.
        table: which one.
        version: the version whose rows are wanted.

    Raises:
        RestoreError: the table holds the states of days, which are true of the newest rows only.
        VersionGoneError: there is no such version, or files of it have been vacuumed.
    """
    if table in STATES:
        raise RestoreError(
            f"{table} says which deliveries the rows of {table.layer}.sales are made of, and is true of its newest "
            f"rows only. Restore {table.layer}.sales; the states of the days that differ go with it."
        )
    delta, old = lake.open(table), lake.open(table, version)
    if delta is None or old is None:
        raise VersionGoneError(f"{table} was never written; nothing can be restored.")
    require_files(table, old)
    differing, rows = _differences(lake, table, version)
    if not differing:
        return Restored(delta.version(), None if table.day is None else frozenset(), False)
    days = _withdraw_states(lake, table, differing) if table.day else None
    properties = CommitProperties(
        custom_metadata={**_named(table, differing), ROWS: json.dumps(rows), **lake.signature},
        app_transactions=list(_positions_of(lake, delta, old)),
    )
    try:
        delta.restore(version, commit_properties=properties)
    except DeltaError as error:
        raise VersionGoneError(f"Version {version} of {table} cannot be restored: {error}") from error
    restored = lake.version(table)
    assert restored is not None
    return Restored(restored, days, True)


def require_files(table: Table, delta: DeltaTable) -> None:
    """Make sure that every file of a version is there.

    Raises:
        VersionGoneError: some were vacuumed.
    """
    uris = delta.file_uris()
    missing = sum(not Path(uri).exists() for uri in uris)
    if missing:
        raise VersionGoneError(
            f"Version {delta.version()} of {table} is gone: {missing} of its {len(uris)} files have been vacuumed. "
            f"`retail lake history {table}` lists the versions; those of the last 7 days can be read and restored. An "
            "older state comes back by running its days again: the deliveries are kept."
        )


def _rows_of_files(path: Path, version: int) -> dict[str, int]:
    """File -> rows, of a version; none before the first, or where the log does not reach."""
    try:
        actions = pl.DataFrame(DeltaTable(path, version=version).get_add_actions()) if version >= 0 else None
    except DeltaError:
        return {}
    return {} if actions is None else dict(actions.select("path", "num_records").iter_rows())


def _actions(path: Path, version: int) -> dict[str, list[dict[str, Any]]]:
    """The actions of a commit by kind."""
    actions: dict[str, list[dict[str, Any]]] = {}
    for line in (path / "_delta_log" / f"{version:020}.json").read_text("utf-8").splitlines():
        for kind, action in json.loads(line).items():
            actions.setdefault(kind, []).append(action)
    return actions


def _row_changes(
    rows: dict[str, int], actions: Mapping[str, Sequence[Mapping[str, Any]]], commit: Mapping[str, Any]
) -> tuple[int | None, int | None]:
    """Rows added and removed by a commit; brings `rows` (file -> rows) from the version before it to its own.

    A file that is written anew because one of its rows changed carries the others along; Delta counts the new ones.
    """
    brought = {unquote(add["path"]): _records(add) for add in actions.get("add", ())}
    taken = [rows.pop(unquote(remove["path"]), None) for remove in actions.get("remove", ())]
    rows |= brought
    if commit["operation"] in HOUSEKEEPING:
        return 0, 0
    if None in taken:
        return None, None
    if ROWS in commit:
        told_added, told_removed = json.loads(commit[ROWS])
        return told_added, told_removed
    added = int(commit.get("operationMetrics", {}).get("num_added_rows", sum(brought.values())))
    return added, added - sum(brought.values()) + sum(count for count in taken if count is not None)


def _records(add: Mapping[str, Any]) -> int:
    return int(json.loads(add["stats"])["numRecords"])


def _days(commit: Mapping[str, str]) -> tuple[Days, ...] | None:
    if CHANGED_DAYS in commit:
        ranges = json.loads(commit[CHANGED_DAYS])
        return tuple(Days(date.fromisoformat(start), date.fromisoformat(end)) for start, end in ranges)
    return () if commit["operation"] in HOUSEKEEPING else None


def _differences(lake: Lake, table: Table, version: int) -> tuple[set[date | None], tuple[int, int]]:
    """Where the newest rows are not those of a version, and how many rows a restore would add and remove.

    The rows are compared as multisets, a month at a time.

    Returns:
        The days; of a table that has months only the months; of others {None} when any row differs. Then the counts.
    """
    part = pl.col(table.day or table.month) if table.month else pl.lit(None, pl.Date)
    every = [pl.lit(True)]
    if table.month:
        months = pl.concat([lake.scan(table, version=each).select(table.month).unique() for each in (None, version)])
        found = months.collect().to_series().unique()
        every = [pl.col(table.month).eq_missing(pl.lit(month, pl.Date)) for month in found]
    differing, added, removed = set[date | None](), 0, 0
    for month in every:
        signed = [
            lake.scan(table, version=each).filter(month).with_columns(__sign=pl.lit(sign, pl.Int64))
            for each, sign in ((None, -1), (version, 1))
        ]
        counted = pl.concat(signed).group_by(list(table.schema)).agg(pl.col("__sign").sum())
        signs = (
            counted.with_columns(part=part)
            .group_by("part")
            .agg(added=pl.col("__sign").clip(lower_bound=0).sum(), removed=-pl.col("__sign").clip(upper_bound=0).sum())
        )
        changed = signs.filter((pl.col("added") > 0) | (pl.col("removed") > 0)).collect(engine="streaming")
        differing |= set(changed["part"])
        added, removed = added + int(changed["added"].sum()), removed + int(changed["removed"].sum())
    return differing, (added, removed)


def _named(table: Table, differing: set[date | None]) -> dict[str, str]:
    """The commit's own word of what it changed; a table without days and months says nothing, which means all."""
    if table.month is None:
        return {}
    dated = {day for day in differing if day is not None}
    ranges = stretches(dated) if table.day else [Days(month, next_month(month)) for month in sorted(dated)]
    return {CHANGED_DAYS: json.dumps([[str(start), str(end)] for start, end in ranges])}


def _withdraw_states(lake: Lake, table: Table, differing: set[date | None]) -> frozenset[date | None]:
    """Take back what bronze and silver say of the days: their rows are no longer those of the newest deliveries."""
    days = stretches(day for day in differing if day is not None)
    for states in STATES if table.layer == "bronze" else (SILVER_DAYS,):
        if lake.version(states) is None:
            continue
        lake.replace_days(states, states.empty(), days)
        if None in differing:
            lake.replace_days(states, states.empty(), [], undated=True)
    return frozenset(differing)


def _positions_of(lake: Lake, delta: DeltaTable, old: DeltaTable) -> Iterator[Transaction]:
    """What an older version was made from, as far as it is not what the newest is; -1 is before anything."""
    for source in TABLES:
        if (origin := lake.open(source)) is None:
            continue
        name = identity(source, origin)
        now, then = delta.transaction_version(name), old.transaction_version(name)
        if now != then:
            yield Transaction(name, -1 if then is None else then)
