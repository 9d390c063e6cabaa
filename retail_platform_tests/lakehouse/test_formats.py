import gzip
import io
import json
import re
import zipfile
from base64 import b85decode
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zlib import decompress

import polars as pl
import pyarrow as pa
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given
from hypothesis import settings as trial
from hypothesis import strategies as st

from retail_platform.lakehouse import formats
from retail_platform.lakehouse.formats import SetAside, check_content, format_of, read_rows, sheets_of
from retail_platform.lakehouse.mapping import TEXT_COLUMNS
from retail_platform.settings import Settings
from retail_platform_tests.lakehouse.platform import HEADER, LINE, bronze, land, reason, registered

OLD_WORKBOOK = (
    "c-rk)O=uHA6#izDv`N~gNlb)RETLf4+JahzAhe0U!GpC`L=i#LB+!^9kr0J=&}z*^5Cl&aFNJ#WQuX2wdeEB(p+ygZAWiJilc3<C"
    "&HCo;CZrLe0WGxb7v|0Tn>R1>ySsC<uENyQ_9AL9024~84GmQ~LB&=UoFKcZO14~Esi+3l6l_+S$Oa2uwY+bXb13J#2nA2fZ;1k5"
    "shq<l45m{t-zwq&=MWY$hkl|04@l!c8)xNa8ezJD>0|bM%{0iGJ52k@w;;}9HZa)j*H`fwrIT$A$hgnB&1cr^f*0@PD!zVKXucNg"
    "&&0!HYs}DLZpJidLPN1sEF)zv9?C77BlISdz0s&|baY=bS%8P8d>TJhAMm5Rx8L{-{p#ukNdIfOzVR=5D@|ps{+?n6#-U!|t&&F*"
    "`pnW|!tt@_B0{{cWuY~3G<78%kHqLCKbcKO5(m@K7@ge1m&2)SJezB(I2;ORV-{d2Lp;^~y*u~#?eYrXBg47u$Y|lM)J!yrR_0y2"
    "p`4WM;-l{$j*Scj&a-BmuL<ok*&?%siW{;8HFmH?VM;xsoB16~Z*tU4%(pZ3kPp>eLtdRZGQmE#*xE(?^f5jLwpQ`mh|hl;e$kO%"
    "2y7>QCRDuYnfVl$LML5rQED%L6X+2=V)DMk%Rspn`oZ&sY1<!%kX3Q&xvTn(*@`9DnRPMMBsn^wA}RV<X_AQ~Q$;e9WY!~#n#k7_"
    "JL_DyIKP?w1xJ=6r`crW-7+SPte~iFoFd$wTnK7*8GW9*8BpAK#={=0y6){TV8DO@0|pEjFtF|*^apMeKWu7`-THe1f7e-}QZhc1"
    "tXrHwntoY&oji;b)fwdKT0a|M5#?B7g>A~;3nfld?-?X8!g(a>UcdB0CaV9>iW@rr-4?31|5819{^$OG1K<|rmH"
)
"""An .xls (BIFF8) of one sheet `Old` and one line, written by xlwt; compressed with zlib, in base 85."""
MAX = 2**40


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, file_format: str, sheet: int = 0) -> pl.DataFrame:
    return pl.concat(read_rows(path, file_format, sheet, MAX).batches, how="diagonal")


def packed(content: str, ending: str) -> bytes:
    if ending == "gz":
        return gzip.compress(content.encode())
    return bytes(pa.Codec("zstd").compress(content.encode(), asbytes=True))


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    book = xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd hh:mm"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    book.close()
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.TSV", "csv"),
        ("a.b.txt.gz", "csv.gz"),
        ("a.json", "json"),
        ("a.ndjson.zst", "json.zst"),
        ("a.parquet", "parquet"),
        ("a.xlsb", "xlsb"),
    ],
)
def test_the_name_says_the_format(name: str, expected: str) -> None:
    assert format_of(name) == expected


@pytest.mark.parametrize("name", ["a.pdf", "csv", "a", "a.gz", "a.parquet.gz", "a.xlsx.zst", ".gz"])
def test_an_unknown_ending_lists_the_known_ones(name: str) -> None:
    with pytest.raises(SetAside, match=r"\.csv.*\.xlsx.*\.gz") as verdict:
        format_of(name)
    assert verdict.value.reason == "unknown_format"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_of_any_separator_and_encoding(settings: Settings, separator: str, encoding: str, newline: str) -> None:
    text = (HEADER + LINE.replace("GLASS", "£ naïve")).replace(",", separator).replace("\n", newline)
    land(settings, "a.csv", text.encode(encoding))
    registered(settings)
    row = bronze(settings).row(0, named=True)
    assert row["description"] == "15CM CHRISTMAS £ naïve BALL"
    assert (row["invoice_no"], row["unit_price"], row["country"]) == ("489434", "6.95", "United Kingdom")
    assert (row["sale_date"], row["invoiced_at"]) == (date(2009, 12, 1), datetime(2009, 12, 1, 7, 45))


