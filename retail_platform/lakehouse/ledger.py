"""The ledger: which files were seen, what was accepted, and the deliveries, ranks and days that follow from it.

The table is a log of observations and is only ever added to. Everything else here is a fold over the set of its rows:
neither their order nor a row that is there twice changes an answer. Reading files stays out (`landing.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from retail_platform.lakehouse.mapping import Mapping, MappingError, load_mappings
from retail_platform.settings import Settings

_INSTANT = pl.Datetime("us", "UTC")
_DAYS = pl.List(pl.Struct({"day": pl.Date, "rows": pl.Int64}))

OBSERVATIONS = pl.Schema(
    {
        "path": pl.String(),
        "size": pl.Int64(),
        "modified_at": _INSTANT,
        "sha256": pl.String(),
        "sheet_index": pl.Int32(),
        "sheet_name": pl.String(),
        "format": pl.String(),
        "mapping": pl.String(),
        "mapping_fingerprint": pl.String(),
        "batch_id": pl.String(),
        "delivered_at": _INSTANT,
        "status": pl.String(),
        "reason": pl.String(),
        "message": pl.String(),
        "rows": pl.Int64(),
        "days": _DAYS,
        "undated_rows": pl.Int64(),
        "registered_at": _INSTANT,
        "parsed_at": _INSTANT,
    }
)
"""The columns of the log: those of `Observation`."""

COMPACT_FROM = 64
"""Data files from which the log is compacted: each commit adds one, and reading 64 small ones takes 0.1 s."""

_PART = ["delivery_id", "file_sha256", "sheet_index"]
_RANK = ["delivered_at", "path", "sheet_index", "file_sha256"]
_CONFIGURATION: dict[str, str | None] = {
    "delta.checkpointInterval": "20",
    "delta.logRetentionDuration": "interval 7 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}


@dataclass(frozen=True)
class Observation:
    """What was seen at one path once: one sheet of a file, accepted or set aside.

    Attributes:
        path: relative to landing.
        size: bytes of the file in landing.
        modified_at: its modification time, UTC.
        status: `accepted` or `set_aside`.
        registered_at: when the file was registered, UTC; for people and audit columns only.
        parsed_at: when it was last parsed, UTC: later than registered_at only where its mapping has changed since.
        sha256: of the kept bytes; None when none were kept.
        sheet_index: 0 for all but workbooks.
        sheet_name: of a workbook's sheet.
        format: as `formats.format_of` says.
        mapping: name of the mapping that read it.
        mapping_fingerprint: of that mapping, then.
        batch_id: from the file's name.
        delivered_at: the stamp in the name, or the modification time; UTC.
        reason: why it was set aside, a code.
        message: the same in words.
        rows: data rows.
        days: rows of each day, by the date as parsed.
        undated_rows: rows whose date could not be parsed.
    """

    path: str
    size: int
    modified_at: datetime
    status: Literal["accepted", "set_aside"]
    registered_at: datetime
    parsed_at: datetime
    sha256: str | None = None
    sheet_index: int = 0
    sheet_name: str | None = None
    format: str | None = None
    mapping: str | None = None
    mapping_fingerprint: str | None = None
    batch_id: str | None = None
    delivered_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    rows: int | None = None
    days: tuple[tuple[date, int], ...] = ()
    undated_rows: int | None = None


class Ledger:
    """One look at the ledger: it is read once, at the first question; make a new one to see what others added."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.deliveries / "ledger"
        self._first_day = settings.first_day
        self.mappings = load_mappings(settings)

    def append(self, observations: Sequence[Observation]) -> None:
        """Add observations, as one commit."""
        if not observations:
            return
        frame = _as_frame(observations)
        if not self._exists():
            DeltaTable.create(self._path, frame.to_arrow().schema, mode="ignore", configuration=_CONFIGURATION)
        write_deltalake(self._path, frame, mode="append")
        _keep_short(self._path)

    @cached_property
    def observations(self) -> pl.DataFrame:
        """Every observation, in no order: the columns of `OBSERVATIONS`."""
        if not self._exists():
            return OBSERVATIONS.to_frame()
        return pl.read_delta(str(self._path)).cast(OBSERVATIONS)

    def mapping(self, name: str) -> Mapping:
        """The mapping of this name.

        Raises:
            MappingError: deliveries were read by a mapping that is not there any more.
        """
        if name not in self.mappings:
            raise MappingError(
                f"the ledger holds deliveries read by mapping {name!r}, which is not among {sorted(self.mappings)}: "
                "put it back into the file of RETAIL_MAPPINGS"
            )
        return self.mappings[name]

    def deliveries(self) -> pl.DataFrame:
        """What was delivered, by rank.

        Returns:
            One row per (delivery_id, file_sha256, sheet_index), the parts of a batch under one delivery_id, with
            delivery_rank (from 0; higher wins), delivered_at, ingested_at, source_file, source_sheet, format, mapping,
            rows. delivered_at is the delivery's, source_file and ingested_at are the part's.
        """
        names = ["delivery_rank", "delivered_at", "ingested_at", "source_file", "source_sheet"]
        return self._parts.select("delivery_id", *names, "file_sha256", "sheet_index", "format", "mapping", "rows")

    def corrections(self) -> pl.DataFrame:
        """The deliveries that restate invoices for the sake of a rejected row: those rows of `deliveries`."""
        names = [name for name, mapping in self.mappings.items() if mapping.corrects]
        return self.deliveries().filter(pl.col("mapping").is_in(names))

    def delivery_days(self) -> pl.DataFrame:
        """The days that each part of a delivery holds, by part and day.

        Returns:
            One row per (delivery_id, file_sha256, sheet_index, sale_date) with rows; sale_date is the effective day,
            null for the rows without a usable one.
        """
        dated = self._parts.explode("days").drop_nulls("days").unnest("days", separator="_")
        dated = dated.select(
            *_PART, effective_day(pl.col("days_day"), self._first_day).alias("sale_date"), rows="days_rows"
        )
        undated = self._parts.select(*_PART, pl.lit(None, pl.Date).alias("sale_date"), rows="undated_rows")
        every = pl.concat([dated, undated]).filter(pl.col("rows") > 0)
        return every.group_by(*_PART, "sale_date").agg(pl.col("rows").sum()).sort(*_PART, "sale_date")

    def day_states(self) -> pl.DataFrame:
        """Which rows each effective day has.

        Returns:
            One row per day with rows, by sale_date (null first: rows without a day): sale_month, sale_date, rows and
            fingerprint. The fingerprint changes exactly when what bronze or silver must hold for the day may change: it
            is a hash over the day's deliveries in the order of their ranks, their rows, sources and mappings.
        """
        parts = self._parts.select(*_PART, "delivery_rank", text=self._part_texts())
        held = self.delivery_days().join(parts, on=_PART).sort("sale_date", "delivery_rank", *_PART)
        texts = pl.concat_str("text", "rows", separator="\x1f").str.join("\x1e").alias("fingerprint")
        days = held.group_by("sale_date", maintain_order=True).agg(pl.col("rows").sum(), texts)
        digests = [sha256(text.encode()).hexdigest() for text in days["fingerprint"]]
        return days.select(
            pl.col("sale_date").dt.truncate("1mo").alias("sale_month"),
            "sale_date",
            "rows",
            pl.Series("fingerprint", digests, pl.String),
        )

    def fingerprints(self) -> dict[date | None, str]:
        """Effective day (None: rows without one) -> fingerprint; see `day_states`."""
        return dict(self.day_states().select("sale_date", "fingerprint").iter_rows())

    def files(self) -> pl.DataFrame:
        """The newest observation of each path, by path and sheet: the columns of `OBSERVATIONS`."""
        newest = pl.col("registered_at") == pl.col("registered_at").max().over("path")
        seen = self.observations.filter(newest).sort("path", "sheet_index", "parsed_at")
        return seen.unique(["path", "sheet_index"], keep="last", maintain_order=True)

    def outdated(self) -> list[Observation]:
        """One observation of each content that is in use and was last parsed by another version of its mapping."""
        outdated = self._parsed.filter(~pl.col("is_current")).join(
            self._parts, on=["file_sha256", "sheet_index", "mapping"], how="semi"
        )
        rows = outdated.rename({"file_sha256": "sha256"}).select(OBSERVATIONS.names()).iter_rows(named=True)
        return [Observation(**row | {"days": tuple((day["day"], day["rows"]) for day in row["days"])}) for row in rows]

    def _exists(self) -> bool:
        return DeltaTable.is_deltatable(str(self._path))

    @cached_property
    def _accepted(self) -> pl.DataFrame:
        """The accepted observations, smallest rank first."""
        identity = pl.coalesce("batch_id", "file_sha256") + "#" + pl.col("sheet_index").cast(pl.String)
        accepted = self.observations.filter(pl.col("status") == "accepted").rename({"sha256": "file_sha256"})
        return accepted.with_columns(delivery_id=identity).sort(*_RANK, "delivery_id", "registered_at", "mapping")

    @cached_property
    def _parts(self) -> pl.DataFrame:
        """The columns of `deliveries`, and the parsed days and undated_rows; by rank and source."""
        seen = self._accepted.group_by(_PART, maintain_order=True).agg(
            pl.col("path", "sheet_name", "format", "mapping").first(), ingested_at=pl.col("registered_at").min()
        )
        ranks = self._accepted.unique("delivery_id", keep="first", maintain_order=True).select(
            "delivery_id", "delivered_at", delivery_rank=pl.int_range(pl.len(), dtype=pl.Int32)
        )
        held = self._parsed.select("file_sha256", "sheet_index", "mapping", "rows", "days", "undated_rows")
        return (
            seen.join(ranks, on="delivery_id")
            .join(held, on=["file_sha256", "sheet_index", "mapping"])
            .rename({"path": "source_file", "sheet_name": "source_sheet"})
            .sort("delivery_rank", "source_file", *_PART)
        )

    @cached_property
    def _parsed(self) -> pl.DataFrame:
        """What each content held when a mapping last parsed it: by the mapping as it is now, where that was done."""
        current = {name: self.mapping(name).fingerprint for name in self._accepted["mapping"].unique()}
        is_current = pl.col("mapping_fingerprint") == pl.col("mapping").replace_strict(current, return_dtype=pl.String)
        newest = self._accepted.with_columns(is_current=is_current).sort("is_current", "parsed_at", descending=True)
        return newest.unique(["file_sha256", "sheet_index", "mapping"], keep="first")

    def _part_texts(self) -> pl.Expr:
        """What else than its rank and rows makes a part's rows in bronze and silver, as one text."""
        prints = {name: mapping.fingerprint + mapping.rules_fingerprint for name, mapping in self.mappings.items()}
        mapping = pl.col("mapping").replace_strict(prints, return_dtype=pl.String)
        columns = [pl.col(name).cast(pl.String).fill_null("") for name in [*_PART, "source_file", "source_sheet"]]
        return pl.concat_str(*columns, mapping, separator="\x1f")


def _as_frame(observations: Sequence[Observation]) -> pl.DataFrame:
    rows = [vars(each) | {"days": [{"day": day, "rows": rows} for day, rows in each.days]} for each in observations]
    return pl.DataFrame(rows, schema=OBSERVATIONS)


def _keep_short(path: Path) -> None:
    """Put the small files of many commits together, so that reading the log stays quick."""
    table = DeltaTable(path)
    if len(table.file_uris()) < COMPACT_FROM:
        return
    try:
        table.optimize.compact()
    except CommitFailedError:
        # Another process has compacted the same files at this moment; nothing is left to do.
        return
    table.vacuum(dry_run=False)


def effective_day(parsed: pl.Expr, first_day: date) -> pl.Expr:
    """The day that a row may claim: as parsed, or null before the first day or later than the day after delivery.

    Args:
        parsed: the parsed day, in a frame that also has the delivery's delivered_at.
        first_day: the first day the platform knows.
    """
    last_day = pl.col("delivered_at").dt.date().dt.offset_by("1d")
    return pl.when(parsed.is_between(first_day, last_day)).then(parsed)
