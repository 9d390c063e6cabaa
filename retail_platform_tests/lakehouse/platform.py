"""A platform in an empty folder, and files for its landing, for the tests of this room."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from retail_platform.lakehouse.landing import Registration, register_arrivals
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.stage import bronze_rows, undated_rows
from retail_platform.settings import Settings

HEADER = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
LINE = "489434,85048,15CM CHRISTMAS GLASS BALL,12,2009-12-01 07:45:00,6.95,13085,United Kingdom\n"
MODIFIED = datetime(2010, 6, 1, 12, tzinfo=UTC)
FAR = (date(1900, 1, 1), date(2200, 1, 1))


def lines(*days: str) -> str:
    """A CSV file with a line of each day, their invoices numbered from 1."""
    return HEADER + "".join(f"{number},85048,A,1,{day} 10:00:00,1.5,,UK\n" for number, day in enumerate(days, 1))


def land(settings: Settings, name: str, content: bytes | str, modified_at: datetime = MODIFIED) -> Path:
    """Put a file into landing, with a modification time."""
    path = settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (modified_at.timestamp(), modified_at.timestamp()))
    return path


def registered(settings: Settings) -> tuple[Registration, Ledger]:
    """Register what is in landing; the ledger afterwards."""
    return register_arrivals(settings), Ledger(settings)


def bronze(settings: Settings) -> pl.DataFrame:
    """Every delivered row, in the order of deliveries and rows."""
    ledger = Ledger(settings)
    rows = pl.concat([bronze_rows(settings, ledger, *FAR), undated_rows(settings, ledger)]).collect()
    ranks = ledger.deliveries().select("delivery_id", "delivery_rank").unique()
    return rows.join(ranks, on="delivery_id").sort("delivery_rank", "source_file", "source_row").drop("delivery_rank")


def reason(settings: Settings) -> tuple[str, str]:
    """Why the one file in landing was set aside: code and words."""
    _, ledger = registered(settings)
    (file,) = ledger.files().to_dicts()
    assert file["status"] == "set_aside"
    assert ledger.deliveries().is_empty()
    return file["reason"], file["message"]
