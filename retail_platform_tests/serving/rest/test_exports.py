"""Exports over HTTP: the rows of the table, whoever asks, however it ends."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import polars as pl
import psutil  # type: ignore[import-untyped]
import pytest

from retail_platform.serving.access.principals import Role
from retail_platform.serving.rest.exports import EXPORTS_AT_ONCE
from retail_platform.serving.rest.sales import COLUMNS
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform.warehouse.export import FILE_KINDS
from retail_platform.warehouse.tables import prepare_warehouse
from retail_platform_tests.serving.served import Served, served

FACTS = "/api/v1/exports/fact_sale"
SALES = "/api/v2/sales/export"
LARGE_ROWS = 400_000
MEGABYTE = 2**20

READERS: dict[str, Callable[[bytes], pl.DataFrame]] = {
    "csv": lambda data: pl.read_csv(data, infer_schema=False),
    "parquet": pl.read_parquet,
    "arrow": pl.read_ipc,
    "xlsx": lambda data: sheet_frame(data),
}


def sheet_frame(data: bytes) -> pl.DataFrame:
    header, *rows = openpyxl.load_workbook(io.BytesIO(data), read_only=True).active.iter_rows(values_only=True)
    return pl.DataFrame(rows, schema=list(header), orient="row", infer_schema_length=None)


def export(api: Served, path: str, role: Role = Role.ANALYST, **body: Any) -> httpx.Response:
    return api.clients[role].post(path, json=body)


def file(api: Served, path: str, **body: Any) -> pl.DataFrame:
    response = export(api, path, **body)
    assert response.status_code == 200, response.text
    return READERS[body.get("format", "parquet")](response.content)


def amounts(frame: pl.DataFrame) -> list[Decimal]:
    return sorted(round(Decimal(str(value)), 4) for value in frame["total_amount"])


@pytest.fixture(scope="module")
def large(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An API on a table whose export is larger than all buffers on its way."""
    home = tmp_path_factory.mktemp("large")
    with database.connect(autocommit=True) as connection:
        connection.execute("create database large template template0")
        own = Settings(home=home, database_url=database.url().replace("/retail?", "/large?"))
        with served_large(own) as api:
            yield api
        connection.execute("drop database large with (force)")


def served_large(settings: Settings) -> Any:
    with Database.from_url(str(settings.database_url)).connect(autocommit=True) as connection:
        prepare_warehouse(connection)
        connection.execute(
            "insert into gold.dim_country (country_key, country_name)"
            f" select n, repeat('x', 200) from generate_series(1, {LARGE_ROWS}) n"
        )
    return served(settings)


def sessions(api: Served) -> int:
    """Connections of exports that are open."""
    with api.database.connect() as connection:
        found = connection.execute(
            "select count(*) from pg_stat_activity"
            " where application_name = 'retail export' and datname = current_database()"
        ).fetchone()
    assert found is not None
    return int(found[0])


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


PAIRS = [(format, compression) for format, kind in FILE_KINDS.items() for compression in kind.compressions]


@pytest.mark.parametrize(("format", "compression"), PAIRS)
def test_every_kind_of_file_holds_the_sales(shop: Served, format: str, compression: str) -> None:
    data = export(shop, SALES, format=format, compression=compression).content
    if (format, compression) == ("csv", "gzip"):
        assert data[:2] == b"\x1f\x8b"
    frame = READERS[format](data)
    assert frame.columns == list(COLUMNS)
    assert amounts(frame) == sorted(map(Decimal, ("10", "3", "7.1234", "-10", "10", "4", "2.25", "4.5")))


