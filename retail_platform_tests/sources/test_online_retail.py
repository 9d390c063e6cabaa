"""The public data set is fetched whole or not at all, checked, and split without losing a character."""

import io
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from retail_platform.lakehouse.formats import read_rows
from retail_platform.sources import online_retail
from retail_platform.sources.online_retail import (
    COLUMNS,
    ONLINE_RETAIL_II,
    WORKBOOK,
    DownloadError,
    SheetFigures,
    WrongContentError,
    check_figures,
    fetch,
    split,
)

FIRST = [
    ("489434", "85048", "15CM GLASS BALL ", 12, datetime(2009, 12, 1, 7, 45), 6.95, 13085, "United Kingdom"),
    ("C489449", "22087", 'PAPER "BUNTING", WHITE', -12, datetime(2009, 12, 1, 10, 33), 2.95, 16321, "Australia"),
    ("489450", "21000", None, 3, datetime(2009, 12, 2, 9, 0), 0, None, "EIRE"),
]
SECOND = [
    ("489450", "21000", "  doubled  spaces", 3, datetime(2009, 12, 2, 9, 0), 0.55, None, "EIRE"),
    ("489451", "POST", "POSTAGE", 1, datetime(2009, 12, 3, 12, 30), 18, 12680, "France"),
]
SMALL = (
    SheetFigures(rows=3, invoices=3, customers=2, total=Decimal("48")),
    SheetFigures(rows=2, invoices=2, customers=1, total=Decimal("19.65")),
)


def workbook(padding: int = 0) -> bytes:
    """A small workbook of the data set's form; padding makes it larger."""
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"default_date_format": "yyyy-mm-dd hh:mm:ss"})
    for rows in (FIRST, SECOND):
        sheet = book.add_worksheet()
        for number, row in enumerate([COLUMNS, *rows]):
            sheet.write_row(number, 0, row)
    book.set_properties({"comments": os.urandom(padding).hex()})
    book.close()
    return buffer.getvalue()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


ARCHIVE = zipped(online_retail_II__xlsx=workbook(padding=200_000))


@dataclass
class Server:
    """A server of one file, with the faults a test asks for.

    Attributes:
        content: the file.
        etag: what it calls the version, if anything.
        breaks: how many answers it cuts in the middle.
        refuses: statuses of its first answers.
        ranges: whether it answers ranges.
        asked: the Range header of each request.
    """

    content: bytes
    etag: str | None = '"one"'
    breaks: int = 0
    refuses: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if self.refuses:
            request.send_error(self.refuses.pop(0))
            return
        start = 0
        if wanted and self.ranges and request.headers.get("If-Range") == self.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        self._send(request, start)

    def _send(self, request: BaseHTTPRequestHandler, start: int) -> None:
        rest = self.content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(rest)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        if self.breaks:
            self.breaks -= 1
            rest = rest[: len(rest) // 2]
        request.wfile.write(rest)


@pytest.fixture
def serve() -> Iterator[Callable[[Server], Server]]:
    """Starts servers on ports of their own, and stops them."""
    running: list[ThreadingHTTPServer] = []

    def start(server: Server) -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: Any) -> None: ...

        running.append(http := ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=http.serve_forever, args=[0.02], daemon=True).start()
        server.url = f"http://127.0.0.1:{http.server_port}/data.zip"
        return server

    yield start
    for http in running:
        http.shutdown()
        http.server_close()


def get(server: Server, folder: Path, **arguments: Any) -> Path:
    return fetch(folder, url=server.url, expected=SMALL, pauses=(0, 0, 0), **arguments)


Serve = Callable[[Server], Server]


