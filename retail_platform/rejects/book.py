"""Delivered rows as one who works rejects sees them: why a row is left out, whether it is open, and its history.

Rows are judged as silver judges them, but from the ledger and the kept bytes, so that no run has to be waited for.
Sending a row again stays out (`sending.py`).
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

import narwhals as nw
import polars as pl

from retail_platform.contracts import BRONZE_SALES, SILVER_REJECTS
from retail_platform.lakehouse.days import ONE_DAY, Days
from retail_platform.lakehouse.lake import Lake
from retail_platform.lakehouse.ledger import Ledger
from retail_platform.lakehouse.stage import bronze_rows, delivered_rows
from retail_platform.settings import Settings
from retail_platform.transforms.corrections import KEY, changes_text, read_corrections, row_id
from retail_platform.transforms.sales import cleaned_invoice, judge_sales

ADVICE: Mapping[str, str] = {
    "missing_invoice": "amend it with the invoice it belongs to: --set invoice_no=…",
    "missing_stock_code": "amend it with the product's code: --set stock_code=…",
    "invalid_quantity": "amend it with a whole number other than 0: --set quantity=…",
    "invalid_price": "amend it with a plain decimal number, or with a smaller amount: --set unit_price=…",
    "invalid_date": "amend it with a date that the mapping reads, not before the platform's first day and not "
    "after the delivery: --set invoice_date=…",
    "adjustment": "leave it, if it corrects a balance; release it, if it is a sale. A negative price is none: amend "
    "price and quantity",
    "zero_price": "leave it, if the thing was written off or given away; if it was sold, amend it with the price that "
    "was paid: --set unit_price=…. A line has a price above 0, so as it is it can be none",
    "test_line": "leave it, if it is a test; if a thing was sold, amend it with its code: --set stock_code=…",
    "superseded": "nothing: a later delivery restates its invoice",
    "duplicate_line": "leave it, if the line was written twice; release it, if the thing was sold twice. If the "
    'retailer never writes a line twice, have repeats = "keep" in the mapping',
}
"""What a person can do about a row, by the reason why it is left out."""

Status = Literal["open", "corrected", "restated", "accepted"]

_ID = re.compile(r"([0-9a-f]{8,64})-(\d{1,9})-(\d{1,18})")
_FILE = ["delivery_id", "file_sha256"]


class RejectError(Exception):
    """The row cannot be worked like this; the message says what to do instead."""


@dataclass(frozen=True)
class Event:
    """One station of a row's way: when, what was done by whom, why, what changed, and the id of the row it became."""

    at: str
    what: str
    by: str | None
    why: str | None
    changes: str | None
    row: str


@dataclass(frozen=True)
class Row:
    """A delivered row.

    Attributes:
        id: its file, sheet and row.
        values: its text by column of bronze, where it came from, and its mapping and rank.
        reason: why it is no line of its own delivery; None for a line.
        status: `open`: it can be worked; `corrected`: another row took its place; `restated`: the retailer delivered
            its invoice again; `accepted`: it is a line.
        advice: what can be done about it.
        history: its way, oldest first.
    """

    id: str
    values: Mapping[str, Any]
    reason: str | None
    status: Status
    advice: str
    history: Sequence[Event]


def list_rejects(
    settings: Settings,
    *,
    day: date | None = None,
    reason: str | None = None,
    file: str = "",
    everything: bool = False,
) -> pl.DataFrame:
    """The rejected rows in the lake, newest day first, after those without a day.

    Args:
        settings: the platform.
        day: of this day only.
        reason: with this reason only.
        file: of files whose path holds this text.
        everything: also what is superseded, restated or corrected.

    Returns:
        The columns of contract `SilverRejects`, and id.
    """
    rejects = Lake(settings.lake).scan(SILVER_REJECTS, Days(day, day + ONE_DAY) if day else None)
    rows = rejects.filter(pl.col("source_file").str.contains(file, literal=True)).with_columns(id=row_id()).collect()
    if not everything:
        # A repeat whose invoice a correction restates is superseded too; to whoever works it, it is a repeat still.
        told = pl.when(pl.col("reason") == "superseded").then(pl.lit("duplicate_line")).otherwise("reason")
        rows = Book(settings).open_rows(rows).with_columns(reason=told)
    wanted = rows if reason is None else rows.filter(pl.col("reason") == reason)
    return wanted.sort("sale_date", "source_file", "source_row", descending=[True, False, False])


