"""The public data set *Online Retail II*: fetched from its address, checked by its figures, split into deliveries.

Chen, D. (2012). *Online Retail II* [Dataset]. UCI Machine Learning Repository. https://doi.org/10.24432/C5CG6D, licence
CC BY 4.0. It is a workbook of two sheets; a Parquet file with the rows of both, one after the other, serves as well.
Reading it into the platform stays out: it lands like any other file.
"""

import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Literal

import httpx
import polars as pl

from retail_platform.lakehouse.formats import SetAside, check_content, format_of, read_rows, sheets_of

URL = "https://archive.ics.uci.edu/static/public/502/online+retail+ii.zip"
COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
WORKBOOK = "online_retail_II.xlsx"

MAX_DOWNLOAD = 200 * 2**20  # bytes; the workbook has about 45 MB
MAX_WORKBOOK = 2**30  # bytes unpacked, of the workbook and of what is in it
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait after one, two, … failures without progress between them; after more, the download is given up."""
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)  # seconds
_CHUNK = 2**20  # bytes

Progress = Callable[[int, int | None], None]
"""Told the bytes there are and the bytes there will be, if the server says."""


class DownloadError(Exception):
    """The data set could not be had from its address; what has arrived is kept, and the next fetch resumes it."""


class WrongContentError(Exception):
    """The content is not the data set: its columns or figures are not the known ones."""


@dataclass(frozen=True)
class SheetFigures:
    """What is known of one sheet.

    Attributes:
        rows: its rows, the header not counted.
        invoices: distinct values of Invoice.
        customers: distinct values of Customer ID.
        total: the sum of Quantity x Price, pounds sterling.
    """

    rows: int
    invoices: int
    customers: int
    total: Decimal


ONLINE_RETAIL_II = (
    SheetFigures(rows=525_461, invoices=28_816, customers=4_383, total=Decimal("9539484.634")),
    SheetFigures(rows=541_910, invoices=25_900, customers=4_372, total=Decimal("9747765.934")),
)
"""Rows and the second sheet's customers are published; the rest was counted on copies of both sheets that agree."""


def check_figures(source: Path, expected: Sequence[SheetFigures] = ONLINE_RETAIL_II) -> None:
    """Check that a file is the data set.

    Args:
        source: the workbook, or a Parquet file with the rows of all sheets in order.
        expected: the known figures, sheet by sheet.

    Raises:
        WrongContentError: it cannot be read, or its columns or figures differ; says what was found and expected.
    """
    sheets = _read_sheets(source, expected)
    for number, (sheet, figures) in enumerate(zip(sheets, expected, strict=True), 1):
        found = _figures(sheet)
        if found != figures:
            raise WrongContentError(
                f"{source.name}, sheet {number}: found {found}, expected {figures}: it is damaged or another edition"
            )


def _figures(sheet: pl.DataFrame) -> SheetFigures:
    """The figures of a sheet; a quantity or price that is no number counts nothing."""
    quantity = pl.col("Quantity").cast(pl.Decimal(38, 0), strict=False)
    amount = quantity * pl.col("Price").cast(pl.Decimal(38, 4), strict=False)
    values = sheet.select(
        pl.len(),
        pl.col("Invoice").drop_nulls().n_unique(),
        pl.col("Customer ID").drop_nulls().n_unique(),
        amount.sum().alias("total"),
    )
    return SheetFigures(*values.row(0))


