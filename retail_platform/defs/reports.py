"""What a run tells people: check results from findings, and the metadata of a write. Nothing is decided here."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import Table
from retail_platform.defs.layers import key_of
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms import quality
from retail_platform.transforms.quality import Finding, merged

PREVIEW_ROWS = 8
PREVIEW_CHARACTERS = 24
"""Of a cell: a row of hashes and keys is no wider than a window."""
BLOCKING = ("contract_holds", "keys_are_unique")
"""The checks of every table that is written."""


def check_specs(
    key: dg.AssetKey, *checks: str | Callable[..., Finding], blocking: bool = True
) -> list[dg.AssetCheckSpec]:
    """Checks that an asset evaluates itself, before it writes; each says what its function says.

    Args:
        key: the asset.
        checks: the functions that find, or their names in `transforms/quality.py`.
        blocking: whether what is downstream waits for them.
    """
    functions = [getattr(quality, check) if isinstance(check, str) else check for check in checks]
    return [
        dg.AssetCheckSpec(check.__name__, asset=key, blocking=blocking, description=_first_line(check))
        for check in functions
    ]


def result_of(finding: Finding, key: dg.AssetKey, severity: dg.AssetCheckSeverity | None = None) -> dg.AssetCheckResult:
    """A finding as the result of an asset check."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=finding.name,
        passed=finding.passed,
        severity=severity or dg.AssetCheckSeverity.ERROR,
        description=finding.description,
        metadata={name: _evidence(value) for name, value in finding.evidence.items()},
    )


def require(key: dg.AssetKey, findings: Iterable[Finding]) -> Iterator[dg.AssetCheckResult]:
    """Report findings, and stop before anything is written when one did not pass.

    Raises:
        dg.Failure: a finding did not pass; its description says what to do.
    """
    reported = list(findings)
    for finding in reported:
        yield result_of(finding, key)
    _fail([(key, finding) for finding in reported if not finding.passed])


def _fail(failed: Iterable[tuple[dg.AssetKey, Finding]]) -> None:
    told = [f"{key.to_user_string()} {finding.name}: {finding.description}" for key, finding in failed]
    if told:
        raise dg.Failure(description="; ".join(told), allow_retries=False)


class Checks:
    """The findings of a step that works in windows of days: one result for each check, when all are known."""

    def __init__(self) -> None:
        self._found: dict[tuple[dg.AssetKey, str], list[Finding]] = {}
        self._warning: set[tuple[dg.AssetKey, str]] = set()

    def hold(self, key: dg.AssetKey, findings: Iterable[Finding]) -> bool:
        """Take the findings of a window; whether it may be written, all of them having passed."""
        found = list(findings)
        for finding in found:
            self._found.setdefault((key, finding.name), []).append(finding)
        return all(finding.passed for finding in found)

    def note(self, key: dg.AssetKey, findings: Iterable[Finding]) -> None:
        """Take findings of a window that only warn."""
        for finding in findings:
            self._found.setdefault((key, finding.name), []).append(finding)
            self._warning.add((key, finding.name))

    def results(self) -> Iterator[dg.AssetCheckResult]:
        """Report every check, and fail the step when one that had to hold did not.

        Raises:
            dg.Failure: as `require`.
        """
        failed = []
        for (key, name), found in self._found.items():
            finding, warns = merged(found), (key, name) in self._warning
            yield result_of(finding, key, dg.AssetCheckSeverity.WARN if warns else None)
            if not finding.passed and not warns:
                failed.append((key, finding))
        _fail(failed)


def written(lake: Lake, table: Table, frame: pl.DataFrame, version: int, **more: Any) -> dg.MaterializeResult[Any]:
    """The materialisation of a write: rows, place, Delta version, and a preview unless the asset is partitioned."""
    shown = {"preview": preview(frame)} if table.day is None else {}
    return _materialisation(lake, table, frame.height, version, **more, **shown)


class DaysWritten:
    """What a step writes of a table by days, window by window: counts, and a preview of the newest day."""

    def __init__(self, lake: Lake, table: Table) -> None:
        self._lake, self._table, self._newest = lake, table, table.empty()
        self.counts: dict[date | None, int] = {}
        """Day (None: rows without one) -> rows."""

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.counts.values())

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows of days that were not given before."""
        day = pl.col(str(self._table.day))
        for each, count in frame.group_by(day).len().iter_rows():
            self.counts[each] = self.counts.get(each, 0) + count
        newest_day = max((each for each in self.counts if each is not None), default=None)
        newest = frame.filter(day == pl.lit(newest_day, pl.Date))
        self._newest = newest.head(PREVIEW_ROWS) if newest.height else self._newest

    def report(self, context: dg.AssetExecutionContext) -> None:
        """Row counts on the partition of each day, and a preview of the newest day with rows on the last one.

        The metadata of a `MaterializeResult` is copied into the event of every partition; what is large goes here.
        """
        key = key_of(self._table)
        partitions = context.partition_keys
        for partition in partitions:
            rows = self.counts.get(date.fromisoformat(partition), 0)
            context.add_asset_metadata({"dagster/partition_row_count": rows}, asset_key=key, partition_key=partition)
        context.add_asset_metadata({"preview": preview(self._newest)}, asset_key=key, partition_key=partitions[-1])

    def result(self, version: int, **more: Any) -> dg.MaterializeResult[Any]:
        """The materialisation, as `written`."""
        return _materialisation(self._lake, self._table, self.rows, version, **more)


def _materialisation(lake: Lake, table: Table, rows: int, version: int, **more: Any) -> dg.MaterializeResult[Any]:
    metadata = {
        "dagster/row_count": lake.row_count(table),
        "rows_written": rows,
        "dagster/uri": str(lake.path(table)),
        "delta_version": version,
        **more,
    }
    return dg.MaterializeResult(asset_key=key_of(table), metadata=metadata)


def preview(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The first rows as a table."""
    return dg.MetadataValue.md(markdown_table(frame.head(PREVIEW_ROWS), PREVIEW_CHARACTERS))


def markdown_table(frame: pl.DataFrame, width: int | None = None) -> str:
    """A frame as a Markdown table, cells cut to a width in characters when one is given."""
    header = [f"| {' | '.join(frame.columns)} |", f"|{' --- |' * frame.width}"]
    rows = ["| " + " | ".join(_cell(value, width) for value in row) + " |" for row in frame.iter_rows()]
    return "\n".join(header + rows)


def _evidence(value: Any) -> Any:
    return dg.MetadataValue.md(markdown_table(value)) if isinstance(value, pl.DataFrame) else value


def _cell(value: Any, width: int | None) -> str:
    text = "" if value is None else str(value).replace("\n", " ")
    cut = text if width is None or len(text) <= width else f"{text[: width - 1]}…"
    return cut.replace("|", "\\|")


def _first_line(check: Callable[..., Finding]) -> str:
    return inspect.cleandoc(check.__doc__ or "").partition("\n")[0]
