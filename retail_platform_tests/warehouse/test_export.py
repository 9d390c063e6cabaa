"""Exports read back by other programs than the one that wrote them, and compared with what PostgreSQL holds."""

import gzip
import io
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import psycopg
import pytest

from retail_platform.warehouse import export
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.export import (
    FILE_KINDS,
    Export,
    ExportError,
    Selection,
    arrow_type,
    name_and_type,
    remove_old_folders,
    save,
)
from retail_platform.warehouse.tables import prepare_warehouse

COLUMNS = {
    "sale_key": "bigint",
    "note": "text",
    "amount": "numeric(18,4)",
    "share": "double precision",
    "line_count": "integer",
    "year": "smallint",
    "is_open": "boolean",
    "sold_on": "date",
    "sold_at": "timestamp without time zone",
    "loaded_at": "timestamp with time zone",
}
ROWS: list[tuple[Any, ...]] = [
    (
        4183906175243961217,
        'a "quoted", text\nof two lines',
        Decimal("12345678901234.5678"),
        0.1,
        -5,
        2011,
        True,
        date(2011, 12, 9),
        datetime(2011, 12, 9, 12, 50),
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    ),
    (
        -1,
        "",
        Decimal("-0.0001"),
        -1e300,
        2**31 - 1,
        1,
        False,
        date(1999, 1, 31),
        datetime(1999, 1, 31),
        datetime(1999, 6, 1, tzinfo=UTC),
    ),
    (0, "=1+1", Decimal("0.0000"), 5e-324, 0, 0, True, date(2020, 2, 29), datetime(2020, 2, 29, 23, 59, 59), None),
    (1, "\\.", *[None] * 8),
    (2, None, *[None] * 8),
    (3, " é\r\n'; drop table x; --", *[None] * 8),
]


@pytest.fixture(scope="module")
def warehouse(database: Database) -> Iterator[Database]:
    """A table of odd values, which readers may see."""
    with database.connect(autocommit=True) as connection:
        prepare_warehouse(connection)
        connection.execute("create schema odd; grant usage on schema odd to retail_reader")
        connection.execute(f"create table odd.t ({', '.join(f'{name} {type}' for name, type in COLUMNS.items())})")
        connection.cursor().executemany(f"insert into odd.t values ({', '.join(['%s'] * len(COLUMNS))})", ROWS)
        connection.execute("grant select on odd.t to retail_reader")
        yield database
        connection.execute("drop schema odd cascade")


def export_of(
    database: Database,
    format: str = "csv",
    compression: str = "none",
    statement: str = f"select {', '.join(COLUMNS)} from odd.t",
    columns: dict[str, str] = COLUMNS,
    seconds: float = 60,
    **values: Any,
) -> Export:
    return Export(database, Selection(statement, values, columns), format, compression, seconds)


def whole(exported: Export) -> bytes:
    return b"".join(exported.chunks())


@pytest.mark.parametrize("compression", FILE_KINDS["parquet"].compressions)
def test_parquet_holds_every_value(warehouse: Database, compression: str) -> None:
    exported = export_of(warehouse, "parquet", compression)
    frame = pl.read_parquet(whole(exported))
    assert frame.rows() == ROWS
    assert frame.schema["amount"] == pl.Decimal(18, 4)
    assert exported.rows == len(ROWS)


@pytest.mark.parametrize("compression", FILE_KINDS["arrow"].compressions)
def test_arrow_holds_every_value(warehouse: Database, compression: str) -> None:
    assert pl.read_ipc(whole(export_of(warehouse, "arrow", compression))).rows() == ROWS


@pytest.mark.parametrize("compression", FILE_KINDS["csv"].compressions)
def test_csv_is_what_postgres_writes(warehouse: Database, compression: str) -> None:
    written = whole(export_of(warehouse, "csv", compression))
    if compression != "none":
        assert written != whole(export_of(warehouse))
    if compression == "gzip":
        written = gzip.decompress(written)
    frame = pl.read_csv(written, infer_schema=False)
    assert frame.columns == list(COLUMNS)
    assert frame["note"].to_list() == [row[1] for row in ROWS]
    assert [value and Decimal(value) for value in frame["amount"]] == [row[2] for row in ROWS]


def test_excel_holds_every_value_that_excel_can(warehouse: Database) -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(whole(export_of(warehouse, "xlsx")))).active
    header, first, second, *_ = sheet.iter_rows(values_only=True)
    assert header == tuple(COLUMNS)
    assert first == (
        "4183906175243961217",
        'a "quoted", text\nof two lines',
        12345678901234.57,  # Excel has no more digits
        0.1,
        -5,
        2011,
        True,
        datetime(2011, 12, 9),
        datetime(2011, 12, 9, 12, 50),
        datetime(2026, 1, 2, 3, 4, 5, 679000),
    )
    assert second[2:4] == (-0.0001, -1e300)


def test_text_in_excel_is_never_a_formula(warehouse: Database) -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(whole(export_of(warehouse, "xlsx")))).active
    assert (sheet.cell(4, 2).value, sheet.cell(4, 2).data_type) == ("=1+1", "s")