def test_fetch_gets_the_workbook_and_leaves_nothing_else(serve: Serve, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = get(serve(Server(ARCHIVE)), tmp_path, on_progress=lambda done, total: told.append((done, total)))
    assert path == tmp_path / WORKBOOK
    assert list(tmp_path.iterdir()) == [path]
    check_figures(path, SMALL)
    assert told[-1] == (len(ARCHIVE), len(ARCHIVE))


def test_a_workbook_that_is_there_is_not_fetched_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(Server(ARCHIVE))
    assert get(server, tmp_path) == get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_workbook_that_comes_without_a_zip_file_is_taken(serve: Serve, tmp_path: Path) -> None:
    check_figures(get(serve(Server(workbook())), tmp_path), SMALL)


def test_a_broken_download_is_resumed_where_it_broke(serve: Serve, tmp_path: Path) -> None:
    server = serve(Server(ARCHIVE, breaks=2))
    check_figures(get(server, tmp_path), SMALL)
    starts = [int(re.sub(r"\D", "", wanted)) for wanted in server.asked if wanted]
    assert server.asked[0] is None
    assert starts == [len(ARCHIVE) // 2, len(ARCHIVE) - (len(ARCHIVE) - len(ARCHIVE) // 2 + 1) // 2]


def test_progress_makes_up_for_failures(serve: Serve, tmp_path: Path) -> None:
    server = serve(Server(ARCHIVE, breaks=8))  # more than there are pauses
    check_figures(get(server, tmp_path), SMALL)


def test_the_next_fetch_resumes_what_this_one_gave_up(serve: Serve, tmp_path: Path) -> None:
    server = serve(Server(ARCHIVE))

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path, on_progress=stop)
    kept = next(file.stat().st_size for file in tmp_path.iterdir() if file.name.endswith("download.part"))
    assert not (tmp_path / WORKBOOK).exists()
    assert 0 < kept < len(ARCHIVE)
    check_figures(get(server, tmp_path), SMALL)
    assert server.asked == [None, f"bytes={kept}-"]


@pytest.mark.parametrize("server", [Server(ARCHIVE, breaks=1, ranges=False), Server(ARCHIVE, breaks=1, etag=None)])
def test_a_server_without_ranges_or_versions_starts_again(server: Server, serve: Serve, tmp_path: Path) -> None:
    check_figures(get(serve(server), tmp_path), SMALL)
    assert len(server.asked) == 2


def test_a_new_version_is_not_glued_to_the_old_one(serve: Serve, tmp_path: Path) -> None:
    other = zipped(online_retail_II__xlsx=workbook(padding=150_000))
    server = serve(Server(ARCHIVE, breaks=1))
    sizes: list[int] = []

    def change(done: int, total: int | None) -> None:
        sizes.append(done)
        server.content, server.etag = other, '"two"'

    check_figures(get(server, tmp_path, on_progress=change), SMALL)
    assert server.asked[-1] is not None  # it asked for the rest, and was given all
    assert sizes[-1] == len(other)


def test_a_break_after_the_last_byte_is_no_loss(serve: Serve, tmp_path: Path) -> None:
    server = serve(Server(ARCHIVE))

    def stop_at_the_end(done: int, total: int | None) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path, on_progress=stop_at_the_end)
    check_figures(get(server, tmp_path), SMALL)
    assert server.asked[-1] == f"bytes={len(ARCHIVE)}-"


def test_a_busy_server_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    check_figures(get(serve(Server(ARCHIVE, refuses=[503, 429])), tmp_path), SMALL)


@pytest.mark.parametrize(
    ("refuses", "message", "requests"),
    [([404], "answers 404 Not Found, expected the file", 1), ([500] * 9, "500 .* after 4 tries without progress", 4)],
)
def test_a_refusal_is_said(refuses: list[int], message: str, requests: int, serve: Serve, tmp_path: Path) -> None:
    server = serve(Server(ARCHIVE, refuses=refuses))
    with pytest.raises(DownloadError, match=message):
        get(server, tmp_path)
    assert len(server.asked) == requests
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"ConnectError.* after 2 tries without progress; 0 bytes are kept"):
        fetch(tmp_path, url="http://127.0.0.1:9/data.zip", expected=SMALL, pauses=(0,))