@pytest.mark.parametrize("table", ["dim_date", "dim_customer", "fact_sale", "monthly_sales", "customer_segments"])
def test_a_table_comes_as_postgres_has_it(shop: Served, table: str) -> None:
    schema = shop.app.state.catalogue[table].schema
    with shop.database.connect() as connection:
        rows = connection.execute(f"select * from {schema}.{table}").fetchall()
        names = [each.name for each in connection.execute(f"select * from {schema}.{table} limit 0").description or ()]
    frame = file(shop, f"/api/v1/exports/{table}").select(names)
    found = [tuple(map(str, row)) for row in frame.rows()]
    assert sorted(found) == sorted(tuple(map(str, row)) for row in rows)


def test_filters_columns_and_order(shop: Served) -> None:
    frame = file(
        shop,
        FACTS,
        format="csv",
        columns=["sale_date", "product.description", "country.country_name", "total_amount"],
        filters={"country": {"country_name": {"in": ["United States", "Ireland"]}}, "total_amount": {"gt": "4"}},
        sort=["total_amount:desc", "sale_date"],
    )
    assert frame.rows() == [
        ("2011-01-05", 'LAMP "A"', "United States", "10.0000"),
        ("2010-12-30", 'LAMP "A"', "Ireland", "7.1234"),
    ]


def test_sales_are_filtered_as_they_are_listed(shop: Served) -> None:
    frame = file(
        shop,
        SALES,
        format="csv",
        columns=["invoice_no", "total_amount"],
        filters={"countries": ["UK", "US"], "date_from": "2011-01-01", "is_cancelled": False},
        sort=["total_amount:desc"],
    )
    listed = shop.json("/api/v1/sales?countries=UK,US&date_from=2011-01-01&is_cancelled=false&sort=total_amount:desc")[
        "data"
    ]
    assert [row[0] for row in frame.rows()] == [row["invoice_no"] for row in listed]
    assert len(listed) == 3


@pytest.mark.parametrize("format", FILE_KINDS)
@pytest.mark.parametrize("path", [FACTS, SALES])
def test_a_column_asked_for_twice_comes_once(shop: Served, format: str, path: str) -> None:
    assert file(shop, path, format=format, columns=["quantity", "sale_date", "quantity"]).columns == [
        "quantity",
        "sale_date",
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"format": "csv", "compression": "snappy"}, 400, "none or gzip or zstd"),
        ({"format": "xlsx", "compression": "zstd"}, 400, "it may be none"),
        ({"format": "pdf"}, 422, "'parquet', 'csv', 'arrow' or 'xlsx'"),
        ({"columns": ["nothing"]}, 400, "nothing"),
        ({"columns": ["invoice.fact_sales.quantity"]}, 400, "fact_sales"),
        ({"filters": {"quantity": {"near": 1}}}, 400, "near"),
        ({"sort": ["quantity:up"]}, 400, "quantity:up"),
        ({"page": 1}, 422, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(shop: Served, body: dict[str, Any], status: int, words: str) -> None:
    response = export(shop, FACTS, **body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert words in response.json()["detail"]


def test_an_unknown_table_is_not_there(shop: Served) -> None:
    response = export(shop, "/api/v1/exports/pg_authid")
    assert response.status_code == 404
    assert "fact_sale" in response.json()["detail"]


@pytest.mark.parametrize("path", [FACTS, SALES, "/api/v1/exports/dim_date"])
def test_exports_need_an_analyst(shop: Served, path: str) -> None:
    assert export(shop, path, Role.VIEWER).status_code == 403
    assert httpx.post(shop.url + path, json={}).status_code == 401


def test_the_file_has_a_name_and_a_type(shop: Served) -> None:
    headers = export(shop, SALES, format="csv", compression="gzip").headers
    assert headers["content-disposition"] == 'attachment; filename="sales.csv.gz"'
    assert headers["content-type"] == "application/gzip"
    assert "content-length" not in headers


def test_a_file_cut_short_is_no_whole_answer(large: Served) -> None:
    client = large.clients[Role.ANALYST]
    with (
        client.stream("POST", "/api/v1/exports/dim_country", json={"format": "csv"}) as response,
        large.database.connect(autocommit=True) as connection,
    ):
        chunks = response.iter_raw()
        next(chunks)
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'retail export' and datname = current_database()"
        )
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)


