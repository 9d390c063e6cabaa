"""File formats: from the bytes of one file to frames of text, in order, losslessly and in bounded memory.

A value is the text that the file holds. Where a format holds no text: whole numbers without `.0`, other floats in their
shortest decimal form without exponent, times as `YYYY-MM-DD HH:MM:SS[.ffffff]` (with their offset where they have one),
true and false, nested values as JSON. An empty cell is a null; so are NaN and an Excel error. Workbooks are read whole,
all else in batches. What a column means stays out (`mapping.py`); so does where files lie (`landing.py`).
"""

import codecs
import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import fastexcel
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

CHUNK = 2**20
"""Bytes (or characters) per read."""
CSV_BLOCK = 8 * 2**20
"""Bytes per batch of a CSV file, about 100,000 sales lines."""
BATCH_ROWS = 100_000
"""Rows per batch of the other formats."""
MAX_JSON_OBJECT = 16 * CHUNK
"""Characters after which a JSON object that does not end is given up."""
MAX_RATIO = 200
"""Unpacked by packed size above which a file is a bomb: sales lines pack 5 to 30 times."""
RATIO_FROM = 64 * CHUNK
"""Unpacked bytes up to which any ratio is harmless."""

_TEXT = {"csv": "csv", "tsv": "csv", "txt": "csv", "json": "json", "jsonl": "json", "ndjson": "json"}
_BINARY = ("parquet", "xlsx", "xlsb", "xls")
_WORKBOOKS = ("xlsx", "xlsb", "xls")
_CODECS = {"gz": "gzip", "zst": "zstd"}
_MAGIC = {
    b"PAR1": "parquet",
    b"PK\x03\x04": "zip",
    b"\xd0\xcf\x11\xe0": "ole",
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
}
_EXPECTED_KINDS = {"parquet": ("parquet",), "gz": ("gz",), "zst": ("zst",)} | dict.fromkeys(_WORKBOOKS, ("zip", "ole"))
_KIND_NAMES = {
    "parquet": "a Parquet file",
    "zip": "a zip file or an Excel workbook",
    "ole": "an old Excel workbook (.xls) or a protected one",
    "gz": "a gzip file",
    "zst": "a zstd file",
    "text": "text or something unknown",
}
_SEPARATORS = (",", ";", "\t")
_NOT_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_END = "\x03end of file\x03"


class SetAside(Exception):  # noqa: N818 - it is a verdict on a file, not a fault of the program
    """A file that cannot be taken, with a reason code and words for the one who sent it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Sheet:
    """One table of a file: a sheet of a workbook, or the file itself (index 0, no name)."""

    index: int
    name: str | None


@dataclass(frozen=True)
class Rows:
    """The rows of one sheet.

    Attributes:
        header: the column names, each once; of JSON those of the first batch.
        batches: frames of text columns by these names, in order; a batch of JSON may have more columns.
    """

    header: list[str]
    batches: Iterator[pl.DataFrame]


def format_of(name: str) -> str:
    """The format that a file's name says: `csv`, `json`, `csv.gz`, `json.zst`, `parquet`, `xlsx`, ….

    Raises:
        SetAside: no known ending.
    """
    *_, inner, last = ["", "", *name.lower().split(".")[1:]]
    if last in _BINARY:
        return last
    if last in _TEXT:
        return _TEXT[last]
    if last in _CODECS and inner in _TEXT:
        return f"{_TEXT[inner]}.{last}"
    raise SetAside(
        "unknown_format",
        f"the name {name!r} ends in no known format; expected .{', .'.join([*_TEXT, *_BINARY])}, "
        f"the text formats also with .{' or .'.join(_CODECS)}: rename the file or convert it",
    )


def check_content(path: Path, file_format: str, max_bytes: int) -> None:
    """Look at a file's first bytes and, where it is packed, at what it says of its unpacked size.

    Raises:
        SetAside: the file is empty, of another format than its name says, or a bomb.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise SetAside("empty", "the file has 0 bytes; expected a header and rows: send it again")
    found = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "text")
    last = file_format.rpartition(".")[2]
    if found not in _EXPECTED_KINDS.get(last, ("text",)):
        raise SetAside(
            "wrong_format",
            f"the name says {file_format}, the content is {_KIND_NAMES[found]}: give the file the ending it needs",
        )
    if found == "zip":
        _check_workbook_size(path, max_bytes)