def test_too_much_is_refused_before_it_comes(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_retail, "MAX_DOWNLOAD", 100_000)
    with pytest.raises(DownloadError, match=f"has {len(ARCHIVE)} bytes, expected at most 100000"):
        get(serve(Server(ARCHIVE)), tmp_path)
    assert not (tmp_path / WORKBOOK).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Moved</html>", "what came begins with b'<html>Moved</html>'"),
        (ARCHIVE[:-100], "expected a zip file"),
        (zipped(readme__txt=b"none"), r"holds readme.txt \(4 bytes\); expected one .xlsx"),
        (zipped(a__xlsx=b"", b__xlsx=b""), "expected one .xlsx"),
        (zipped(a__xlsx=b"no workbook"), "is not the data set: the name says xlsx"),
    ],
)
def test_wrong_content_is_said_and_thrown_away(content: bytes, message: str, serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(WrongContentError, match=message):
        get(serve(Server(content)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_figures_are_said_and_thrown_away(serve: Serve, tmp_path: Path) -> None:
    expected = (SMALL[0], replace(SMALL[1], rows=3))
    with pytest.raises(WrongContentError, match=r"sheet 2: found .*rows=2.*expected .*rows=3"):
        fetch(tmp_path, url=serve(Server(ARCHIVE)).url, expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_other_columns_or_sheets_are_said(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pl.DataFrame({"InvoiceNo": ["1"]}).write_parquet(path)
    with pytest.raises(WrongContentError, match="found columns InvoiceNo; expected Invoice, StockCode"):
        check_figures(path, SMALL)
    book = tmp_path / WORKBOOK
    book.write_bytes(workbook())
    with pytest.raises(WrongContentError, match="has 2 sheets, expected 1"):
        check_figures(book, SMALL[:1])


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_split_by_sheet_keeps_rows_order_and_spaces(file_format: Any, tmp_path: Path) -> None:
    source = tmp_path / WORKBOOK
    source.write_bytes(workbook())
    files = split(source, tmp_path / "out", file_format=file_format, expected=SMALL)
    assert [file.name for file in files] == [
        f"online_retail_ii_sheet_1__20091203T010000Z.{file_format}",
        f"online_retail_ii_sheet_2__20091204T020000Z.{file_format}",
    ]
    rows = [read_rows(file, file_format, 0, 2**20) for file in files]
    assert all(tuple(part.header) == COLUMNS for part in rows)
    first, second = (pl.concat(part.batches).rows() for part in rows)
    assert first[1] == (
        "C489449", "22087", 'PAPER "BUNTING", WHITE', "-12", "2009-12-01 10:33:00", "2.95", "16321", "Australia",
    )  # fmt: skip
    assert (first[0][2], first[2][2], first[2][6], second[0][2]) == (
        "15CM GLASS BALL ",
        None,
        None,
        "  doubled  spaces",
    )
    assert (len(first), len(second)) == (3, 2)


def test_split_by_day_ranks_the_second_sheet_after_the_first(tmp_path: Path) -> None:
    source = tmp_path / WORKBOOK
    source.write_bytes(workbook())
    files = split(source, tmp_path / "out", by="day", expected=SMALL)
    assert [file.name for file in files] == [
        "online_retail_ii_2009-12-01_sheet_1__20091202T010000Z.csv",
        "online_retail_ii_2009-12-02_sheet_1__20091203T010000Z.csv",
        "online_retail_ii_2009-12-02_sheet_2__20091203T020000Z.csv",
        "online_retail_ii_2009-12-03_sheet_2__20091204T020000Z.csv",
    ]
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)


needs_real_data = pytest.mark.skipif("RETAIL_REAL_DATA" not in os.environ, reason="RETAIL_REAL_DATA names no folder")


@pytest.fixture(scope="module")
def real_data() -> Path:
    return Path(os.environ["RETAIL_REAL_DATA"], "online_retail_II.parquet")


@pytest.mark.real
@needs_real_data
def test_the_real_data_has_the_known_figures(real_data: Path) -> None:
    check_figures(real_data)
    with pytest.raises(WrongContentError, match="sheet 1"):
        check_figures(real_data, (replace(ONLINE_RETAIL_II[0], total=Decimal("9539484.633")), ONLINE_RETAIL_II[1]))


@pytest.mark.real
@needs_real_data
@pytest.mark.parametrize(("by", "count"), [("sheet", 2), ("day", 612)])
def test_split_real_data_is_all_of_it(by: Any, count: int, real_data: Path, tmp_path: Path) -> None:
    files = split(real_data, tmp_path, by=by)
    assert len(files) == count
    frames = [pl.concat(read_rows(file, "csv", 0, 2**30).batches) for file in files]
    for file, frame in zip(files, frames, strict=True):
        stamp = datetime.strptime(file.stem.rpartition("__")[2], "%Y%m%dT%H%M%SZ")
        assert date.fromisoformat(frame["InvoiceDate"].max()[:10]) == (stamp - timedelta(days=1)).date()  # type: ignore[index]
    by_sheet = sorted(
        zip(files, frames, strict=True), key=lambda pair: "sheet_2" in pair[0].name
    )  # stable: days in order
    published = pl.read_parquet(real_data)
    if by == "sheet":
        assert pl.concat([frame for _, frame in by_sheet]).equals(published)
    else:  # a day's rows are in the published order, and the days too
        day = pl.col("InvoiceDate").str.head(10)
        sheets = [published[: ONLINE_RETAIL_II[0].rows], published[ONLINE_RETAIL_II[0].rows :]]
        ordered = pl.concat(sheet.sort(day, maintain_order=True) for sheet in sheets)
        assert pl.concat([frame for _, frame in by_sheet]).equals(ordered)
