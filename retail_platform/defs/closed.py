"""Tables as of the newest closed days: whether one still stands, and how it is kept when it does, plots and all."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import FACT_SALE, SILVER_SALES, Table
from retail_platform.defs.layers import key_of
from retail_platform.defs.plots import is_plot
from retail_platform.defs.reports import PREVIEW_ROWS, written
from retail_platform.lakehouse.days import Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms.quality import Finding

MADE_BY = ("contracts", "transforms", "reference")
"""Packages that say what rows are made of lines: columns, declared features, formulas, constants, reference data."""


def open_month(lake: Lake) -> date:
    """The first day of the newest month with a sale, which no later sale has closed; long ago without any."""
    return lake.months(SILVER_SALES)[-1] if lake.months(SILVER_SALES) else date(1970, 1, 1)


def open_week(lake: Lake) -> date:
    """The Monday of the newest week with a sale, which no later sale has closed; long ago without any."""
    newest = lake.newest_day(FACT_SALE) or date(1970, 1, 5)
    return newest - timedelta(days=newest.weekday())


def fingerprint(*parts: date | str | pl.DataFrame) -> str:
    """What a table is made from and by, in few characters: the same code, days and rows give the same."""
    texts = (part.write_csv() if isinstance(part, pl.DataFrame) else str(part) for part in parts)
    return sha256("\0".join((_code(), *texts)).encode()).hexdigest()


@cache
def _code() -> str:
    return content_of(files("retail_platform"))


def content_of(package: Traversable) -> str:
    """Hash that is the same while no file of its `MADE_BY` changes: what one of them makes may rest on any other."""
    found = [file for name in MADE_BY for file in package.joinpath(name).iterdir() if file.is_file()]
    parts = sorted((file.name, file.read_bytes()) for file in found)
    return sha256(b"\0".join(part for name, content in parts for part in (name.encode(), content))).hexdigest()


def stands(lake: Lake, table: Table, days: Days, made_from: str, source: Table = SILVER_SALES) -> bool:
    """Whether a table's rows were made of these days, none of which has changed since, and by the same code.

    Nothing but logs is read, so that it costs the same however many rows there are.

    Args:
        lake, table: the table.
        days: of the source, that it is made from.
        made_from: `fingerprint` of their end, and of what it is made from besides; as `kept` takes it.
        source: the table whose rows it is made from.
    """
    changed = lake.changed_days(source, lake.consumed(table, source))
    return changed is not None and lake.note(table) == made_from and not any(day in days for day in changed)


def standing(table: Table, *checks: str | Callable[..., Finding]) -> list[Finding]:
    """What the blocking checks of a table that stands say: they passed on just these rows, else it were not there.

    Args:
        table: the table.
        checks: the functions that find, or their names.
    """
    names = [check if isinstance(check, str) else check.__name__ for check in checks]
    told = f"{table} stands: this was so when it was made, and nothing that it is made from has changed since."
    return [Finding(name, True, told) for name in names]


def kept(
    lake: Lake, table: Table, frame: pl.DataFrame, position: dict[str, int], more: dict[str, Any], made_from: str
) -> dg.MaterializeResult[Any]:
    """The table as it stands, or written (with what it was made from and by, see `stands`) when it was made again.

    Args:
        lake, table: the table.
        frame: its rows; of one that stands the first are enough.
        position: of what it was made from.
        more: what else is told, whether it was `made_again` among it.
        made_from: as `stands` takes it.
    """
    if more["made_again"]:
        return written(lake, table, frame, lake.replace(table, frame, consumed=position, note=made_from), **more)
    version = lake.version(table)
    assert version is not None
    return written(lake, table, frame, version, **more, rows_written=0)


def first_rows(lake: Lake, table: Table) -> pl.DataFrame:
    """So many rows of a table as a preview shows."""
    return lake.scan(table).head(PREVIEW_ROWS).collect()


def standing_plots(instance: dg.DagsterInstance, key: dg.AssetKey, **said: Any) -> dict[str, Any]:
    """The plots of an asset's latest materialisation; none unless its metadata said just this.

    The asset's page shows the latest materialisation alone, and to draw costs more than an ordinary day's step: a
    second to import the library, a tenth of one for each plot.
    """
    event = instance.get_latest_materialization_event(key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    if any(name not in metadata or metadata[name].value != value for name, value in said.items()):
        return {}
    return {name: value for name, value in metadata.items() if is_plot(value)}


def with_plots(
    context: dg.AssetExecutionContext,
    lake: Lake,
    table: Table,
    frame: pl.DataFrame | pl.LazyFrame,
    more: dict[str, Any],
    draw: Callable[[pl.DataFrame], dict[str, Any]],
) -> dict[str, Any]:
    """What is told of a table, with its plots: drawn when it was made again or has none, else those that it has.

    Args:
        context: of the run.
        lake: where the table is, not yet written.
        table: of which there is something to see.
        frame: its rows; lazily, those of a table that stands are only read to be drawn.
        more: what else is told, whether it was `made_again` among it.
        draw: makes the plots of rows, by name.
    """
    plots = {}
    if not more["made_again"]:
        plots = standing_plots(context.instance, key_of(table), delta_version=lake.version(table))
    if not plots and not (rows := frame.lazy().collect()).is_empty():
        plots = draw(rows)
    return more | plots