def test_bytes_outside_cp1252_are_latin_1(tmp_path: Path) -> None:
    assert read(write(tmp_path / "f", b"a,b\n\x81,\xa3\n"), "csv").rows() == [("\x81", "£")]


def test_late_bytes_decide_the_encoding_of_the_whole_file(tmp_path: Path) -> None:
    frame = read(write(tmp_path / "f", b"a,b\n" + b"x,y\n" * 600_000 + b"\xa3,y\n"), "csv")
    assert frame.height == 600_001
    assert frame["a"][-1] == "£"


def test_csv_fields_are_kept_as_they_are_and_empty_ones_are_null(tmp_path: Path) -> None:
    text = 'a,b,c\n 1 ,"x, ""y""\r\nz",\n"",5" plate,NA\n\nnull,-,0012\n,,\n'
    assert read(write(tmp_path / "f", text), "csv").rows() == [
        (" 1 ", 'x, "y"\r\nz', None),
        (None, '5" plate', "NA"),
        ("null", "-", "0012"),
        (None, None, None),
    ]


def test_rows_of_a_csv_are_numbered_over_batches_and_quoted_newlines(settings: Settings) -> None:
    count = 250_000
    body = "".join(f'{n},85048,"two\nlines",1,2010-01-{1 + n % 28:02} 10:00,1,,UK\n' for n in range(1, count + 1))
    assert len(body) > formats.CSV_BLOCK
    land(settings, "a.csv", HEADER + body)
    registered(settings)
    rows = bronze(settings)
    assert rows["source_row"].to_list() == list(range(1, count + 1))
    assert (rows["invoice_no"] == rows["source_row"].cast(pl.String)).all()


@pytest.mark.parametrize("extra", ["1,2,3,4", "1,2"])
def test_a_csv_row_of_more_or_fewer_fields_is_named(tmp_path: Path, extra: str) -> None:
    path = write(tmp_path / "f", 'a,b,c\n1,"2\n",3\n' + extra + "\n4,5,6\n")
    with pytest.raises(SetAside, match=f"data row 2 has {len(extra.split(','))} fields, the header 3") as verdict:
        read(path, "csv")
    assert verdict.value.reason == "ragged_row"


@pytest.mark.parametrize("text", ['a,b\n1,"2\n3,4\n', 'a,b\n1,2\n3,"4', 'a,b\n1,2\n"3,4\n5,"6"\n'])
def test_a_quote_that_never_ends_loses_no_rows_in_silence(tmp_path: Path, text: str) -> None:
    with pytest.raises(SetAside) as verdict:
        read(write(tmp_path / "f", text), "csv")
    assert verdict.value.reason in ("unreadable", "ragged_row")


def test_a_row_longer_than_two_blocks_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(SetAside, match="block size") as verdict:
        read(write(tmp_path / "f", "a,b\n1," + "x" * (2 * formats.CSV_BLOCK + 10) + "\n"), "csv")
    assert verdict.value.reason == "unreadable"


@pytest.mark.parametrize("content", ["a,b\n1,2\n".encode("utf-16"), b"a,b\n1,\x00\n"])
def test_what_is_no_text_is_unreadable(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SetAside, match="NUL") as verdict:
        read(write(tmp_path / "f", content), "csv")
    assert verdict.value.reason == "unreadable"


def test_equal_column_names_are_refused_and_unnamed_ones_are_numbered(tmp_path: Path) -> None:
    with pytest.raises(SetAside, match="note") as verdict:
        read(write(tmp_path / "f", "a,note,note\n1,2,3\n"), "csv")
    assert verdict.value.reason == "duplicate_column"
    assert read(write(tmp_path / "f", "a,,\n1,2,\n"), "csv").columns == ["a", "column_2", "column_3"]


@trial(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["C"]) | st.sampled_from('",;\t\n\r')), min_size=3, max_size=3
        ),
        min_size=1,
        max_size=20,
    ),
    separator=st.sampled_from(",;\t"),
    quoted=st.booleans(),
)
def test_any_text_comes_back_from_a_csv(tmp_path: Path, rows: list[list[str]], separator: str, quoted: bool) -> None:
    def cell(text: str) -> str:
        needed = quoted or not text or any(mark in text for mark in '",;\t\n\r') or text.isspace()
        return '"' + text.replace('"', '""') + '"' if needed else text

    table = [["first", "second", "third"], *rows]
    path = write(tmp_path / "f", "\n".join(separator.join(map(cell, row)) for row in table) + "\n")
    assert read(path, "csv").rows() == [tuple(text or None for text in row) for row in rows]