def test_a_client_that_goes_away_ends_the_statement(large: Served) -> None:
    client = large.clients[Role.ANALYST]
    with client.stream("POST", "/api/v1/exports/dim_country", json={"format": "csv"}) as response:
        chunks = response.iter_raw()  # kept: a generator that is dropped closes the connection
        next(chunks)
        assert sessions(large) == 1
    wait_until(lambda: sessions(large) == 0)


def test_a_client_that_goes_away_before_the_first_row_too(large: Served) -> None:
    client = large.clients[Role.ANALYST]
    with large.database.connect() as connection:
        connection.execute("lock table gold.dim_country in access exclusive mode")
        with pytest.raises(httpx.ReadTimeout):
            client.post("/api/v1/exports/dim_country", json={"format": "csv"}, timeout=1)
        wait_until(lambda: sessions(large) == 0)


def test_more_exports_than_can_be_borne_wait_outside(large: Served) -> None:
    client = large.clients[Role.ANALYST]
    with ExitStack() as stack:
        answers = [
            stack.enter_context(client.stream("POST", "/api/v1/exports/dim_country", json={"format": "csv"}))
            for _ in range(EXPORTS_AT_ONCE)
        ]
        assert [answer.status_code for answer in answers] == [200] * EXPORTS_AT_ONCE
        refused = client.post("/api/v1/exports/dim_country", json={"format": "csv"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
    wait_until(lambda: sessions(large) == 0)
    assert client.post("/api/v1/exports/dim_date", json={"format": "csv"}).status_code == 200


def test_without_a_warehouse_it_says_what_to_do(database: Database, tmp_path: Path) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("create database bare template template0")
        with served(Settings(home=tmp_path, database_url=database.url().replace("/retail?", "/bare?"))) as api:
            response = export(api, FACTS)
        connection.execute("drop database bare with (force)")
    assert response.status_code == 503
    assert "retail demo" in response.json()["detail"]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "arrow", "parquet"])
def test_all_sales_pass_in_bounded_memory(real: Served, tmp_path: Path, format: str) -> None:
    with real.database.connect() as connection:
        count, amount = connection.execute("select count(*), sum(total_amount) from gold.fact_sale").fetchone() or ()
    path, growth = tmp_path / "file", Growth()
    with (
        growth,
        path.open("wb") as target,
        real.clients[Role.ANALYST].stream("POST", FACTS, json={"format": format}, timeout=120) as response,
    ):
        for chunk in response.iter_raw():
            target.write(chunk)
    frame = (
        pl.read_csv(path, schema_overrides={"total_amount": pl.Decimal(18, 4)})
        if format == "csv"
        else READERS[format](path.read_bytes())
    )
    assert (frame.height, frame["total_amount"].sum()) == (count, amount)
    assert growth.megabytes < 250


@pytest.mark.real
@pytest.mark.slow
def test_a_month_passes_in_excel(real: Served) -> None:
    days = {"sale_date": {"gte": "2011-11-01", "lt": "2011-12-01"}}
    with real.database.connect() as connection:
        count, amount = (
            connection.execute(
                "select count(*), sum(total_amount) from gold.fact_sale where to_char(sale_date, 'YYYY-MM') = '2011-11'"
            ).fetchone()
            or ()
        )
    growth = Growth()
    with growth:
        response = export(real, FACTS, format="xlsx", filters=days)
    found = amounts(sheet_frame(response.content))
    assert (len(found), sum(found)) == (count, amount)
    assert growth.megabytes < 150


class Growth:
    """How much more memory than before this process had, at most."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._process = psutil.Process()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._before = self._process.memory_info().rss
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.02):
            grown = self._process.memory_info().rss - self._before
            self.megabytes = max(self.megabytes, grown / MEGABYTE)
