"""`retail dev` as a user leaves it running: files dropped into landing show up in the marts, and nothing else moves."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import httpx
import polars as pl
import pytest

from retail_platform.contracts import SILVER_SALES
from retail_platform.lakehouse.lake import Lake
from retail_platform.settings import Settings
from retail_platform.warehouse.query import query_warehouse
from retail_platform.warehouse.server import stop_server, warehouse_database
from retail_platform_tests.integration.conftest import write_csv

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 120.0
NEW_DAY, NEXT_DAY = date(2011, 12, 12), date(2011, 12, 13)
EARLIEST_CORRECTED = date(2010, 6, 1)
FAULT = re.compile(r"Traceback|\bERROR\b(?!=0)|\bCRITICAL\b")

RATIOS = ("previous_month_change_pct", "previous_year_change_pct")
SO_FAR = ("revenue_retention_pct", "cumulative_net_revenue", "avg_lifetime_value")
SCORES = ("recency_score", "frequency_score", "monetary_score")
RANKS = ("revenue_rank", "revenue_share_pct", "cumulative_share_pct", "abc_class")
VERSION_KEYS = ("product_key", "customer_key")
DEPENDENTS: dict[str, tuple[str, Sequence[str]]] = {
    "gold.dim_date": ("date_key", ()),
    "gold.dim_country": ("country_key", ()),
    "gold.dim_customer": ("customer_id", ()),
    "gold.dim_product": ("stock_code", ()),
    "gold.dim_invoice": ("invoice_no", ()),
    "gold.fact_sale": ("sale_date", VERSION_KEYS),
    "gold.day_quality": ("sale_date", ()),
    "gold.product_category": ("description", ()),
    "gold.customer_segment_month": ("customer_id", SCORES),
    "gold.exchange_rates": ("rate_date", ()),
    "marts.daily_sales": ("sale_date", ()),
    "marts.monthly_sales": ("sale_month", RATIOS),
    "marts.sales_by_period": ("period", ()),
    "marts.country_sales": ("sale_month", ()),
    "marts.cohort_retention": ("sale_month", SO_FAR),
    "marts.customer_lifetime": ("customer_id", ()),
    "marts.product_performance": ("stock_code", RANKS),
    "marts.category_sales": ("sale_month", ()),
}
"""Table -> the column that says what a row is about, and the columns that compare it with other rows."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Platform:
    """A platform with `retail dev` running on it."""

    settings: Settings
    url: str
    api: str
    log: Path
    demo: str
    """What `retail demo` printed."""

    def ask(self, query: str) -> list[Row]:
        """The rows of a question to the warehouse."""
        answer = query_warehouse(warehouse_database(self.settings), query)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def dagster(self, query: str) -> Any:
        """The data of a GraphQL question to Dagster."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, timeout=60).raise_for_status().json()
        assert "errors" not in answer, answer
        return answer["data"]

    def unfinished_runs(self) -> int:
        runs = "runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]})"
        return len(self.dagster(f"{{ {runs} {{ ... on Runs {{ results {{ runId }} }} }} }}")["runsOrError"]["results"])

    def drop(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        """Put a whole file into landing."""
        part = write_csv(self.settings.landing / f"{name}.csv.part", rows)
        part.rename(part.with_suffix(""))

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait until something is so and no run is going on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (is_so() and not self.unfinished_runs()):
            assert time.monotonic() < deadline, f"{what} took over {PATIENCE_SECONDS} s\n{self.log.read_text()[-5000:]}"
            time.sleep(0.5)

    def revenue(self, day: date) -> Decimal | None:
        found = self.ask(f"select net_revenue from marts.daily_sales where sale_date = '{day}'")
        return found[0]["net_revenue"] if found else None


@pytest.fixture(scope="module")
def dev() -> Iterator[Platform]:
    """A platform with a small sample, and `retail dev` on it; everything is stopped at the end."""
    # Not under pytest's tmp_path: as root the embedded server runs as another user, to whom that folder is closed.
    home = Path(tempfile.mkdtemp(prefix="retail-dev-"))
    settings = Settings(home=home, database_url=None, dagster_database_url=None)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RETAIL_", "DAGSTER_"))}
    environment["RETAIL_HOME"] = str(home)
    retail, log = str(Path(sys.executable).with_name("retail")), home / "dev.log"
    port, api_port = free_port(), free_port()
    try:
        demo = subprocess.run([retail, "demo", "--lines", "2000"], env=environment, capture_output=True, text=True)
        assert demo.returncode == 0, demo.stdout + demo.stderr
        platform = Platform(settings, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{api_port}", log, demo.stdout)
        command = [retail, "dev", "--port", str(port), "--api-port", str(api_port)]
        with log.open("wb") as output, in_a_session(command, environment, output) as process:
            wait_for_server(platform, process)
            yield platform
    finally:
        stop_server(settings)
        shutil.rmtree(home)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def in_a_session(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, and end all processes of it."""
    process = subprocess.Popen(
        command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        with suppress(ProcessLookupError):  # all of them have ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_server(platform: Platform, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            for address in (f"{platform.url}/server_info", f"{platform.api}/readyz"):
                httpx.get(address, timeout=5).raise_for_status()
            return
        except httpx.TransportError:
            assert process.poll() is None, platform.log.read_text()[-5000:]
            assert time.monotonic() < deadline, platform.log.read_text()[-5000:]
            time.sleep(0.5)


def line(day: date, quantity: int, price: str = "2.50", invoice: str = "590001") -> tuple[object, ...]:
    return (invoice, "85123A", "HEART", quantity, f"{day} 10:00:00", price, 17850, "United Kingdom")


def moved(before: list[Row], after: list[Row], key: str, without: Sequence[str] = ()) -> set[Any]:
    """The values of a key in the rows that one of two states has and the other has not."""

    def rows(state: list[Row]) -> set[tuple[Any, ...]]:
        return {(row[key], *(value for name, value in row.items() if name not in without)) for row in state}

    return {row[0] for row in rows(before) ^ rows(after)}


def test_the_api_runs_beside_the_ui(dev: Platform) -> None:
    made = re.search(r"The API's user: (\w+), password: (\S+)", dev.demo)
    assert made is not None, dev.demo
    answer = httpx.get(f"{dev.api}/api/v1/sales", auth=(made[1], made[2]), timeout=30)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) > 0