JSON_ROW = '{"Invoice": 489434, "StockCode": "85048", "Quantity": 12, "InvoiceDate": "2009-12-01 07:45", "Price": 6.50'


@pytest.mark.parametrize(
    "text",
    [
        JSON_ROW + "}\n" + JSON_ROW + "}\n",
        JSON_ROW + "}" + JSON_ROW + "}",
        "[" + JSON_ROW + "},\n" + JSON_ROW + "}]",
        "\ufeff [ " + JSON_ROW + "} , " + JSON_ROW + "} ] \n",
    ],
)
def test_json_lines_and_arrays_keep_numbers_as_written(settings: Settings, text: str) -> None:
    land(settings, "a.json", text)
    registered(settings)
    rows = bronze(settings)
    assert rows["source_row"].to_list() == [1, 2]
    columns = ["invoice_no", "quantity", "unit_price", "country"]
    assert rows.select(columns).unique().rows() == [("489434", "12", "6.50", None)]


def test_json_values_of_every_kind_become_text(tmp_path: Path) -> None:
    text = '{"a": 12345678901234567890.10, "b": true, "c": null, "d": {"x": [1.50, "é"]}, "e": 1e3}\n{"f": ""}\n{}\n'
    frame = read(write(tmp_path / "f", text), "json")
    assert frame.row(0) == ("12345678901234567890.10", "true", None, '{"x": [1.50, "é"]}', "1e3", None)
    assert frame.height == 3


def test_json_over_chunks_and_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "CHUNK", 7)
    monkeypatch.setattr(formats, "BATCH_ROWS", 3)
    rows = [{"a": n, "b" if n % 2 else "c": "x" * n} for n in range(1, 20)]
    for text in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
        frame = read(write(tmp_path / "f", text), "json")
        assert frame["a"].to_list() == [str(n) for n in range(1, 20)]
        assert frame["c"].to_list() == [None if n % 2 else "x" * n for n in range(1, 20)]


@pytest.mark.parametrize(
    ("text", "reason_code", "cause"),
    [
        ('{"a": 1}\n{"a": \n', "unreadable", "row 2 is no JSON"),
        ('[{"a": 1}, {"a": 2}', "unreadable", "row 3 is no JSON"),
        ('[{"a": 1}] {"a": 2}', "unreadable", "after the JSON array"),
        ('{"a": 1}\n2\n', "unreadable", "row 2 is no JSON object"),
        ('{"a": 1, "a": 2}', "duplicate_column", "names a key twice"),
        ('{"a": "\\ud800"}', "unreadable", "surrogate"),
        ("[" * 100_000, "unreadable", "recursion"),
        ('{"a": "\xe9"}', "unreadable", "UTF-8"),
        ("[]", "empty", "no rows"),
        (" \n", "empty", "no rows"),
    ],
)
def test_bad_json_says_what_is_wrong(tmp_path: Path, text: str, reason_code: str, cause: str) -> None:
    with pytest.raises(SetAside, match=cause) as verdict:
        read(write(tmp_path / "f", text.encode("latin-1")), "json")
    assert verdict.value.reason == reason_code


def test_parquet_types_become_text_without_loss(tmp_path: Path) -> None:
    at = datetime(2009, 12, 1, 7, 45)
    pl.DataFrame(
        {
            "text": ["  x ", ""],
            "int": [489434, None],
            "whole": [13085.0, float("nan")],
            "tiny": [1e-7, 1e16],
            "money": [Decimal("2.50"), None],
            "time": [at, at + timedelta(microseconds=500)],
            "zoned": pl.Series([at, None]).dt.replace_time_zone("UTC"),
            "day": [at.date(), None],
            "flag": [True, False],
            "list": [[1.5, 2.0], None],
            "kind": pl.Series(["a", "b"], dtype=pl.Categorical),
            "bytes": [b"ab", None],
        }
    ).write_parquet(tmp_path / "f")
    assert read(tmp_path / "f", "parquet").rows() == [
        (
            *("  x ", "489434", "13085", "0.0000001", "2.50"),
            *("2009-12-01 07:45:00", "2009-12-01 07:45:00+00:00", "2009-12-01", "true", "[1.5,2.0]", "a", "ab"),
        ),
        (
            *("", None, None, "10000000000000000", None),
            *("2009-12-01 07:45:00.000500", None, None, "false", None, "b", None),
        ),
    ]


