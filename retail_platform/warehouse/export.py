"""Rows of the warehouse as files: CSV, Arrow, Parquet and Excel, made in bounded memory at any number of rows.

Lives here: how a SELECT becomes the bytes of a file. Stays out: which rows and columns somebody may have, and how the
bytes reach them (`serving`), where files of tasks are kept (`defs`).

PostgreSQL writes CSV (COPY), which goes out as it is or is read again, a block at a time, by Arrow's CSV reader with
the types of the columns. docs/decisions/0015 says why.
"""

import io
import itertools
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import xlsxwriter
from psycopg import sql
from xlsxwriter.worksheet import Worksheet

from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.tables import READER

BLOCK_BYTES = 2**20
"""CSV text that is handled at once."""

ROW_GROUP_ROWS = 128 * 1024
"""Rows that a Parquet writer holds until they are encoded; readers skip and parallelise by row group."""

SHEET_ROWS = 2**20 - 1
"""Rows a sheet of Excel holds beneath its header; more go on in a further sheet."""

CELL_CHARACTERS = 32_767
"""The longest text a cell of Excel holds."""

GZIP_LEVEL = 6

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "text": pa.string(),
    "uuid": pa.string(),
    "jsonb": pa.string(),
}
"""PostgreSQL's types as Arrow has them; numeric(p, s) besides, which is decimal128(p, s)."""

NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")


class ExportError(Exception):
    """Rows do not fit into the kind of file that was asked for."""


@dataclass(frozen=True)
class Selection:
    """The rows to export.

    Attributes:
        statement: a SELECT with psycopg's placeholders, whose columns are `columns`.
        values: of the placeholders.
        columns: name -> PostgreSQL type, in order.
    """

    statement: str
    values: Mapping[str, Any]
    columns: Mapping[str, str]


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        suffix: of file names.
        media_type: as HTTP names it.
        compressions: what may compress it; the first one does when nothing is said.
    """

    suffix: str
    media_type: str
    compressions: tuple[str, ...]


FILE_KINDS: Mapping[str, FileKind] = {
    "csv": FileKind("csv", "text/csv; charset=utf-8", ("none", "gzip", "zstd")),
    "parquet": FileKind("parquet", "application/vnd.apache.parquet", ("zstd", "snappy", "gzip", "none")),
    # The file format, not the stream: it ends in a footer, so that a file cut short is never read as a whole one.
    "arrow": FileKind("arrow", "application/vnd.apache.arrow.file", ("lz4", "zstd", "none")),
    "xlsx": FileKind("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ("none",)),
}

WHOLE_FILE_SUFFIXES = {"gzip": (".gz", "application/gzip"), "zstd": (".zst", "application/zstd")}
"""Compression of a whole CSV file -> what its name ends in, and its type; Parquet and Arrow compress inside."""


def name_and_type(name: str, format: str, compression: str) -> tuple[str, str]:
    """The name of an export's file, and its media type.

    Args:
        name: without a suffix.
        format: a key of `FILE_KINDS`.
        compression: one of its.
    """
    kind = FILE_KINDS[format]
    if format == "csv" and compression in WHOLE_FILE_SUFFIXES:
        suffix, media_type = WHOLE_FILE_SUFFIXES[compression]
        return f"{name}.{kind.suffix}{suffix}", media_type
    return f"{name}.{kind.suffix}", kind.media_type


class Export:
    """One file, made while it is read.

    Attributes:
        rows: how many it holds; known when the last chunk was taken.
    """

    def __init__(self, database: Database, selection: Selection, format: str, compression: str, seconds: float) -> None:
        """Prepare the export; nothing is asked yet.

        Args:
            database: the warehouse.
            selection: the rows.
            format: a key of `FILE_KINDS`.
            compression: one of its.
            seconds: how long the database may work on it.
        """
        self.rows = 0
        self._database = database
        self._selection = selection
        self._format = format
        self._compression = compression
        self._seconds = seconds
        self._connection: psycopg.Connection | None = None

    def chunks(self) -> Generator[bytes]:
        """The bytes of the file, in chunks of about a megabyte.

        Raises:
            psycopg.errors.QueryCanceled: it took too long, or `cancel` was called.
            psycopg.OperationalError: the database does not answer.
            psycopg.errors.UndefinedTable: the warehouse holds nothing yet.
            ExportError: a value does not fit into the kind of file.
        """
        header = sql.SQL("true" if self._format == "csv" else "false")
        statement = sql.SQL("copy ({}) to stdout (format csv, header {})").format(
            sql.SQL(self._selection.statement),  # made of the catalogue's names only
            header,
        )
        with self._connect() as connection, connection.cursor() as cursor:
            self._connection = connection
            # COPY takes no parameters: psycopg writes the values into the statement as literals of their types.
            with cursor.copy(statement, self._selection.values) as copy:
                yield from self._file(_blocks(copy))
            self.rows = cursor.rowcount

    def cancel(self) -> None:
        """End the statement, from another thread; taking a chunk fails then."""
        if self._connection is not None:
            self._connection.cancel_safe(timeout=5)

    def _connect(self) -> psycopg.Connection:
        options = {
            "role": READER,
            "default_transaction_read_only": "on",
            "statement_timeout": f"{self._seconds:.0f}s",
            "timezone": "UTC",
        }
        text = " ".join(f"-c {name}={value}" for name, value in options.items())
        return self._database.connect(options=text, application_name="retail export", connect_timeout=5)

    def _file(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        if self._format == "csv":
            return _compressed(blocks, self._compression)
        types = {name: arrow_type(type_name) for name, type_name in self._selection.columns.items()}
        schema = pa.schema(list(types.items()))
        batches = (_batch(block, schema) for block in blocks)
        return WRITERS[self._format](batches, schema, self._compression)


def save(chunks: Iterable[bytes], path: Path) -> Path:
    """Write a file that is seen under its name only when it is whole.

    Args:
        chunks: its bytes.
        path: its name; folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return part.rename(path)


