"""What the platform holds and what waits: figures for `retail status` and for the end of a run."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import psycopg

from retail_platform.contracts import BRONZE_SALES, FACT_SALE, SILVER_DAYS, SILVER_REJECTS, SILVER_SALES, TABLES
from retail_platform.lakehouse.days import ONE_DAY, Days, settled_states, waiting_stretches
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.landing import files_set_aside
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.settings import Settings
from retail_platform.warehouse.publish import loaded_fingerprints
from retail_platform.warehouse.server import server_pid, warehouse_database
from retail_platform.warehouse.tables import prepare_warehouse

Rows = list[Sequence[Any]]


def days_waiting(settings: Settings) -> list[Days]:
    """The stretches of days that the ledger holds otherwise than the published marts."""
    with warehouse_database(settings).connect() as connection:
        prepare_warehouse(connection)
        published = loaded_fingerprints(connection)
    present = settled_states(published, Lake(settings.lake).day_states(SILVER_DAYS))
    return waiting_stretches(Ledger(settings).fingerprints(), present, settings.first_day)


def headline(settings: Settings) -> Rows:
    """The figures a run ends with: files, rows, rejects by reason, net revenue in every layer."""
    lake, ledger = Lake(settings.lake), Ledger(settings)
    deliveries = ledger.deliveries()
    reasons = lake.scan(SILVER_REJECTS).group_by("reason").len().sort("reason").collect()
    with warehouse_database(settings).connect() as connection:
        return [
            ("files accepted", deliveries["file_sha256"].n_unique()),
            ("files set aside", files_set_aside(settings, ledger).height),
            ("bronze rows", _rows(lake.scan(BRONZE_SALES))),
            ("silver rows", _rows(lake.scan(SILVER_SALES))),
            *((f"rejected: {reason}", rows) for reason, rows in reasons.iter_rows()),
            ("net revenue, silver", _total(lake.scan(SILVER_SALES), "line_amount")),
            ("net revenue, facts", _total(lake.scan(FACT_SALE), "total_amount")),
            ("net revenue, warehouse", _ask(connection, "select sum(total_amount) from gold.fact_sale")),
            ("net revenue, marts", _ask(connection, "select sum(net_revenue) from marts.daily_sales")),
        ]


def platform_status(settings: Settings) -> list[tuple[str, list[str], Rows]]:
    """What runs, what the lake holds and which files were set aside, as titled tables. Starts nothing."""
    lake = Lake(settings.lake)
    pid = server_pid(settings)
    runs: Rows = [
        ("home", settings.home),
        ("warehouse", _warehouse_state(settings, pid)),
    ]
    if pid or settings.database_url:
        runs.append(
            (
                "days waiting for a run",
                ", ".join(f"{d.start} to {d.end - ONE_DAY}" for d in days_waiting(settings)) or 0,
            )
        )
    tables: Rows = [
        (table, lake.version(table), _rows(lake.scan(table)), _last_day(lake, table))
        for table in TABLES
        if lake.version(table) is not None
    ]
    aside = files_set_aside(settings, Ledger(settings))
    return [
        ("Platform", ["what", "state"], runs),
        ("Lake", ["table", "Delta version", "rows", "newest day"], tables),
        ("Files set aside", aside.columns, [*aside.iter_rows()]),
    ]


def _warehouse_state(settings: Settings, pid: int | None) -> str:
    if settings.database_url:
        return "a server of yours"
    return f"embedded, pid {pid}" if pid else "embedded, stopped"


def _rows(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())


def _total(frame: pl.LazyFrame, column: str) -> Any:
    return frame.select(pl.col(column).sum()).collect().item()


def _last_day(lake: Lake, table: Any) -> Any:
    return None if table.day is None else lake.scan(table).select(pl.col(table.day).max()).collect().item()


def _ask(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None
