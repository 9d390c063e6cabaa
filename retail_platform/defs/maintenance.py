"""Maintenance: what keeps lake and warehouse quick, weekly and beside the runs. It changes no row.

Its assets are no tables: each materialisation tells what was done, table by table. Add upkeep here; how a table is kept
is in `lakehouse/` and `warehouse/`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from retail_platform.contracts import TABLES, Table
from retail_platform.defs.closed import open_month
from retail_platform.defs.layers import LAKE_POOL, OWNERS, TRANSIENT_FAULTS, asset_key
from retail_platform.defs.reports import markdown_table, require
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.layout import advise
from retail_platform.lakehouse.maintenance import Extent, Upkeep, compact, crowded_months, shorten_log, vacuum
from retail_platform.settings import Settings
from retail_platform.transforms.quality import Finding
from retail_platform.warehouse.indexes import advise_indexes, statistics_source
from retail_platform.warehouse.maintenance import empty_partitions, tend_tables
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import prepare_warehouse

GROUP = "maintenance"
COMPACTION, VACUUM, CHECKPOINTS = (asset_key(GROUP, name) for name in ("compaction", "vacuum", "checkpoints"))
STATISTICS, ADVICE = (asset_key(GROUP, name) for name in ("warehouse_statistics", "layout_advice"))


def rows_are_unchanged(upkeep: Sequence[Upkeep]) -> Finding:
    """Whether every table has as many rows as before."""
    lost = [
        f"{u.table} had {u.before.rows} rows and has {u.after.rows}" for u in upkeep if u.before.rows != u.after.rows
    ]
    advice = f"{'; '.join(lost)}: put the version before back (retail lake history, retail lake restore)."
    return Finding("rows_are_unchanged", not lost, advice if lost else "Every table has the rows it had.", {})


@dg.asset(
    key=COMPACTION,
    group_name=GROUP,
    kinds={"deltalake"},
    owners=OWNERS,
    check_specs=[
        dg.AssetCheckSpec("rows_are_unchanged", asset=COMPACTION, description="Whether compaction has lost no row.")
    ],
    pool=LAKE_POOL,
)
def compaction(lake: dg.ResourceParam[Lake]) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """The closed months whose many small files became few large ones, sorted by day.

    Grain: one run of maintenance.  Source: every table of the lake that is kept by month.
    A month is closed when silver holds a sale of a later one.
    """
    month = open_month(lake)
    upkeep = [compact(lake, table, crowded_months(lake, table, month)) for table in _tables(lake) if table.month]
    yield from require(COMPACTION, [rows_are_unchanged(upkeep)])
    yield dg.MaterializeResult(asset_key=COMPACTION, metadata=_told(upkeep))


@dg.asset(key=VACUUM, deps=[COMPACTION], group_name=GROUP, kinds={"deltalake"}, owners=OWNERS, pool=LAKE_POOL)
def vacuumed(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """The files that were removed: replaced more than 7 days ago, or left behind by a run that was killed.

    Grain: one run of maintenance.  Source: every table of the lake.
    """
    return _done(lake, vacuum)


@dg.asset(key=CHECKPOINTS, deps=[VACUUM], group_name=GROUP, kinds={"deltalake"}, owners=OWNERS, pool=LAKE_POOL)
def checkpoints(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """The logs that were summed up, and freed of what is older than 30 days.

    Grain: one run of maintenance.  Source: every table of the lake.
    """
    return _done(lake, shorten_log)


@dg.asset(
    key=STATISTICS,
    group_name=GROUP,
    kinds={"postgres"},
    owners=OWNERS,
    retry_policy=TRANSIENT_FAULTS,
    pool=LAKE_POOL,
)
def warehouse_statistics(
    settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[Any]:
    """The tables of the warehouse whose dead rows were cleared and whose statistics were made anew.

    Grain: one run of maintenance.  Source: every table of the warehouse.
    """
    database = warehouse_database(settings)
    tended = tend_tables(database)
    return dg.MaterializeResult(
        metadata={
            "tables": len(tended),
            "dead_rows_before": sum(each.dead_before for each in tended),
            "dead_rows_after": sum(each.dead_after for each in tended),
            "bytes_before": sum(each.size_before for each in tended),
            "bytes_after": sum(each.size_after for each in tended),
            "seconds": sum(each.seconds for each in tended),
            "empty_partitions": ", ".join(empty_partitions(database)) or "none",
            "by_table": dg.MetadataValue.md(markdown_table(pl.DataFrame([vars(each) for each in tended]))),
        }
    )


class AdviceConfig(dg.Config):
    """Whether what has won on its sample is applied."""

    apply: bool = False


@dg.asset(
    key=ADVICE,
    deps=[CHECKPOINTS, STATISTICS],
    group_name=GROUP,
    kinds={"deltalake", "postgres"},
    owners=OWNERS,
    pool=LAKE_POOL,
)
def layout_advice(
    config: AdviceConfig, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[Any]:
    """What layout each table of the lake and which indexes of the warehouse should have, tried on samples.

    Grain: one run of maintenance.  Source: Delta logs, footers of files, PostgreSQL's statistics.
    Nothing is changed unless the run's config says `apply: true`, and then only what has won.
    """
    database = warehouse_database(settings)
    with database.connect(autocommit=True) as connection:
        prepare_warehouse(connection)
        source = statistics_source(connection)
    tables = advise(lake, TABLES, config.apply)
    indexes = advise_indexes(database, config.apply)
    return dg.MaterializeResult(
        metadata={
            "tables_judged": len(tables),
            "proposals": sum(each.proposal is not None for each in tables) + len(indexes),
            "worth_it": sum(each.is_worth_it for each in (*tables, *indexes)),
            "applied": sum(each.applied is not None for each in tables) + sum(each.is_applied for each in indexes),
            "tables": _markdown([each.row for each in tables]),
            "indexes": _markdown([vars(each) | {"verdict": each.verdict} for each in indexes]),
            "index_statistics": source,
        }
    )


def _tables(lake: Lake) -> list[Table]:
    return [table for table in TABLES if lake.version(table) is not None]


def _done(lake: Lake, keep: Callable[[Lake, Table], Upkeep]) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata=_told([keep(lake, table) for table in _tables(lake)]))


def _told(upkeep: Sequence[Upkeep]) -> dict[str, Any]:
    """Before and after in total, and of each table that was changed."""
    before, after = (sum((getattr(each, name) for each in upkeep), Extent(0, 0)) for name in ("before", "after"))
    changed = [
        {
            "table": str(each.table),
            "files": f"{each.before.files} -> {each.after.files}",
            "bytes": f"{each.before.size} -> {each.after.size}",
            "rows": each.after.rows,
            "seconds": round(each.seconds, 3),
        }
        for each in upkeep
        if each.before != each.after
    ]
    return {
        "files_before": before.files,
        "files_after": after.files,
        "bytes_before": before.size,
        "bytes_after": after.size,
        "rows": after.rows,
        "seconds": sum(each.seconds for each in upkeep),
        "tables_changed": len(changed),
        "by_table": _markdown(changed),
    }


def _markdown(rows: Sequence[dict[str, Any]]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown_table(pl.DataFrame(rows, strict=False)) if rows else "Nothing to do.")
