"""Sending a rejected row again: corrected, or released from the rule that dropped it. Nothing is edited in place.

A correction is a file in `landing/corrections/<mapping>/`, a delivery like any other. It restates the row's whole
invoice for its day: the accepted lines as they were delivered, and the row with its new values. Other rejected rows of
the invoice stay where they are. What a row of the file says of itself is in `transforms/corrections.py`.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from retail_platform.contracts import BRONZE_SALES
from retail_platform.contracts.corrections import CORRECTING
from retail_platform.lakehouse.formats import read_rows
from retail_platform.lakehouse.landing import register_arrivals
from retail_platform.lakehouse.ledger import effective_day
from retail_platform.lakehouse.mapping import CORRECTIONS, TEXT_COLUMNS
from retail_platform.lakehouse.stage import staged_rows
from retail_platform.rejects.book import ADVICE, Book, RejectError, Row
from retail_platform.settings import Settings
from retail_platform.transforms.corrections import KEY, NONE, read_corrections, row_id
from retail_platform.transforms.sales import WAIVABLE

Line = dict[str, str | None]
"""A row of the file: the text of its columns, and what it says of itself."""

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Correction:
    """A correction that was sent.

    Attributes:
        path: its file in landing.
        ids: of the corrected rows, in the order in which those they correct were named.
        days: the days it changes, in order.
        restated: lines that are sent along as they were.
    """

    path: Path
    ids: Sequence[str]
    days: Sequence[date]
    restated: int


def send_rows(
    settings: Settings, ids: Sequence[str], *, action: str, changes: Mapping[str, str], by: str, why: str
) -> Correction:
    """Send rejected rows again, if silver would accept all of them.

    The file is registered at once; the next run of its days takes it on.

    Args:
        settings: the platform.
        ids: the rows; those of several invoices go into one file.
        action: `amend`, or `release`, which waives the rule that drops the row.
        changes: column -> new text, for every row; an empty text empties the column.
        by: who does it.
        why: for what reason.

    Raises:
        RejectError: it cannot be done; the message says what to do. Nothing was written.
    """
    _check_request(ids, action, changes, by, why)
    with _one_at_a_time(settings):
        register_arrivals(settings)
        book = Book(settings)
        rows = [_workable(book, id_) for id_ in dict.fromkeys(ids)]
        correction = _Draft(book, action, changes, by.strip(), why.strip()).send(rows)
        register_arrivals(settings)
    return correction


def _check_request(ids: Sequence[str], action: str, changes: Mapping[str, str], by: str, why: str) -> None:
    if action not in CORRECTING:
        raise RejectError(f"there is no action {action!r}: it is {' or '.join(CORRECTING)}")
    if not ids:
        raise RejectError("no row is named: give the id of at least one")
    if unknown := sorted(set(changes) - set(TEXT_COLUMNS)):
        raise RejectError(f"no column is called {', '.join(unknown)}; there are {', '.join(TEXT_COLUMNS)}")
    if action == "amend" and not changes:
        raise RejectError("nothing is to be changed: give new values, or release the row")
    if not (by.strip() and why.strip()):
        raise RejectError("say by whom and why: it stays with the row")


@contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """Keep others from sending rows meanwhile: who comes second builds on what the first has sent."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "corrections.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in (settings.landing / CORRECTIONS).glob(f"*/.{'[0-9a-f]' * 32}.part"):
            left.unlink()  # by one that was killed: whoever lives has the lock
        yield


def _workable(book: Book, id_: str) -> Row:
    """The row, if it is rejected and open, or a line that a correction brought."""
    row = book.row(id_)
    if row.status == "open" or (row.status == "accepted" and _is_correction(book, row.values)):
        return row
    raise RejectError(f"row {row.id} is {row.status}: {row.advice}")


def _is_correction(book: Book, values: Mapping[str, Any]) -> bool:
    return book.ledger.mapping(values["mapping"]).corrects is not None