def sheets_of(path: Path, file_format: str) -> list[Sheet]:
    """The sheets of a workbook in order; one sheet for every other format."""
    if file_format not in _WORKBOOKS:
        return [Sheet(0, None)]
    with _reading():
        return [Sheet(index, name) for index, name in enumerate(fastexcel.read_excel(path).sheet_names)]


def read_rows(path: Path, file_format: str, sheet_index: int, max_bytes: int) -> Rows:
    """Read one sheet.

    Args:
        path: the kept file, whatever its name.
        file_format: as `format_of` says.
        sheet_index: 0 for all but workbooks.
        max_bytes: a file that unpacks to more is not read.

    Raises:
        SetAside: the file holds no rows or cannot be read; also while the batches are taken.
    """
    kind, _, codec = file_format.partition(".")
    with _reading():
        if kind == "csv":
            rows = _read_csv(path, codec, max_bytes)
        elif kind == "json":
            rows = _read_json(path, codec, max_bytes)
        elif kind == "parquet":
            rows = _read_parquet(path, max_bytes)
        else:
            rows = _read_sheet(path, sheet_index)
    return Rows(rows.header, _each_reading(rows.batches))


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what readers raise for bad bytes, and nothing else, into a verdict on the file."""
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        fastexcel.FastExcelError,
        csv.Error,
        RecursionError,
        UnicodeError,
        zipfile.BadZipFile,
    ) as error:
        raise _unreadable(str(error)) from error
    except OSError as error:
        # Arrow raises OSError without a number for bad bytes; with one, it is the machine's (disk full, no permission).
        if error.errno is not None:
            raise
        raise _unreadable(str(error)) from error


def _each_reading(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    while True:
        with _reading():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _unreadable(found: str) -> SetAside:
    return SetAside("unreadable", f"the file cannot be read: {found}. Expected a whole, valid file: send it again")


def _names(cells: Sequence[str | None]) -> list[str]:
    """Column names from the cells of a header row; an empty one is named by its place.

    Raises:
        SetAside: a name occurs twice.
    """
    names = [(cell or "").removeprefix("\ufeff") or f"column_{place}" for place, cell in enumerate(cells, 1)]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise SetAside("duplicate_column", f"the header names {double} more than once; expected each once: rename them")
    return names


# Text: plain or packed


def _open(path: Path, codec: str) -> BinaryIO:
    """The file's bytes, unpacked while they are read."""
    if not codec:
        return path.open("rb")
    return cast(BinaryIO, pa.CompressedInputStream(pa.OSFile(str(path)), _CODECS[codec]))


def _chunks(path: Path, codec: str) -> Iterator[bytes]:
    with _open(path, codec) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _encoding(path: Path, codec: str, max_bytes: int) -> str:
    """Go through the whole text once: its encoding, by what it holds.

    Returns:
        `utf-8`; else `cp1252`; else, for bytes that are not in it, `latin-1`, in which every byte is a character.

    Raises:
        SetAside: a bomb, or bytes that no text has.
    """
    decoder, encoding, size = codecs.getincrementaldecoder("utf-8")(), "utf-8", 0
    limit = min(max_bytes, max(RATIO_FROM, MAX_RATIO * path.stat().st_size)) if codec else None
    for chunk in chain(_chunks(path, codec), [b""]):
        size += len(chunk)
        if limit is not None and size > limit:
            raise _too_large(f"more than {limit} bytes", path.stat().st_size, max_bytes)
        if b"\0" in chunk:
            raise _unreadable("it holds NUL bytes, so it is no text in UTF-8 or Latin-1 (save UTF-16 as UTF-8)")
        if encoding == "utf-8":
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                encoding = "cp1252"
        if encoding != "latin-1" and encoding != "utf-8" and any(byte in chunk for byte in _NOT_CP1252):
            encoding = "latin-1"
    return encoding


def _too_large(unpacked: str, packed: int, max_bytes: int) -> SetAside:
    return SetAside(
        "too_large",
        f"the file's {packed} bytes unpack to {unpacked}; expected at most {max_bytes} and {MAX_RATIO} times its size: "
        "send it in parts, or raise RETAIL_MAX_UNCOMPRESSED_BYTES",
    )


# CSV


class _Ended(io.RawIOBase):
    """A stream with bytes added to its end."""

    def __init__(self, file: BinaryIO, ending: bytes) -> None:
        self._file, self._ending = file, ending

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if not data:
            data, self._ending = self._ending[:size], self._ending[size:]
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_csv(path: Path, codec: str, max_bytes: int) -> Rows:
    """Strict: a row with more or fewer fields than the header, or a quote that never ends, sets the file aside."""
    encoding = _encoding(path, codec, max_bytes)
    separator, cells = _csv_header(path, codec, encoding)
    names = _names(cells)
    return Rows(names, _csv_batches(path, codec, encoding, separator, names))