def test_a_file_of_a_new_day_shows_up(dev: Platform) -> None:
    dev.drop("till__20111212T200000Z", [line(NEW_DAY, 6)])
    dev.wait_for("the new day", lambda: dev.revenue(NEW_DAY) == Decimal("15.00"))


def test_a_late_file_changes_its_day_and_what_depends_on_it(dev: Platform) -> None:
    sales = Lake(dev.settings.lake).scan(SILVER_SALES).collect()
    known = sales.filter((pl.col("sale_date") >= EARLIEST_CORRECTED) & ~pl.col("is_cancelled")).drop_nulls(
        "customer_id"
    )
    invoice = known.sort("sale_date", "invoice_no", "source_row").row(0, named=True)
    day, month = invoice["sale_date"], invoice["sale_date"].replace(day=1)
    week, quarter = day - timedelta(days=day.weekday()), date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    lines = sales.filter((pl.col("sale_date") == day) & (pl.col("invoice_no") == invoice["invoice_no"]))
    columns = ["invoice_no", "stock_code", "description", "quantity", "invoiced_at", "unit_price", "customer_id"]
    restated = [list(row) for row in lines.select(*columns, "country").iter_rows()]
    restated[0][3] += 1
    revenue = (dev.revenue(day) or 0) + restated[0][5]

    before = {table: dev.ask(f"select * from {table}") for table in DEPENDENTS}
    dev.drop("correction__20120101T000000Z", restated)
    dev.wait_for("the corrected day", lambda: dev.revenue(day) == revenue)
    after = {table: dev.ask(f"select * from {table}") for table in DEPENDENTS}

    assert {name: moved(before[name], after[name], *DEPENDENTS[name]) for name in DEPENDENTS} == {
        "gold.dim_date": set(),
        "gold.dim_country": set(),
        "gold.dim_customer": {invoice["customer_id"]},
        "gold.dim_product": set(),
        "gold.dim_invoice": {invoice["invoice_no"]},
        "gold.fact_sale": {day},
        "gold.day_quality": {day},
        "gold.product_category": set(),
        "gold.customer_segment_month": {invoice["customer_id"]},
        "gold.exchange_rates": set(),
        "marts.daily_sales": {day},
        "marts.monthly_sales": {month},
        "marts.sales_by_period": {day, week, month, quarter, date(day.year, 1, 1)},
        "marts.country_sales": {month},
        "marts.cohort_retention": {month},
        "marts.customer_lifetime": {invoice["customer_id"]},
        "marts.product_performance": {restated[0][1]},
        "marts.category_sales": {month},
    }


def test_a_bad_file_fails_its_check_and_holds_nothing_up(dev: Platform) -> None:
    (dev.settings.landing / "broken.csv").write_text("Invoice,Price\n1,2\n")
    dev.drop("till__20111213T200000Z", [line(NEXT_DAY, 4, invoice="590002")])
    dev.wait_for("the good file beside the bad one", lambda: dev.revenue(NEXT_DAY) == Decimal("10.00"))

    (execution,) = dev.dagster(
        """
        { assetCheckExecutions(
            assetKey: {path: ["landing", "deliveries"]}, checkName: "files_are_readable", limit: 1
        ) { status evaluation { severity metadataEntries { ... on MarkdownMetadataEntry { mdStr } } } } }
        """
    )["assetCheckExecutions"]
    assert execution["status"] == "FAILED"
    assert "broken.csv" in execution["evaluation"]["metadataEntries"][0]["mdStr"]


def test_the_sensor_ticked_and_every_run_succeeded(dev: Platform) -> None:
    answer = dev.dagster(
        """
        {
          sensorOrError(sensorSelector: {
            repositoryLocationName: "retail_platform", repositoryName: "__repository__",
            sensorName: "sales_file_arrival_sensor"
          }) { ... on Sensor { sensorState { ticks(limit: 500) { status runIds } } } }
          runsOrError { ... on Runs { results { runId status } } }
        }
        """
    )
    ticks = answer["sensorOrError"]["sensorState"]["ticks"]
    runs = answer["runsOrError"]["results"]
    assert {tick["status"] for tick in ticks} <= {"SUCCESS", "SKIPPED", "STARTED"}
    # One run for the sample, by the command; one for each day that a test brought.
    assert sum(len(tick["runIds"]) for tick in ticks) == len(runs) - 1 == 3
    assert {run["status"] for run in runs} == {"SUCCESS"}


def test_a_run_of_days_materialises_all_but_maintenance(dev: Platform) -> None:
    asked = "{ assetNodes { groupName assetKey { path } assetMaterializations(limit: 1) { runId } } }"
    nodes = dev.dagster(asked)["assetNodes"]
    assert nodes
    missing = [node for node in nodes if not node["assetMaterializations"]]
    assert [node["assetKey"]["path"] for node in missing if node["groupName"] != "maintenance"] == []


def test_the_log_holds_no_fault(dev: Platform) -> None:
    assert [line for line in dev.log.read_text().splitlines() if FAULT.search(line)] == []