def test_parquet_bytes_that_are_no_text_are_unreadable(tmp_path: Path) -> None:
    pl.DataFrame({"a": [b"\xff\xfe"]}).write_parquet(tmp_path / "f")
    with pytest.raises(SetAside) as verdict:
        read(tmp_path / "f", "parquet")
    assert verdict.value.reason == "unreadable"


SALES: list[object] = ["Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"]


def test_every_sheet_is_a_delivery_in_order_and_empty_ones_are_none(settings: Settings, tmp_path: Path) -> None:
    one: list[list[object]] = [
        SALES,
        [489434.0, "85048", 12, datetime(2009, 12, 1, 7, 45), 2.55545, 13085.0],
        ["C1", 22, -1, "1.12.2010 08:26", 1e-7],
    ]
    two: list[list[object]] = [[], SALES, [7, 8, 9, "2010-01-02", 1]]
    book = workbook(tmp_path / "b.xlsx", {"One": one, "None": [], "Head": [SALES], "Two": two})
    land(settings, "b.xlsx", book.read_bytes())
    registration, ledger = registered(settings)
    assert registration.accepted == 1
    columns = ["sheet_index", "source_sheet", "delivery_rank"]
    assert ledger.deliveries().select(columns).rows() == [(0, "One", 0), (3, "Two", 1)]
    assert ledger.files()["status"].to_list() == ["accepted", "accepted"]
    text = ["invoice_no", "stock_code", "quantity", "invoice_date", "unit_price", "customer_id"]
    assert bronze(settings).select("source_row", *text, "sale_date").rows() == [
        (1, "489434", "85048", "12", "2009-12-01 07:45:00", "2.55545", "13085", date(2009, 12, 1)),
        (2, "C1", "22", "-1", "1.12.2010 08:26", "0.0000001", None, None),
        (1, "7", "8", "9", "2010-01-02", "1", None, date(2010, 1, 2)),
    ]


def test_a_sheet_of_something_else_is_set_aside_and_the_others_go_on(settings: Settings, tmp_path: Path) -> None:
    sheets = {"Notes": [["Hello"], ["World"]], "Sales": [SALES, [1, 2, 3, "2010-01-01", 4]]}
    book = workbook(tmp_path / "b.xlsx", sheets)
    land(settings, "b.xlsx", book.read_bytes())
    _, ledger = registered(settings)
    assert ledger.files().select("sheet_name", "status", "reason").rows() == [
        ("Notes", "set_aside", "missing_column"),
        ("Sales", "accepted", None),
    ]


def test_a_workbook_of_empty_sheets_is_empty(settings: Settings, tmp_path: Path) -> None:
    land(settings, "b.xlsx", workbook(tmp_path / "b.xlsx", {"One": [], "Two": []}).read_bytes())
    assert reason(settings)[0] == "empty"


def test_an_old_workbook_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f", decompress(b85decode(OLD_WORKBOOK)))
    check_content(path, "xls", MAX)
    assert [sheet.name for sheet in sheets_of(path, "xls")] == ["Old"]
    assert read(path, "xls").rows() == [("489434", "85048", "12", "2009-12-01 07:45:00", "6.95")]


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize(("kind", "text"), [("csv", HEADER + LINE), ("jsonl", JSON_ROW + "}\n")])
def test_text_may_come_packed(settings: Settings, ending: str, kind: str, text: str) -> None:
    land(settings, f"a.{kind}.{ending}", packed(text, ending))
    registered(settings)
    assert bronze(settings)["invoice_no"].to_list() == ["489434"]


def test_a_gzip_of_two_members_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "f", packed("a,b\n1,2\n", "gz") + packed("3,4\n", "gz"))
    assert read(path, "csv.gz").rows() == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_packed_file_that_is_cut_off_is_unreadable(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "f", packed((HEADER + LINE) * 50, ending)[:-9])
    with pytest.raises(SetAside, match="Truncated") as verdict:
        read(path, f"csv.{ending}")
    assert verdict.value.reason == "unreadable"


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_bomb_is_never_unpacked_to_its_end(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "f", packed("a,b\n" + "x" * (formats.RATIO_FROM + formats.CHUNK), ending))
    with pytest.raises(SetAside, match=f"more than {formats.RATIO_FROM} bytes") as verdict:
        read_rows(path, f"csv.{ending}", 0, MAX)
    assert verdict.value.reason == "too_large"


