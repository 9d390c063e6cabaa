"""Stages: each delivered sheet parsed once into Parquet, and bronze rows read from there.

A stage is a pure function of the kept bytes and the mapping's fingerprint: it is made when it is missing, so the folder
may be deleted at any time. Which deliveries there are and which day a row may claim is the ledger's (`ledger.py`).
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import polars as pl
import pyarrow.parquet

from retail_platform.contracts import BRONZE_SALES
from retail_platform.lakehouse.formats import Rows, SetAside, no_rows, read_rows
from retail_platform.lakehouse.ledger import Ledger, effective_day
from retail_platform.lakehouse.mapping import TEXT_COLUMNS, Mapping
from retail_platform.settings import Settings


class Content(NamedTuple):
    """One sheet of kept bytes: what a delivery holds."""

    file_sha256: str
    sheet_index: int
    format: str


class StageError(Exception):
    """An accepted delivery can no longer be parsed: its bytes or its mapping are not what they were."""


def bytes_path(settings: Settings, file_sha256: str) -> Path:
    """Where accepted bytes are kept."""
    return settings.deliveries / "bytes" / file_sha256[:2] / file_sha256


def has_stage(settings: Settings, mapping: Mapping, content: Content) -> bool:
    """Whether the sheet is parsed by this version of the mapping."""
    return _stage_path(settings, mapping, content).exists()


def write_stage(settings: Settings, mapping: Mapping, content: Content, rows: Rows) -> None:
    """Parse the rows of a sheet into its stage, in order, batch by batch; visible when it is whole.

    Raises:
        SetAside: the sheet has no data rows, or a batch cannot be read.
    """
    path = _stage_path(settings, mapping, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        _write_parquet(temporary, _staged(mapping, rows))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def restore_stage(settings: Settings, mapping: Mapping, content: Content) -> None:
    """Make the stage of an accepted sheet from its kept bytes.

    Raises:
        StageError: the bytes are gone, or the mapping does not read them any more.
    """
    kept = bytes_path(settings, content.file_sha256)
    if not kept.exists():
        raise StageError(f"{kept} is gone, whose rows the ledger holds: put the deliveries folder back from a backup")
    try:
        # Registration found it small enough; a setting that was lowered since must not lose it.
        rows = read_rows(kept, content.format, content.sheet_index, max_bytes=sys.maxsize)
        if missing := mapping.missing(rows.header):
            raise SetAside("missing_column", f"of the columns {rows.header} none is {', '.join(missing)}")
        write_stage(settings, mapping, content, rows)
    except SetAside as verdict:
        raise StageError(
            f"{kept} (sheet {content.sheet_index}) was accepted once, but mapping {mapping.name!r} no longer reads "
            f"it: {verdict.message}. Undo the change of the mapping, or add the new one under another name"
        ) from verdict


def count_days(settings: Settings, mapping: Mapping, content: Content) -> dict[date | None, int]:
    """Parsed day (None: unreadable) -> rows of the sheet's stage, by day."""
    days = Counter[date | None]()
    with pyarrow.parquet.ParquetFile(_stage_path(settings, mapping, content)) as file:
        for batch in file.iter_batches(columns=["parsed_date"], use_threads=False):
            counted = batch["parsed_date"].value_counts().to_pylist()
            days.update({each["values"]: each["counts"] for each in counted})
    return dict(sorted(days.items(), key=lambda day: (day[0] is not None, day[0] or date.min)))


def bronze_rows(settings: Settings, ledger: Ledger, start: date, end: date) -> pl.LazyFrame:
    """The delivered rows whose effective day is in [start, end), in the columns of bronze; their order is free."""
    dated = pl.col("sale_date").is_not_null()
    days = ledger.delivery_days().filter(pl.col("sale_date").is_between(start, end, closed="left"))
    parsed = pl.col("parsed_date").is_between(start, end, closed="left")
    return _rows(settings, ledger, days, parsed).filter(dated)


def delivered_rows(
    settings: Settings, ledger: Ledger, parts: pl.DataFrame, parsed: pl.Expr | None = None
) -> pl.LazyFrame:
    """The rows of some parts of deliveries, in the columns of bronze; their order is free.

    Args:
        settings: the platform.
        ledger: the deliveries.
        parts: rows of `Ledger.deliveries`.
        parsed: a condition on parsed_date that holds for all wanted rows; None takes all.
    """
    return _rows(settings, ledger, parts, pl.lit(True) if parsed is None else parsed)


def staged_rows(mapping: Mapping, rows: Rows) -> pl.DataFrame:
    """What the stage of a sheet would hold, without writing one: source_row, the text columns, rescued, …"""
    return pl.concat(_staged(mapping, rows), how="diagonal")