class Book:
    """One look at the ledger: delivered rows, how they are judged, and what took their places."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.ledger = settings, Ledger(settings)
        self.deliveries = self.ledger.deliveries()
        self._ranks = self.deliveries.select(*_FILE, "delivery_rank", "mapping").unique()

    @cached_property
    def corrections(self) -> pl.DataFrame:
        """What every row of every correction says: `read_corrections`."""
        return read_corrections(delivered_rows(self.settings, self.ledger, self.ledger.corrections()).collect())

    def row(self, row: str) -> Row:
        """The delivered row of this id; of bytes in several deliveries, that of the newest.

        Raises:
            RejectError: there is none.
        """
        values = self._find(row)
        way, reason = self._way(values["id"]), self._own_reason(values)
        status: Status = "accepted" if reason is None else "open"
        advice = "nothing: it is a line" if reason is None else ADVICE[reason]
        if values["id"] != way[-1]:
            status, advice = "corrected", f"work on the row that took its place: {way[-1]}"
        elif file := self._restated_by(values):
            status, advice = "restated", f"its invoice was delivered again in {file}: work on the rows of that file"
        return Row(values["id"], values, reason, status, advice, self._history(way))

    def base(self, mapping: str) -> str:
        """The mapping that one for corrections corrects; any other itself."""
        return self.ledger.mapping(mapping).corrects or mapping

    def day(self, day: date) -> pl.DataFrame:
        """The delivered rows of a day."""
        return bronze_rows(self.settings, self.ledger, day, day + ONE_DAY).collect()

    def judged(self, rows: pl.DataFrame, more: pl.DataFrame | None = None) -> pl.DataFrame:
        """Rows as silver judges them (`judge_sales`).

        Args:
            rows: bronze rows.
            more: a delivery that the ledger does not know yet: delivery_id, file_sha256, delivery_rank, mapping.
        """
        ranks = self._ranks if more is None else pl.concat([self._ranks, more.cast(self._ranks.schema)])
        names = ranks.join(rows, on=_FILE, how="semi")["mapping"].unique().sort().to_list()
        # No rows have the columns of judged ones too, whatever the mapping.
        used = {name: self.ledger.mapping(name) for name in names or [*self.ledger.mappings][:1]}
        judged: pl.LazyFrame = judge_sales(nw.from_native(rows.lazy()), nw.from_native(ranks.lazy()), used).to_native()
        return judged.collect()

    def open_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those rejected rows whose place no correction took, and whose invoice the retailer did not deliver again."""
        days = rows["sale_date"].drop_nulls().unique().to_list()
        held = Lake(self.settings.lake).scan(BRONZE_SALES).filter(pl.col("sale_date").is_in(days))
        newest = (
            _keyed(held.select(*_FILE, *KEY).unique())
            .join(self._of_retailer().lazy(), on=_FILE)
            .group_by("key", "sale_date")
            .agg(newest=pl.col("delivery_rank").max())
        )
        ranked = _keyed(rows.lazy()).join(self._ranks.lazy(), on=_FILE)
        judged = ranked.join(newest, on=["key", "sale_date"], how="left", nulls_equal=True)
        is_newest = pl.col("newest").is_null() | (pl.col("delivery_rank") >= pl.col("newest"))
        found = judged.filter(is_newest).sort("delivery_rank").select(rows.columns).collect()
        return found.unique("id", keep="last").join(self.corrections, left_on="id", right_on="reject_id", how="anti")

    def _of_retailer(self) -> pl.DataFrame:
        """Ranks and mappings of the deliveries that are no corrections."""
        return self._ranks.join(self.ledger.corrections(), on=_FILE, how="anti")

    def _find(self, row: str) -> dict[str, Any]:
        match = _ID.fullmatch(row.strip().lower())
        if match is None:
            raise RejectError(f"{row!r} is no id of a row; retail rejects list shows them")
        is_it = pl.col("file_sha256").str.starts_with(match[1]) & (pl.col("sheet_index") == int(match[2]))
        parts = self.deliveries.filter(is_it).sort("delivery_rank")
        if parts["file_sha256"].n_unique() > 1:
            raise RejectError(f"{row} fits several files: give more digits of the file's hash")
        rows = delivered_rows(
            self.settings, self.ledger, parts.tail(1), pl.col("source_row") == int(match[3])
        ).collect()
        if rows.is_empty():
            raise RejectError(f"no delivered row has the id {row}; retail rejects list shows them")
        ranked = parts.select(*_FILE, "delivery_rank", "delivered_at", "sheet_index", "mapping")
        return rows.with_columns(id=row_id()).join(ranked, on=_FILE).row(0, named=True)

    def _own_reason(self, values: Mapping[str, Any]) -> str | None:
        """Why its own delivery leaves the row out, whatever became of its invoice since."""
        day = values["sale_date"]
        same = pl.col("source_row") == values["source_row"] if day is None else pl.col("parsed_date") == day
        parts = self.deliveries.filter(pl.col("delivery_id") == values["delivery_id"])
        rows = delivered_rows(self.settings, self.ledger, parts, same).collect()
        judged = self.judged(rows.filter(pl.col("sale_date").eq_missing(pl.lit(day, pl.Date))))
        this = judged.filter(*(pl.col(name) == values[name] for name in (*_FILE, "source_row")))
        reason: str | None = this["reason"].item()
        return reason

    def _restated_by(self, values: Mapping[str, Any]) -> str | None:
        """The file of the retailer's newest delivery of the row's invoice, if that is later than the row's."""
        if values["sale_date"] is None:
            return None
        row = pl.DataFrame([dict(values)], schema_overrides={"invoice_no": pl.String}).lazy()
        same = _keyed(self.day(values["sale_date"]).lazy()).join(_keyed(row), on="key", how="semi", nulls_equal=True)
        later = same.join(self._of_retailer().lazy(), on=_FILE).filter(
            pl.col("delivery_rank") > values["delivery_rank"]
        )
        files = later.sort("delivery_rank").collect()["source_file"]
        return str(files[-1]) if files.len() else None

    def _way(self, row: str) -> list[str]:
        """The ids from the row as first delivered to the one that holds its place now."""
        links = [*self.corrections.sort("at").select("reject_id", "correction_id").drop_nulls().iter_rows()]
        before, after, way = {new: old for old, new in links}, dict(links), [row]
        while (id_ := before.get(way[0])) and id_ not in way:
            way.insert(0, id_)
        while (id_ := after.get(way[-1])) and id_ not in way:
            way.append(id_)
        return way

    def _history(self, way: Sequence[str]) -> list[Event]:
        events = []
        with suppress(RejectError):  # a correction that somebody else wrote may name a row that there is not
            events.append(_delivered(self._find(way[0])))
        told = {row["correction_id"]: row for row in self.corrections.iter_rows(named=True)}
        return events + [_corrected(told[id_]) for id_ in way[1:] if told[id_]["action"] != "restate"]


def _keyed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with `key`, the cleaned number of their invoice."""
    keyed: pl.LazyFrame = nw.from_native(rows).with_columns(key=cleaned_invoice()).to_native()
    return keyed


def _delivered(values: Mapping[str, Any]) -> Event:
    what = f"delivered: {values['source_file']}, row {values['source_row']}"
    return Event(f"{values['delivered_at']:%Y-%m-%d %H:%M:%S}", what, None, None, None, values["id"])


def _corrected(row: Mapping[str, Any]) -> Event:
    what = f"{row['action']}, waiving {row['waives']}" if row["action"] == "release" else str(row["action"])
    at = (row["at"] or "")[:19].replace("T", " ")
    return Event(at, what, row["by"], row["why"], changes_text(dict(row)), row["correction_id"])