def test_rows_beyond_a_sheet_go_on_in_the_next(warehouse: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "SHEET_ROWS", 4)
    book = openpyxl.load_workbook(io.BytesIO(whole(export_of(warehouse, "xlsx"))))
    assert [[row[0] for row in sheet.iter_rows(values_only=True)] for sheet in book] == [
        ["sale_key", "4183906175243961217", "-1", "0", "1"],
        ["sale_key", "2", "3"],
    ]


def test_a_text_too_long_for_excel_is_said(warehouse: Database) -> None:
    exported = export_of(warehouse, "xlsx", statement="select repeat('x', 40000)", columns={"note": "text"})
    with pytest.raises(ExportError, match="40000 characters"):
        whole(exported)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_lone_column_keeps_its_nulls(warehouse: Database, format: str) -> None:
    data = whole(export_of(warehouse, format, "none", "select note from odd.t", {"note": "text"}))
    read = pl.read_parquet if format == "parquet" else pl.read_ipc
    assert read(data)["note"].to_list() == [row[1] for row in ROWS]


@pytest.mark.parametrize("format", FILE_KINDS)
def test_a_file_without_rows_has_its_columns(warehouse: Database, format: str) -> None:
    exported = export_of(warehouse, format, statement=f"select {', '.join(COLUMNS)} from odd.t where false")
    data = whole(exported)
    readers: Any = {"csv": pl.read_csv, "parquet": pl.read_parquet, "arrow": pl.read_ipc, "xlsx": pl.read_excel}
    if format == "xlsx":
        header = next(openpyxl.load_workbook(io.BytesIO(data)).active.iter_rows(values_only=True))
        assert header == tuple(COLUMNS)
    else:
        assert readers[format](data).columns == list(COLUMNS)
    assert exported.rows == 0


def test_values_are_literals_whatever_they_hold(warehouse: Database) -> None:
    exported = export_of(
        warehouse,
        statement="select note from odd.t where note = any(%(v0)s::text[]) or amount = %(v1)s or note like '%%drop%%'",
        columns={"note": "text"},
        v0=["\\.", "'); drop table odd.t; --"],
        v1=Decimal("-0.0001"),
    )
    whole(exported)
    assert exported.rows == 3


def test_an_export_cannot_write(warehouse: Database) -> None:
    exported = export_of(warehouse, statement="select nextval('odd.s')", columns={"n": "bigint"})
    with warehouse.connect(autocommit=True) as connection:
        connection.execute("create sequence odd.s; grant all on sequence odd.s to retail_reader")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            whole(exported)
        connection.execute("drop sequence odd.s")


def test_an_export_has_an_end(warehouse: Database) -> None:
    exported = export_of(warehouse, statement="select pg_sleep(60)::text", columns={"note": "text"}, seconds=1)
    with pytest.raises(psycopg.errors.QueryCanceled, match="timeout"):
        whole(exported)


def test_an_export_can_be_cancelled_while_it_waits(warehouse: Database) -> None:
    exported = export_of(warehouse, statement="select pg_sleep(60)::text", columns={"note": "text"})
    threading.Timer(0.5, exported.cancel).start()
    begun = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled, match="user request"):
        whole(exported)
    assert time.monotonic() - begun < 30


def test_an_export_that_is_left_frees_its_connection(warehouse: Database) -> None:
    statement = "select repeat('x', 1000) from generate_series(1, 1000000)"
    chunks = export_of(warehouse, statement=statement, columns={"note": "text"}).chunks()
    next(chunks)
    chunks.close()
    with warehouse.connect() as connection:
        left = connection.execute("select count(*) from pg_stat_activity where application_name = 'retail export'")
        assert left.fetchone() == (0,)


def test_a_file_is_seen_when_it_is_whole(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ExportError("the other half")

    with pytest.raises(ExportError):
        save(broken(), tmp_path / "run" / "a.csv")
    assert not (tmp_path / "run" / "a.csv").exists()
    assert save([b"a", b"b"], tmp_path / "run" / "a.csv").read_bytes() == b"ab"


def test_old_folders_go(tmp_path: Path) -> None:
    for name, days in {"old": 8, "young": 6}.items():
        save([b""], tmp_path / name / "file")
        moment = time.time() - days * 24 * 60 * 60
        os.utime(tmp_path / name, (moment, moment))
    remove_old_folders(tmp_path, days=7)
    remove_old_folders(tmp_path / "none", days=7)
    assert [path.name for path in tmp_path.iterdir()] == ["young"]


def test_names_tell_the_compression_of_the_whole_file() -> None:
    assert name_and_type("sales", "csv", "gzip") == ("sales.csv.gz", "application/gzip")
    assert name_and_type("sales", "csv", "none") == ("sales.csv", "text/csv; charset=utf-8")
    assert name_and_type("sales", "parquet", "gzip") == ("sales.parquet", "application/vnd.apache.parquet")


def test_an_unknown_type_says_what_to_add() -> None:
    with pytest.raises(ValueError, match="add it to ARROW_TYPES"):
        arrow_type("money")
    assert str(arrow_type("numeric(9,4)")) == "decimal128(9, 4)"