def _read_sheets(source: Path, expected: Sequence[SheetFigures]) -> list[pl.DataFrame]:
    """The rows of each sheet as text; those of a Parquet file are cut where the known sheets end."""
    try:
        file_format = format_of(source.name)
        check_content(source, file_format, MAX_WORKBOOK)
        sheets = [_read_sheet(source, file_format, sheet.index) for sheet in sheets_of(source, file_format)]
    except SetAside as verdict:
        raise WrongContentError(f"{source.name} is not the data set: {verdict.message}") from verdict
    if file_format == "parquet":
        starts = [sum(figures.rows for figures in expected[:number]) for number in range(len(expected))]
        sheets = [sheets[0][start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    if len(sheets) != len(expected):
        raise WrongContentError(
            f"{source.name} has {len(sheets)} sheets, expected {len(expected)}: it is another workbook"
        )
    return sheets


def _read_sheet(source: Path, file_format: str, index: int) -> pl.DataFrame:
    rows = read_rows(source, file_format, index, MAX_WORKBOOK)
    if tuple(rows.header) != COLUMNS:
        raise WrongContentError(
            f"{source.name}, sheet {index + 1}: found columns {', '.join(rows.header)}; expected {', '.join(COLUMNS)}"
        )
    return pl.concat(rows.batches)


def split(
    source: Path,
    folder: Path,
    *,
    by: Literal["sheet", "day"] = "sheet",
    file_format: Literal["csv", "parquet"] = "csv",
    expected: Sequence[SheetFigures] = ONLINE_RETAIL_II,
) -> list[Path]:
    """Write the data set as the deliveries it could have come in.

    A file's name ends with the time of its delivery in UTC: the day after its last day, at 01:00 for the first sheet,
    02:00 for the second, so that of a day that both sheets hold the second sheet's rows are the later ones.

    Args:
        source: the workbook, or a Parquet file with the rows of all sheets in order.
        folder: where to write; made when missing.
        by: a file for each sheet, or for each day of each sheet.
        file_format: what to write; rows are as published, in their order, an empty cell is empty (CSV) or null.
        expected: the known figures, for the rows of each sheet in a Parquet file.

    Returns:
        The files in the order of their deliveries.

    Raises:
        WrongContentError: the source cannot be read or has other columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _write_delivery(rows, folder / f"{_delivery_name(rows, number, by)}.{file_format}")
        for number, sheet in enumerate(_read_sheets(source, expected), 1)
        for rows in _parts(sheet, by)
    ]
    return sorted(files, key=lambda file: file.stem.rpartition("__")[2])


def _parts(sheet: pl.DataFrame, by: Literal["sheet", "day"]) -> list[pl.DataFrame]:
    if by == "sheet":
        return [sheet]
    return sheet.with_columns(day=_DAY).partition_by("day", maintain_order=True, include_key=False)


_DAY = pl.col("InvoiceDate").str.head(len("2009-12-01"))


def _delivery_name(rows: pl.DataFrame, number: int, by: Literal["sheet", "day"]) -> str:
    last = rows.select(_DAY.max()).item()
    delivered_at = datetime.fromisoformat(last) + timedelta(days=1, hours=number)
    held = f"{date.fromisoformat(last)}_sheet_{number}" if by == "day" else f"sheet_{number}"
    return f"online_retail_ii_{held}__{delivered_at:%Y%m%dT%H%M%SZ}"


def _write_delivery(rows: pl.DataFrame, path: Path) -> Path:
    """Write a file that has its name when it is whole."""
    part = path.with_name(f".{path.name}.part")
    if path.suffix == ".csv":
        rows.write_csv(part)
    else:
        rows.write_parquet(part)
    return part.replace(path)


def fetch(
    folder: Path,
    *,
    url: str = URL,
    expected: Sequence[SheetFigures] = ONLINE_RETAIL_II,
    pauses: Sequence[float] = PAUSES,
    on_progress: Progress | None = None,
) -> Path:
    """Get the workbook from its public address and check it.

    A download that breaks is resumed, in this call and by the next. The workbook gets its name when it was checked; one
    that is there already is not fetched again.

    Args:
        folder: where to keep it; made when missing.
        url: a zip file that holds one workbook, or the workbook.
        expected: the known figures, sheet by sheet.
        pauses: seconds to wait after one, two, … failures without progress; after more it gives up.
        on_progress: told the bytes there are and will be.

    Returns:
        The workbook.

    Raises:
        DownloadError: the address does not answer, refuses, or sends too much.
        WrongContentError: what it sent is not the data set; it is thrown away.
    """
    workbook = folder / WORKBOOK
    if workbook.exists():
        return workbook
    folder.mkdir(parents=True, exist_ok=True)
    download = _Download(url, folder / f"{WORKBOOK}.download.part")
    download.run(pauses, on_progress or (lambda done, total: None))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unchecked-") as unchecked:
        try:
            unpacked = _unpack(download.part, Path(unchecked, WORKBOOK))
            check_figures(unpacked, expected)
        finally:
            download.forget()  # wrong bytes must not be resumed, right ones are in the workbook
        os.replace(unpacked, workbook)
    return workbook


def _unpack(archive: Path, workbook: Path) -> Path:
    """Take the one workbook out of a zip file, by our own name; a workbook is a zip file too, and taken as it is.

    Raises:
        WrongContentError: it is no zip file, holds no or several workbooks, or too large a one.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            if "xl/workbook.xml" in packed.namelist():
                return Path(shutil.copyfile(archive, workbook))
            found = [entry for entry in packed.infolist() if entry.filename.lower().endswith(".xlsx")]
            if len(found) != 1 or found[0].file_size > MAX_WORKBOOK:
                held = ", ".join(f"{entry.filename} ({entry.file_size} bytes)" for entry in packed.infolist())
                raise WrongContentError(
                    f"the zip file holds {held}; expected one .xlsx of at most {MAX_WORKBOOK} bytes"
                )
            with packed.open(found[0]) as source, workbook.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
    except zipfile.BadZipFile as error:
        with archive.open("rb") as file:
            begin = file.read(60)
        raise WrongContentError(f"expected a zip file, found {error}; what came begins with {begin!r}") from error
    return workbook


class _Download:
    """One file that comes over HTTP, with what has arrived of it.

    Attributes:
        url: where from.
        part: what has arrived.
        validator: what the server calls the version that it is of, beside it; without one nothing is resumed.
    """

    def __init__(self, url: str, part: Path) -> None:
        self.url = url
        self.part = part
        self.validator = part.with_name(f"{part.name.removesuffix('.part')}.validator.part")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Throw away what has arrived."""
        self.part.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)

    def run(self, pauses: Sequence[float], on_progress: Progress) -> None:
        """Get all of it, in as many requests as it takes while there is progress."""
        failures, size = 0, self.size
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
            while True:
                try:
                    return self._request(client, on_progress)
                except (httpx.RequestError, _ServerBusy) as error:
                    failures = 0 if self.size > size else failures
                    size = self.size
                    if failures == len(pauses):
                        raise DownloadError(
                            f"{self.url}: {error!r} after {failures + 1} tries without progress; {size} bytes are "
                            "kept: check the connection and fetch again to resume"
                        ) from error
                    time.sleep(pauses[failures])
                    failures += 1

    def _request(self, client: httpx.Client, on_progress: Progress) -> None:
        """Ask for what is missing, and add what comes."""
        with client.stream("GET", self.url, headers=self._headers()) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("content-range") == f"bytes */{self.size}":
                    return  # the break came after the last byte
                self.forget()
                raise _ServerBusy("the server has less than what is kept; starting again")
            start = self._check(response)
            total = _total(response, start)
            if total and total > MAX_DOWNLOAD:
                raise DownloadError(
                    f"{self.url} has {total} bytes, expected at most {MAX_DOWNLOAD}: it is another file"
                )
            with self._open(response, start) as file:
                for (
                    chunk
                ) in response.iter_raw():  # with a chunk size, httpx loses what it has when the connection breaks
                    file.write(chunk)
                    on_progress(file.tell(), total)
                    if file.tell() > MAX_DOWNLOAD:
                        raise DownloadError(f"{self.url} sends more than {MAX_DOWNLOAD} bytes: it is another file")

    def _headers(self) -> dict[str, str]:
        """Headers that ask for the rest of the version that has begun to arrive, or for all of it."""
        plain = {"Accept-Encoding": "identity"}
        if not self.size or not self.validator.exists():
            return plain
        return plain | {"Range": f"bytes={self.size}-", "If-Range": self.validator.read_text()}

    def _check(self, response: httpx.Response) -> int:
        """The place of the answer's first byte in the file.

        Raises:
            DownloadError: the server refuses, for good.
            _ServerBusy: it refuses, for now.
        """
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            if not response.headers.get("content-range", "").startswith(f"bytes {self.size}-"):
                raise DownloadError(f"{self.url} answers a range other than asked for: {response.headers}")
            return self.size
        if response.status_code == httpx.codes.OK:
            return 0
        answer = f"{response.status_code} {response.reason_phrase}"
        if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _ServerBusy(answer)
        raise DownloadError(
            f"{self.url} answers {answer}, expected the file: give its address with --url if it has moved"
        )

    def _open(self, response: httpx.Response, start: int) -> BinaryIO:
        """The file to write from `start` on, the answer's version noted first."""
        if start:
            return self.part.open("ab")
        self.forget()
        validator = response.headers.get("etag", "W/")
        validator = response.headers.get("last-modified", "") if validator.startswith("W/") else validator
        if validator:
            self.validator.write_text(validator)
        return self.part.open("wb")


class _ServerBusy(Exception):  # noqa: N818 - never leaves this module
    """An answer that may be another one in a while."""


def _total(response: httpx.Response, start: int) -> int | None:
    """The size of the whole file, if the server says."""
    length = response.headers.get("content-length")
    return start + int(length) if length else None