def remove_old_folders(parent: Path, days: int) -> None:
    """Remove the folders in which nothing was written for some days."""
    oldest = time.time() - days * 24 * 60 * 60
    for folder in parent.glob("*"):
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder)


def arrow_type(postgres_type: str) -> pa.DataType:
    """The Arrow type that holds every value of a column.

    Raises:
        ValueError: No type is known to.
    """
    if numeric := NUMERIC.fullmatch(postgres_type):
        return pa.decimal128(*map(int, numeric.groups()))
    if postgres_type not in ARROW_TYPES:
        raise ValueError(f"No Arrow type is known for PostgreSQL's {postgres_type}; add it to ARROW_TYPES.")
    return ARROW_TYPES[postgres_type]


def _blocks(rows: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytes]:
    """Whole rows joined to blocks: the server sends one message a row."""
    block: list[bytes | bytearray | memoryview] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row)
        if size >= BLOCK_BYTES:
            yield b"".join(block)
            block.clear()
            size = 0
    if block:
        yield b"".join(block)


def _batch(block: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a block. An empty field is null, an empty text comes in quotes."""
    table = pyarrow.csv.read_csv(
        pa.py_buffer(block),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=schema.names),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    (batch,) = table.combine_chunks().to_batches()
    return batch


class _Sink(io.RawIOBase):
    """A file that is taken away while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def take(self) -> Iterator[bytes]:
        """What was written since the last time, unless that is nothing."""
        if self._parts:
            yield b"".join(self._parts)
            self._parts.clear()


def _compressed(blocks: Iterator[bytes], compression: str) -> Iterator[bytes]:
    if compression == "none":
        yield from blocks
    elif compression == "gzip":
        packer = zlib.compressobj(GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)
        yield from filter(None, map(packer.compress, blocks))
        yield packer.flush()
    else:
        sink = _Sink()
        with pa.CompressedOutputStream(sink, compression) as stream:
            for block in blocks:
                stream.write(block)
                yield from sink.take()
        yield from sink.take()


def _arrow(batches: Iterator[pa.RecordBatch], schema: pa.Schema, compression: str) -> Iterator[bytes]:
    sink = _Sink()
    options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield from sink.take()
    yield from sink.take()


def _parquet(batches: Iterator[pa.RecordBatch], schema: pa.Schema, compression: str) -> Iterator[bytes]:
    sink = _Sink()
    with pyarrow.parquet.ParquetWriter(sink, schema, compression=compression) as writer:
        for group in _row_groups(batches):
            writer.write_table(group, row_group_size=group.num_rows)
            yield from sink.take()
    yield from sink.take()


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(held)
            held.clear()
    if held:
        yield pa.Table.from_batches(held)


def _xlsx(batches: Iterator[pa.RecordBatch], schema: pa.Schema, compression: str) -> Iterator[bytes]:
    """A workbook can only be sent when its last row is written: until then its rows are on disk.

    The empty chunk at first says that the rows have begun to come, so that whoever waits can be told.
    """
    first = list(itertools.islice(batches, 1))
    yield b""
    batches = itertools.chain(first, batches)
    with tempfile.TemporaryDirectory(prefix="retail-xlsx-") as folder:
        path = Path(folder, "export.xlsx")
        _write_workbook(path, batches, schema)
        with path.open("rb") as file:
            yield from iter(lambda: file.read(BLOCK_BYTES), b"")


def _write_workbook(path: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "remove_timezone": True,
        "default_date_format": "yyyy-mm-dd hh:mm:ss",
    }
    with closing(xlsxwriter.Workbook(path, options)) as workbook:
        workbook.use_zip64()
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        writers = [_cell_writer(field, day) for field in schema]
        sheet, row = None, SHEET_ROWS
        for batch in batches:
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if row == SHEET_ROWS:
                    sheet, row = _new_sheet(workbook, schema), 0
                row += 1
                for column, value in enumerate(values):
                    if value is not None:
                        writers[column](sheet, row, column, value)
        if sheet is None:
            _new_sheet(workbook, schema)


def _new_sheet(workbook: xlsxwriter.Workbook, schema: pa.Schema) -> Worksheet:
    sheet = workbook.add_worksheet()
    sheet.freeze_panes(1, 0)
    bold = workbook.add_format({"bold": True})
    for column, name in enumerate(schema.names):
        sheet.write_string(0, column, name, bold)
    return sheet


CellWriter = Callable[[Any, int, int, Any], Any]


def _cell_writer(field: pa.Field, day: Any) -> CellWriter:
    """How a column's cells are written. A text is never a formula; a key is a text, as Excel rounds after 15 digits."""
    if pa.types.is_boolean(field.type):
        return lambda sheet, row, column, value: sheet.write_boolean(row, column, value)
    if pa.types.is_date(field.type):
        return lambda sheet, row, column, value: sheet.write_datetime(row, column, value, day)
    if pa.types.is_timestamp(field.type):
        return lambda sheet, row, column, value: sheet.write_datetime(row, column, value)
    if pa.types.is_int64(field.type) and field.name.endswith("_key"):
        return lambda sheet, row, column, value: sheet.write_string(row, column, str(value))
    if pa.types.is_string(field.type):
        return _write_text
    return lambda sheet, row, column, value: sheet.write_number(row, column, value)


def _write_text(sheet: Worksheet, row: int, column: int, value: str) -> None:
    if len(value) > CELL_CHARACTERS:
        raise ExportError(
            f"A text of {len(value)} characters is longer than the {CELL_CHARACTERS} of an Excel cell; "
            "export without its column, or as csv, arrow or parquet."
        )
    sheet.write_string(row, column, value)


WRITERS: Mapping[str, Callable[[Iterator[pa.RecordBatch], pa.Schema, str], Iterator[bytes]]] = {
    "arrow": _arrow,
    "parquet": _parquet,
    "xlsx": _xlsx,
}