class _Draft:
    """A correction in the making.

    Args:
        book: the rows as they are.
        action, changes, by, why: as `send_rows`.
    """

    def __init__(self, book: Book, action: str, changes: Mapping[str, str], by: str, why: str) -> None:
        self.book, self.action, self.changes = book, action, changes
        self.now = datetime.now(UTC)
        self.says: Line = {"by": by, "at": f"{self.now:%Y-%m-%dT%H:%M:%S.%fZ}", "why": why}

    def send(self, rows: Sequence[Row]) -> Correction:
        """Put the file into landing when all of it would be accepted."""
        bases = sorted({self.book.base(row.values["mapping"]) for row in rows})
        if len(bases) > 1:
            raise RejectError(f"the rows were read by several mappings ({', '.join(bases)}): send those of each apart")
        self.mapping = self.book.ledger.mapping(f"{bases[0]}.{CORRECTIONS}")
        folder = self.book.settings.landing / CORRECTIONS / bases[0]
        folder.mkdir(parents=True, exist_ok=True)
        self.part = folder / f".{uuid4().hex}.part"
        try:
            return self._send(rows)
        finally:
            self.part.unlink(missing_ok=True)

    def _send(self, rows: Sequence[Row]) -> Correction:
        after = max(self.now, *(row.values["delivered_at"] + _MOMENT for row in rows))
        lines = [self._changed(row) for row in rows]
        alone = self._judged(self._delivered(lines, after))
        for line, row, typed in zip(lines, rows, alone.iter_rows(named=True), strict=True):
            self._check_alone(line, row, typed)
        keys = [*alone.select(KEY).iter_rows()]
        days = sorted({day for _, day in keys})
        held = pl.concat([self.book.day(day) for day in days])
        judged = self.book.judged(held)
        invoices = {key: _of_invoice(judged, key) for key in keys}
        newest = {key: self._newest(invoice) for key, invoice in invoices.items()}
        after = max([after, *(at + _MOMENT for _, at in newest.values() if at)])
        for line, key in zip(lines, keys, strict=True):
            line["on"] = newest[key][0]
        restated = [line for each in invoices.values() for line in self._restated(each, {row.id for row in rows})]
        sent = self._delivered([*restated, *lines], after)
        self._check_accepted(self._judged(sent, held), len(restated))
        while (path := self.part.with_name(f"{self.action}__{after:%Y%m%dT%H%M%S.%fZ}.jsonl")).exists():
            after += _MOMENT
        self.part.rename(path)
        return Correction(path, sent.tail(len(lines)).select(row_id()).to_series().to_list(), days, len(restated))

    def _changed(self, row: Row) -> Line:
        """The row as it is to be sent."""
        old = {name: row.values[name] for name in TEXT_COLUMNS}
        new = old | {name: text or None for name, text in self.changes.items()}
        changed = {name: text for name, text in old.items() if new[name] != text}
        if self.changes and not changed:
            raise RejectError(f"row {row.id} has these values already: nothing would change")
        more = {"action": self.action, "reason": row.reason, "old": json.dumps(changed, ensure_ascii=False)}
        return new | self._kept(row.values) | more

    def _kept(self, values: Mapping[str, Any]) -> Line:
        """What a row says that takes the place of another, whatever is done to it."""
        waives, rescued = None, values["rescued"]
        if _is_correction(self.book, values):
            told = read_corrections(pl.DataFrame([dict(values)], schema=BRONZE_SALES.schema)).row(0, named=True)
            waives, rescued = told["waives"], told["rescued"]
        place = {"of_file": values["file_sha256"], "of_row": str(values["source_row"])}
        place["of_sheet"] = str(values["delivery_id"]).rpartition("#")[2]
        return {**self.says, **place, "waives": waives, "rescued": rescued}

    def _check_alone(self, line: Line, row: Row, judged: Mapping[str, Any]) -> None:
        """Refuse what is wrong with the row itself; say in it which rule it waives."""
        reason = judged["reason"]
        if self.action == "release":
            reason = reason or (None if self.changes else row.reason)
            if reason is None:
                raise RejectError(f"no rule drops row {row.id} as it would be sent: amend it")
            if reason not in WAIVABLE:
                raise RejectError(f"row {row.id} cannot be released from {reason}: {ADVICE[reason]}")
            line["waives"] = reason
        elif reason:
            raise RejectError(f"row {row.id} would be rejected again, as {reason}: {ADVICE[reason]}")
        was = (row.values["invoice_no"], row.values["sale_date"])
        if row.status == "accepted" and (judged["raw_invoice_no"], judged["sale_date"]) != was:
            raise RejectError(f"row {row.id} is a line: to move it to another invoice or day, send both invoices again")

    def _newest(self, invoice: pl.DataFrame) -> tuple[str, datetime | None]:
        """The newest delivery of an invoice, and when it was delivered."""
        if invoice.is_empty():
            return NONE, None
        name = invoice.sort("delivery_rank")["delivery_id"][-1]
        return name, self.book.deliveries.filter(pl.col("delivery_id") == name)["delivered_at"][0]

    def _restated(self, invoice: pl.DataFrame, without: set[str]) -> list[Line]:
        """The lines of an invoice as delivered, but for those whose place is taken."""
        accepted = invoice.filter(pl.col("reason").is_null() & ~pl.col("id").is_in(without))
        if other := {self.book.base(name) for name in accepted["mapping"]} - {self.mapping.corrects}:
            number, day = invoice.select(KEY).row(0)
            raise RejectError(f"invoice {number} of {day} was read by mapping {other.pop()}: send it again as a whole")
        lines = []
        for values in accepted.sort("source_file", "file_sha256", "source_row").iter_rows(named=True):
            texts: Line = {name: values[f"raw_{name}"] for name in TEXT_COLUMNS}
            lines.append({**texts, **self._kept(values), "action": "restate", "on": self._newest(invoice)[0]})
        return lines

    def _delivered(self, lines: Sequence[Line], at: datetime) -> pl.DataFrame:
        """Write the file under a name that nobody reads; its rows as bronze would have them, in order."""
        texts = [json.dumps({k: v for k, v in line.items() if v is not None}, ensure_ascii=False) for line in lines]
        content = "".join(f"{text}\n" for text in texts).encode()
        with self.part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sha256 = hashlib.sha256(content).hexdigest()
        staged = staged_rows(self.mapping, read_rows(self.part, "json", 0, len(content)))
        day = effective_day(pl.col("parsed_date"), self.book.settings.first_day)
        origin = {"delivery_id": f"{sha256}#0", "file_sha256": sha256, "source_file": self.part.name}
        dated = staged.with_columns(delivered_at=pl.lit(at)).with_columns(
            *(pl.lit(value).alias(name) for name, value in origin.items()),
            source_sheet=pl.lit(None, pl.String),
            ingested_at=pl.lit(self.now),
            sale_date=day,
            sale_month=day.dt.truncate("1mo"),
        )
        return dated.select(BRONZE_SALES.schema.names()).cast(BRONZE_SALES.schema)

    def _judged(self, sent: pl.DataFrame, held: pl.DataFrame | None = None) -> pl.DataFrame:
        """The rows of the file as silver would judge them beside what is held, in the order of the file."""
        rank = pl.lit(self.book.deliveries.height).alias("delivery_rank")
        newest = sent.select("delivery_id", "file_sha256", rank, mapping=pl.lit(self.mapping.name)).unique()
        judged = self.book.judged(sent if held is None else pl.concat([held, sent]), newest)
        return judged.filter(pl.col("delivery_id") == sent["delivery_id"][0]).sort("source_row")

    def _check_accepted(self, judged: pl.DataFrame, restated: int) -> None:
        for number, reason in judged.filter(pl.col("reason").is_not_null()).select("source_row", "reason").iter_rows():
            which = "a line of the invoice that is accepted now" if number <= restated else "the row"
            raise RejectError(f"{which} would be rejected, as {reason}: {ADVICE[reason]}")


def _of_invoice(judged: pl.DataFrame, key: tuple[str, date]) -> pl.DataFrame:
    number, day = key
    return judged.filter(pl.col("invoice_no") == number, pl.col("sale_date") == day).with_columns(id=row_id())