def test_the_setting_bounds_what_is_unpacked(settings: Settings) -> None:
    land(settings, "a.csv.gz", packed(HEADER + LINE * 100, "gz"))
    code, message = reason(settings.model_copy(update={"max_uncompressed_bytes": 1000}))
    assert code == "too_large"
    assert "RETAIL_MAX_UNCOMPRESSED_BYTES" in message


def test_a_bomb_of_a_workbook_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(formats.RATIO_FROM + 1))
    with pytest.raises(SetAside) as verdict:
        check_content(tmp_path / "f", "xlsx", MAX)
    assert verdict.value.reason == "too_large"


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason_code", "cause"),
    [
        ("a.csv", b"", "empty", "0 bytes"),
        ("a.csv", HEADER, "empty", "no rows"),
        ("a.csv", "\n\n", "empty", "no rows"),
        ("a.csv", "a,b\n1,2\n", "missing_column", "found the columns 'a', 'b'.*invoice_no as 'Invoice', 'InvoiceNo'"),
        ("a.csv", HEADER.replace("Country", "InvoiceNo") + LINE, "duplicate_column", "Invoice.*InvoiceNo"),
        ("a.csv", zipped(), "wrong_format", "an Excel workbook"),
        ("a.csv", b"PAR1....", "wrong_format", "a Parquet file"),
        ("a.csv", gzip.compress(LINE.encode()), "wrong_format", "a gzip file"),
        ("a.csv.gz", LINE, "wrong_format", "text"),
        ("a.xlsx", LINE, "wrong_format", "text"),
        ("a.xlsx", zipped(), "unreadable", "cannot be read"),
        ("a.xlsx", b"PK\x03\x04....", "unreadable", "not a zip file"),
        ("a.xls", b"\xd0\xcf\x11\xe0....", "unreadable", "cannot be read"),
        ("a.parquet", b"PAR1....PAR1", "unreadable", "cannot be read"),
        ("a.csv.gz", b"\x1f\x8b....", "unreadable", "cannot be read"),
        ("a.pdf", LINE, "unknown_format", "a.pdf"),
        ("a__20101399T000000Z.csv", HEADER + LINE, "bad_stamp", "20101399T000000Z"),
    ],
)
def test_a_file_that_cannot_be_taken_is_set_aside_with_its_reason(
    settings: Settings, name: str, content: bytes | str, reason_code: str, cause: str
) -> None:
    land(settings, name, content)
    code, message = reason(settings)
    assert code == reason_code
    assert re.search(cause, message)


def test_unknown_columns_are_rescued(settings: Settings) -> None:
    text = HEADER.replace("\n", ",Till,\n") + LINE.replace("\n", ',4 "B",x\n') + LINE.replace("\n", ",,\n")
    land(settings, "a.csv", text)
    registered(settings)
    first, second = bronze(settings)["rescued"]
    assert json.loads(first) == {"Till": '4 "B"', "column_10": "x"}
    assert second is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2010-12-01 08:26:00", datetime(2010, 12, 1, 8, 26)),
        ("2010-12-01T08:26:00", datetime(2010, 12, 1, 8, 26)),
        (" 2010-12-01 08:26 ", datetime(2010, 12, 1, 8, 26)),
        ("2010-12-01", datetime(2010, 12, 1)),
        ("12/1/2010 8:26", datetime(2010, 12, 1, 8, 26)),
        ("1.12.2010 08:26", datetime(2010, 12, 1, 8, 26)),
        ("2010-12-01 08:26:00.500000", datetime(2010, 12, 1, 8, 26, 0, 500000)),
        ("13/1/2010 8:26", None),
        ("2010-02-30", None),
        ("2010-12-01T08:26:00Z", None),
        ("soon", None),
        ("", None),
    ],
)
def test_dates_of_the_packaged_mapping(settings: Settings, text: str, at: datetime | None) -> None:
    land(settings, "a__20111231T000000Z.csv", HEADER + f"1,2,x,3,{text},4,,\n")
    registered(settings)
    row = bronze(settings).row(0, named=True)
    assert row["invoiced_at"] == at
    assert row["sale_date"] == (at.date() if at else None)
    assert row["invoice_date"] == (text or None)
    assert {name for name in TEXT_COLUMNS if row[name] is None} >= {"customer_id", "country"}


def test_timezone_of_kept_times_is_utc(settings: Settings) -> None:
    land(settings, "a.csv", HEADER + LINE, datetime(2010, 6, 1, 12, tzinfo=UTC))
    _, ledger = registered(settings)
    assert ledger.deliveries()["delivered_at"].to_list() == [datetime(2010, 6, 1, 12, tzinfo=UTC)]