def _csv_header(path: Path, codec: str, encoding: str) -> tuple[str, list[str]]:
    """The separator and the header's cells: of the separators, the one that makes most cells of the header."""
    text = codecs.getincrementaldecoder(encoding)().decode(next(_chunks(path, codec), b"")).removeprefix("\ufeff")
    headers: list[tuple[str, list[str]]] = [
        (separator, next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=separator)), []))
        for separator in _SEPARATORS
    ]
    separator, cells = max(headers, key=lambda header: len(header[1]))
    if not cells:
        raise no_rows()
    return separator, cells


def no_rows() -> SetAside:
    """The verdict on a sheet without data rows."""
    return SetAside("empty", "the file holds no rows; expected a header and at least one row: send it again")


def _csv_batches(path: Path, codec: str, encoding: str, separator: str, names: list[str]) -> Iterator[pl.DataFrame]:
    """The data rows: without the header's row at the start and our own at the end."""
    ragged: list[pyarrow.csv.InvalidRow] = []
    held: pl.DataFrame | None = None
    try:
        for batch in _csv_reader(path, codec, encoding, separator, len(names), ragged):
            frame = cast(pl.DataFrame, pl.from_arrow(batch.rename_columns(names)))
            if held is None:
                frame = frame[1:]
            else:
                yield held
            held = frame
    except pa.ArrowInvalid as error:
        raise (_ragged_row(ragged[0]) if ragged else _unreadable(str(error))) from error
    if held is None or held.is_empty() or held.row(-1) != (_END,) * len(names):
        raise _unreadable("a quote is opened and never closed")
    yield held[:-1]


def _csv_reader(
    path: Path, codec: str, encoding: str, separator: str, width: int, ragged: list[pyarrow.csv.InvalidRow]
) -> pyarrow.csv.CSVStreamingReader:
    """A reader of text columns named by their place; the row that stops it is put into `ragged`."""

    def stop(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    columns = [str(place) for place in range(width)]
    # A last row of our own: when it does not come back as a row, a quote that never ends has swallowed it.
    ending = "\n" + separator.join([_END] * width) + "\n"
    return pyarrow.csv.open_csv(
        _Ended(_open(path, codec), ending.encode("ascii")),
        # Without threads Arrow knows the number of a bad row; they were no faster for text columns.
        pyarrow.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK, column_names=columns, encoding=encoding),
        pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=stop),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _ragged_row(row: pyarrow.csv.InvalidRow) -> SetAside:
    return SetAside(
        "ragged_row",
        f"data row {row.number - 1} has {row.actual_columns} fields, the header {row.expected_columns}; expected as "
        f"many: quote the fields that hold the separator. The row begins {row.text[:80]!r}",
    )


# JSON


class _Number(str):
    """A number of a JSON text, as it is written there."""


def _read_json(path: Path, codec: str, max_bytes: int) -> Rows:
    """Objects in lines, or in one array; numbers keep the text they are written in."""
    if (encoding := _encoding(path, codec, max_bytes)) != "utf-8":
        raise _unreadable(f"JSON must be UTF-8, this looks like {encoding}")
    objects = _json_file(path, codec)
    first = list(islice(objects, BATCH_ROWS))
    if not first:
        raise no_rows()
    header = list(dict.fromkeys(chain.from_iterable(first)))
    rest = iter(lambda: list(islice(objects, BATCH_ROWS)), [])
    return Rows(header, (_json_frame(batch, header) for batch in chain([first], rest)))


def _json_file(path: Path, codec: str) -> Iterator[dict[str, Any]]:
    """Every object of the file, which is closed with the iterator."""
    with io.TextIOWrapper(_open(path, codec), encoding="utf-8-sig") as text:
        yield from _json_objects(text)


