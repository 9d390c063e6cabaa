"""The warehouse: gold in PostgreSQL, loaded by COPY, only what changed.

Two transactions: what marts are built from comes first, so that these are published before the rest is made.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import psycopg

from retail_platform.contracts import FACT_SALE, GOLD_TABLES, SILVER_DAYS, Table
from retail_platform.defs.layers import (
    AFTER_MARTS,
    LAKE_POOL,
    OWNERS,
    TRANSIENT_FAULTS,
    asset_key,
    catalogue_page,
    column_schema,
    key_of,
)
from retail_platform.defs.marts import MANIFEST
from retail_platform.defs.reports import check_specs, require
from retail_platform.lakehouse.days import Days, days_in, next_month, stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.transforms.quality import lake_holds_published_days
from retail_platform.warehouse.load import LoadResult, consumed_versions, load_gold, loaded_span
from retail_platform.warehouse.publish import loaded_fingerprints
from retail_platform.warehouse.server import warehouse_database
from retail_platform.warehouse.tables import prepare_warehouse

FACTS = asset_key("warehouse", FACT_SALE.name)

_SOURCES = {source["name"] for source in MANIFEST["sources"].values()}
READ_BY_MARTS = tuple(table for table in GOLD_TABLES if table.name in _SOURCES)
"""The tables that dbt has as sources. What the others show is not in any mart."""
OTHERS = tuple(table for table in GOLD_TABLES if table.name not in _SOURCES)


def warehouse_spec(table: Table, *after: dg.AssetKey) -> dg.AssetSpec:
    """The asset of a gold table in PostgreSQL, made from the one in the lake once others are there."""
    types = {name: type_name for name, type_name in table.postgres_types.items() if name != table.month}
    return dg.AssetSpec(
        asset_key("warehouse", table.name),
        deps=[key_of(table), *after],
        description=catalogue_page(table),
        group_name="warehouse",
        kinds={"postgres"},
        owners=OWNERS,
        metadata={"dagster/column_schema": column_schema(table, types), "dagster/table_name": f"gold.{table.name}"},
    )


@dg.multi_asset(
    name="warehouse",
    specs=[warehouse_spec(table) for table in READ_BY_MARTS],
    check_specs=check_specs(FACTS, "lake_holds_published_days"),
    retry_policy=TRANSIENT_FAULTS,
    pool=LAKE_POOL,
)
def warehouse(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Load what marts are built from: tables that changed since the last load, and the changed days of daily ones."""
    with warehouse_database(settings).connect() as connection:
        prepare_warehouse(connection)
        published, delivered = loaded_fingerprints(connection), Ledger(settings).fingerprints()
        yield from require(FACTS, [lake_holds_published_days(published, delivered, lake.day_states(SILVER_DAYS))])
        yield from _load(connection, lake, READ_BY_MARTS, context.run.run_id)


@dg.multi_asset(
    name="warehouse_analytics",
    specs=[warehouse_spec(table, FACTS) for table in OTHERS],
    retry_policy=TRANSIENT_FAULTS,
    pool=LAKE_POOL,
    op_tags=AFTER_MARTS,
)
def warehouse_analytics(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Load the tables that no mart is built from; when a check keeps the facts back, it keeps these back too."""
    with warehouse_database(settings).connect() as connection:
        prepare_warehouse(connection)
        yield from _load(connection, lake, OTHERS, context.run.run_id)


def _load(
    connection: psycopg.Connection, lake: Lake, tables: Sequence[Table], run_id: str
) -> Iterator[dg.MaterializeResult[Any]]:
    """Load those of some tables that changed, in one transaction."""
    position = {name: version for table in tables for name, version in lake.position(table).items()}
    consumed = consumed_versions(connection)
    days = _days_to_load(lake, [table for table in tables if table.day], consumed, loaded_span(connection))
    changed = [table for table in tables if table.day or not _is_loaded(lake, table, consumed)]
    ranges = stretches(days)
    result = load_gold(
        connection,
        tables={table.name: lake.scan(table, ranges if table.day else None) for table in changed},
        days=days,
        consumed=position,
        run_id=run_id,
        left_alone={table.name for table in GOLD_TABLES if table not in changed},
    )
    yield from (_loaded(table, result, len(days)) for table in tables)


def _is_loaded(lake: Lake, table: Table, consumed: dict[str, int]) -> bool:
    """Whether the warehouse holds the newest version of a table; one that was never written has none."""
    position = lake.position(table)
    return bool(position) and position.items() <= consumed.items()


def _days_to_load(
    lake: Lake, tables: Sequence[Table], consumed: dict[str, int], loaded: tuple[date, date] | None
) -> set[date]:
    """The days that changed since the positions loaded last; every day of lake and warehouse when that is unknown."""
    days: set[date] = set()
    for table in tables:
        (name,) = lake.position(table)
        changed = lake.changed_days(table, consumed.get(name))
        if changed is None:
            held = [Days(month, next_month(month)) for month in lake.months(table)]
            changed = days_in(held if loaded is None else [*held, Days(*loaded)])
        days |= changed
    return days


def _loaded(table: Table, result: LoadResult, days: int) -> dg.MaterializeResult[Any]:
    change = result.changes[table.name]
    metadata: dict[str, Any] = {
        "inserted": change.inserted,
        "updated": change.updated,
        "deleted": change.deleted,
        "load_id": result.load_id,
        "days_loaded": days,
        "dagster/uri": f"postgresql:///gold.{table.name}",
    }
    return dg.MaterializeResult(asset_key=asset_key("warehouse", table.name), metadata=metadata)
