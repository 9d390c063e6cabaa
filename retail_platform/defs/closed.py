"""Tables as of the newest closed days: whether one still stands, and how it is kept when it does."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import SILVER_SALES, Table
from retail_platform.defs.reports import written
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake


def open_month(lake: Lake) -> date:
    """The first day of the newest month with a sale, which no later sale has closed; long ago without any."""
    return lake.months(SILVER_SALES)[-1] if lake.months(SILVER_SALES) else date(1970, 1, 1)


def stands(lake: Lake, table: Table, frame: pl.DataFrame, days: Days) -> bool:
    """Whether a table's rows were made as of the last of the days, and none of the days has changed since.

    A table without rows does not say what it was made as of: it is made again, which costs as little as it holds.
    """
    changed = lake.changed_days(SILVER_SALES, lake.consumed(table, SILVER_SALES))
    if changed is None or frame.is_empty():
        return False
    return frame["as_of_date"].item(0) == days.end - ONE_DAY and not any(day in days for day in changed)


def kept(
    lake: Lake,
    table: Table,
    frame: pl.DataFrame,
    position: dict[str, int],
    more: dict[str, Any],
    note: str | None = None,
) -> dg.MaterializeResult[Any]:
    """The table as it stands, or written when it was made again."""
    version = lake.replace(table, frame, consumed=position, note=note) if more["made_again"] else lake.version(table)
    assert version is not None
    return written(lake, table, frame, version, **more)