def undated_rows(settings: Settings, ledger: Ledger) -> pl.LazyFrame:
    """The delivered rows that have no usable day, in the columns of bronze; their order is free."""
    days = ledger.delivery_days().filter(pl.col("sale_date").is_null())
    return _rows(settings, ledger, days, pl.lit(True)).filter(pl.col("sale_date").is_null())


def _stage_path(settings: Settings, mapping: Mapping, content: Content) -> Path:
    name = f"{content.file_sha256}-{content.sheet_index}.parquet"
    return settings.lake / "stage" / mapping.fingerprint / name


def _staged(mapping: Mapping, rows: Rows) -> Iterator[pl.DataFrame]:
    """Batches of a stage's columns: source_row, the text columns, rescued, invoiced_at, parsed_date."""
    first = 1
    for batch in rows.batches:
        if batch.is_empty():
            continue
        texts = batch.lazy().select(pl.when(pl.all() != "").then(pl.all())).select(_canonical(mapping, batch.columns))
        # Each distinct text is parsed once: a day's file has a few dozen.
        times = texts.select("invoice_date").unique().with_columns(invoiced_at=_invoiced_at(mapping.date_formats))
        yield (
            texts.with_row_index("source_row", first)
            .join(times, on="invoice_date", how="left", nulls_equal=True, maintain_order="left")
            .with_columns(pl.col("source_row").cast(pl.Int64), parsed_date=pl.col("invoiced_at").dt.date())
            .collect()
        )
        first += batch.height


def _canonical(mapping: Mapping, names: Sequence[str]) -> list[pl.Expr]:
    """The text columns under bronze's names, and what the mapping does not know as one JSON object."""
    sources = {column: name for name, column in mapping.assign(names).items()}
    known = [pl.col(sources[column]) if column in sources else pl.lit(None, pl.String) for column in TEXT_COLUMNS]
    rescued = [name for name in names if name not in sources.values()]
    return [
        *(source.alias(column) for source, column in zip(known, TEXT_COLUMNS, strict=True)),
        _as_json(rescued).alias("rescued"),
    ]


def _as_json(names: Sequence[str]) -> pl.Expr:
    """One JSON object of text columns; null where all of them are."""
    if not names:
        return pl.lit(None, pl.String)
    filled = pl.any_horizontal(pl.col(name).is_not_null() for name in names)
    return pl.when(filled).then(pl.struct(*map(pl.col, names)).struct.json_encode())


def _invoiced_at(date_formats: Sequence[str]) -> pl.Expr:
    """The time of invoice_date by the first format that reads it."""
    text = pl.col("invoice_date").str.strip_chars()
    return pl.coalesce(text.str.to_datetime(each, strict=False, time_unit="us") for each in date_formats)


def _write_parquet(path: Path, batches: Iterator[pl.DataFrame]) -> None:
    """One row group a batch, so that a day's rows are found by the groups' statistics."""
    tables = (batch.to_arrow(compat_level=pl.CompatLevel.oldest()) for batch in batches)
    if (first := next(tables, None)) is None:
        raise no_rows()
    with pyarrow.parquet.ParquetWriter(path, first.schema, compression="lz4") as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def _rows(settings: Settings, ledger: Ledger, days: pl.DataFrame, parsed: pl.Expr) -> pl.LazyFrame:
    """Rows of the deliveries in `days`, with their effective day.

    Args:
        settings: the platform.
        ledger: the deliveries.
        days: delivery_id, file_sha256 and sheet_index of the sheets to open.
        parsed: a condition on parsed_date that holds for all wanted rows, by which row groups are skipped.
    """
    key = ["delivery_id", "file_sha256", "sheet_index"]
    parts = ledger.deliveries().join(days, on=key, how="semi")
    if parts.is_empty():
        return BRONZE_SALES.empty().lazy()
    parts = parts.with_columns(_stages(settings, ledger, parts))
    rows = pl.scan_parquet(parts["stage"].unique().to_list(), glob=False, include_file_paths="stage").filter(parsed)
    day = effective_day(pl.col("parsed_date"), settings.first_day)
    return (
        rows.join(parts.lazy(), on="stage")
        .with_columns(sale_date=day, sale_month=day.dt.truncate("1mo"))
        .select(BRONZE_SALES.schema.names())
    )


def _stages(settings: Settings, ledger: Ledger, parts: pl.DataFrame) -> pl.Series:
    """The stage of each part; one that is missing is made first."""
    paths = []
    for *content, name in parts.select("file_sha256", "sheet_index", "format", "mapping").iter_rows():
        mapping = ledger.mapping(name)
        if not has_stage(settings, mapping, Content(*content)):
            restore_stage(settings, mapping, Content(*content))
        paths.append(str(_stage_path(settings, mapping, Content(*content))))
    return pl.Series("stage", paths, pl.String)
