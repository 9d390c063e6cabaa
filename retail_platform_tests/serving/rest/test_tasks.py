"""Tasks over HTTP: what is refused before Dagster hears of it, and whole tasks through a real Dagster."""

import io
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import uuid4

import httpx
import openpyxl
import polars as pl
import pytest

from retail_platform.serving.access.accounts import add_key
from retail_platform.serving.access.principals import Role
from retail_platform.settings import Settings
from retail_platform_tests.platforms import command, environment
from retail_platform_tests.serving.served import Served, served

TASKS = "/api/v1/tasks"
PATIENCE_SECONDS = 180.0

# Of Dagster's own client.
pytestmark = pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning")


def submit(
    api: Served, task: str, role: Role = Role.ANALYST, key: str | None = None, **parameters: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return api.clients[role].post(
        f"{TASKS}/submit", json={"task_name": task, "parameters": parameters}, headers=headers
    )


def ended(api: Served, submitted: httpx.Response, role: Role = Role.ANALYST) -> dict[str, Any]:
    """The status of a task when it has ended."""
    assert submitted.status_code == 202, submitted.text
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        status: dict[str, Any] = api.json(submitted.headers["location"], role)
        if status["status"] in ("succeeded", "failed", "cancelled"):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("task", "role", "parameters", "status", "words"),
    [
        ("mine_bitcoin", Role.ADMIN, {}, 422, "'export_table', 'sales_report', 'run_days'"),
        ("export_table", Role.VIEWER, {"table": "dim_date"}, 403, "analyst"),
        ("export_table", Role.ANALYST, {"table": "pg_authid"}, 400, "there is no table"),
        ("export_table", Role.ANALYST, {"table": "dim_date", "format": "csv", "compression": "lz4"}, 400, "gzip"),
        ("export_table", Role.ANALYST, {"table": "dim_date", "filters": {"year": {"gt": "now"}}}, 400, "year"),
        ("sales_report", Role.ANALYST, {"month": "2011-13"}, 422, "month"),
        ("sales_report", Role.ANALYST, {"month": "2999-01"}, 422, "2009-12 to "),
        ("run_days", Role.ANALYST, {"date_from": "2011-01-04", "date_to": "2011-01-05"}, 403, "operator"),
        ("run_days", Role.OPERATOR, {"date_from": "2011-01-05", "date_to": "2011-01-04"}, 422, "is before"),
        ("run_days", Role.OPERATOR, {"date_from": "1911-01-05", "date_to": "2011-01-04"}, 422, "2009-12-01"),
        ("run_days", Role.OPERATOR, {"date_from": "2011-01-04", "date_to": "3011-01-04"}, 422, "2009-12-01"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    shop: Served, task: str, role: Role, parameters: dict[str, Any], status: int, words: str
) -> None:
    answer = submit(shop, task, role, **parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]


def test_without_dagster_it_says_how_to_start_it(shop_platform: Settings) -> None:
    nowhere = shop_platform.model_copy(update={"dagster_url": f"http://127.0.0.1:{free_port()}"})
    with served(nowhere) as api:
        for answer in (submit(api, "export_table", table="dim_date"), api.get(TASKS)):
            assert answer.status_code == 503
            assert "make dev" in answer.json()["detail"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def tasks(shop_platform: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The small platform, served, with a Dagster of its own."""
    ui, api_port = free_port(), free_port()
    settings = shop_platform.model_copy(update={"dagster_url": f"http://127.0.0.1:{ui}"})
    log = tmp_path_factory.mktemp("dagster") / "dev.log"
    start = command("dev", "--port", str(ui), "--api-port", str(api_port))
    with log.open("wb") as output:
        variables = {**environment(settings), "RETAIL_TOKEN_SECRET": token_hex(32)}
        process = subprocess.Popen(
            start, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with served(settings) as api:
            wait_for_dagster(api, process, log)
            yield api
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=40)
        with suppress(ProcessLookupError):  # all of them have ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_dagster(api: Served, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while api.get("/api/v1/health").json()["checks"]["dagster"]["status"] != "ok":
        assert process.poll() is None, log.read_text()[-5000:]
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.5)


@pytest.fixture(scope="module")
def exported(tasks: Served) -> dict[str, Any]:
    """An export that was submitted by an analyst and has succeeded."""
    asked = {"table": "fact_sale", "format": "parquet", "filters": {"total_amount": {"gt": "4"}}}
    return ended(tasks, submit(tasks, "export_table", key="an export", **asked))


@pytest.mark.slow
def test_an_export_is_a_file(tasks: Served, exported: dict[str, Any]) -> None:
    assert exported["status"] == "succeeded"
    assert exported["progress"] == {"steps_done": 1, "steps_total": 1, "current_step": None}
    answer = tasks.get(exported["result"])
    assert answer.headers["content-disposition"] == 'attachment; filename="fact_sale.parquet"'
    frame = pl.read_parquet(io.BytesIO(answer.content))
    assert sorted(frame["total_amount"]) == [Decimal("4.5"), Decimal("7.1234"), Decimal("10"), Decimal("10")]


@pytest.mark.slow
def test_a_key_sent_again_starts_nothing(tasks: Served, exported: dict[str, Any]) -> None:
    asked = {"table": "fact_sale", "format": "parquet", "filters": {"total_amount": {"gt": "4"}}}
    again = submit(tasks, "export_table", key="an export", **asked)
    assert (again.status_code, again.json()["id"]) == (202, exported["id"])
    other = submit(tasks, "export_table", key="an export", table="dim_date")
    assert other.status_code == 422
    assert exported["id"] in other.json()["detail"]


@pytest.mark.slow
def test_a_task_is_seen_by_its_owner_and_operators(tasks: Served, exported: dict[str, Any]) -> None:
    path = f"{TASKS}/{exported['id']}/status"
    with tasks.database.connect(autocommit=True) as connection:
        key = add_key(connection, f"stranger-{uuid4()}", Role.ANALYST, None)
    with httpx.Client(base_url=tasks.url, headers={"X-API-Key": key}) as stranger:
        assert stranger.get(path).status_code == 404
        assert stranger.get(exported["result"]).status_code == 404
        assert stranger.post(f"{TASKS}/{exported['id']}/cancel").status_code == 404
        assert stranger.get(TASKS).json() == {"data": []}
    assert tasks.get(path, Role.OPERATOR).status_code == 200
    assert tasks.get(f"{TASKS}/{uuid4()}/status").status_code == 404
    assert [task["id"] for task in tasks.json(TASKS)["data"]].count(exported["id"]) == 1


@pytest.mark.slow
def test_a_file_that_was_removed_is_gone(tasks: Served, exported: dict[str, Any]) -> None:
    folder = tasks.app.state.settings.exports / exported["id"]
    aside = folder.with_name("aside")
    shutil.move(folder, aside)
    answer = tasks.get(exported["result"])
    shutil.move(aside, folder)
    assert answer.status_code == 410


@pytest.mark.slow
def test_a_report_holds_the_figures_of_its_month(tasks: Served) -> None:
    status = ended(tasks, submit(tasks, "sales_report", month="2011-01"))
    book = openpyxl.load_workbook(io.BytesIO(tasks.get(status["result"]).content))
    figures = {row[0]: row[1] for row in book["Overview"].iter_rows(values_only=True) if row[0]}
    assert figures["Net revenue, £"] == 6.25
    assert [row[1] for row in book["Days"].iter_rows(min_row=2, values_only=True)] == [-10, 16.25]
    assert [row[0] for row in book["Countries"].iter_rows(min_row=2, values_only=True)] == [
        "United States",
        "United Kingdom",
    ]


@pytest.mark.slow
def test_a_task_that_fails_says_why(tasks: Served) -> None:
    status = ended(tasks, submit(tasks, "sales_report", month="2013-12", format="html"))
    assert status["status"] == "failed"
    assert "no sales of 2013-12" in status["errors"][0]
    assert status["result"] is None
    assert tasks.get(f"{TASKS}/{status['id']}/result").status_code == 409
    assert tasks.clients[Role.ANALYST].post(f"{TASKS}/{status['id']}/cancel").status_code == 409


@pytest.mark.slow
def test_days_are_run_again(tasks: Served) -> None:
    before = tasks.json("/api/v1/sales?size=100")
    days = {"date_from": "2011-01-04", "date_to": "2011-01-05"}
    status = ended(tasks, submit(tasks, "run_days", Role.OPERATOR, **days), Role.OPERATOR)
    result = tasks.json(status["result"], Role.OPERATOR)
    assert {name: result[name] for name in days} == days
    assert "fact_sale" in [step["step"] for step in result["steps"]]
    assert status["progress"]["steps_done"] == status["progress"]["steps_total"] == len(result["steps"])
    assert tasks.json("/api/v1/sales?size=100") == before


@pytest.mark.slow
def test_a_queued_task_can_be_cancelled(tasks: Served) -> None:
    days = {"date_from": "2011-01-04", "date_to": "2011-01-05"}
    submitted = [submit(tasks, "run_days", Role.OPERATOR, **days) for _ in range(2)]
    # Runs of days take turns: the second one waits for the first.
    cancel = tasks.clients[Role.OPERATOR].post(f"{TASKS}/{submitted[1].json()['id']}/cancel")
    assert cancel.status_code == 202, cancel.text
    assert ended(tasks, submitted[1], Role.OPERATOR)["status"] == "cancelled"
    assert ended(tasks, submitted[0], Role.OPERATOR)["status"] == "succeeded"