def _json_objects(text: TextIO) -> Iterator[dict[str, Any]]:
    """Every object of the text, read piece by piece: `[{…}, {…}]`, or objects with white space between them."""
    decoder = json.JSONDecoder(
        parse_float=_Number, parse_int=_Number, parse_constant=_Number, object_pairs_hook=_unique_keys
    )
    buffer = text.read(CHUNK).lstrip()
    in_array = buffer.startswith("[")
    between, place, row = re.compile(r"[\s,]*" if in_array else r"\s*"), int(in_array), 1
    while True:
        place = cast(re.Match[str], between.match(buffer, place)).end()
        if in_array and buffer.startswith("]", place):
            return _check_end(buffer[place + 1 :] + text.read(CHUNK))
        try:
            value, place = decoder.raw_decode(buffer, place)
        except json.JSONDecodeError as error:
            more = text.read(CHUNK) if len(buffer) - place < MAX_JSON_OBJECT else ""
            if not more and place == len(buffer) and not in_array:
                return None
            if not more:
                found = buffer[error.pos : error.pos + 40]
                raise _unreadable(f"row {row} is no JSON: {error.msg}, at {found!r}") from error
            buffer, place = buffer[place:] + more, 0
            continue
        if not isinstance(value, dict):
            raise _unreadable(f"row {row} is no JSON object but {str(value)[:40]!r}")
        yield value
        row += 1


def _check_end(rest: str) -> None:
    if rest.strip():
        raise _unreadable(f"after the JSON array comes {rest.strip()[:40]!r}")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON lets a key come twice, of which one value would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise SetAside("duplicate_column", f"a JSON object names a key twice; expected each once: {str(pairs)[:200]}")
    return values


def _json_frame(rows: list[dict[str, Any]], header: list[str]) -> pl.DataFrame:
    names = dict.fromkeys(chain(header, chain.from_iterable(rows)))
    return pl.DataFrame({name: _json_texts([row.get(name) for row in rows]) for name in names})


def _json_texts(values: list[Any]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.String, strict=True)
    except TypeError:
        return pl.Series([_plain_text(value) for value in values], dtype=pl.String)


def _plain_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _json_text(value)


def _json_text(value: Any) -> str:
    """The value as JSON, its numbers as they were written."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key, ensure_ascii=False)}: {_json_text(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# Parquet


def _read_parquet(path: Path, max_bytes: int) -> Rows:
    file = pyarrow.parquet.ParquetFile(path)
    groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
    if (size := sum(group.total_byte_size for group in groups)) > max_bytes:
        raise _too_large(f"{size} bytes", path.stat().st_size, max_bytes)
    names = _names(file.schema_arrow.names)
    batches = (cast(pl.DataFrame, pl.from_arrow(batch)) for batch in file.iter_batches(BATCH_ROWS))
    return Rows(names, (pl.DataFrame([_texts(column) for column in batch]) for batch in batches))


def _texts(values: pl.Series) -> pl.Series:
    """A column of any type as text."""
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime):
        return values.dt.to_string("%Y-%m-%d %H:%M:%S%.f" + ("%:z" if dtype.time_zone else ""))
    if dtype.is_float():
        return _float_texts(values)
    if dtype == pl.Binary:
        return pl.Series(values.name, [value and value.decode() for value in values], pl.String)
    if dtype.is_nested() or isinstance(dtype, pl.Duration):
        return _nested_texts(values)
    return values.cast(pl.String)


def _float_texts(values: pl.Series) -> pl.Series:
    texts = values.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    with_exponent = texts.filter(texts.str.contains("e", literal=True)).unique().to_list()
    return texts.replace({text: format(Decimal(text), "f") for text in with_exponent})


def _nested_texts(values: pl.Series) -> pl.Series:
    """Each value as JSON, by way of an object `{"v":…}` around it."""
    encoded = values.alias("v").to_frame().select(pl.struct("v").struct.json_encode().str.slice(5).str.head(-1))
    texts = encoded.to_series().set(values.is_null(), None)
    return texts.alias(values.name)


# Excel


def _check_workbook_size(path: Path, max_bytes: int) -> None:
    """By the sizes that the zip directory states."""
    with _reading(), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if size > max_bytes or any(e.file_size > max(RATIO_FROM, MAX_RATIO * e.compress_size) for e in entries):
        raise _too_large(f"{size} bytes", path.stat().st_size, max_bytes)


def _read_sheet(path: Path, index: int) -> Rows:
    """One sheet: the first row that is not empty is the header, empty rows at the end are no rows."""
    sheet = fastexcel.read_excel(path).load_sheet(
        index, header_row=None, dtypes="string", skip_whitespace_tail_rows=True
    )
    if sheet.height < 2:
        raise no_rows()
    frame = sheet.to_polars()
    names = _names(frame.row(0))
    return Rows(names, iter([frame[1:].rename(dict(zip(frame.columns, names, strict=True)))]))
