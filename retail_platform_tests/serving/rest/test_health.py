"""Whether the health routes tell what works, and keep to themselves what nobody needs to know."""

import shutil
import socket
import tempfile
from pathlib import Path

import httpx

from retail_platform.serving.access.principals import Role
from retail_platform.settings import Settings
from retail_platform.warehouse.server import ensure_server, stop_server
from retail_platform_tests.serving.served import Served, served


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_without_dagster_it_is_degraded_and_not_down(shop_platform: Settings) -> None:
    nowhere = shop_platform.model_copy(update={"dagster_url": f"http://127.0.0.1:{free_port()}"})
    with served(nowhere) as api:
        answer = httpx.get(f"{api.url}/api/v1/health")
    health = answer.json()
    assert (answer.status_code, health["status"]) == (200, "degraded")
    assert {name: check["status"] for name, check in health["checks"].items()} == {
        "database": "ok",
        "dagster": "down",
        "lake": "ok",
    }
    assert all(check["latency_ms"] >= 0 and check["detail"] for check in health["checks"].values())


def test_without_a_database_it_is_down() -> None:
    # Not under pytest's tmp_path: as root the embedded server runs as another user, to whom that folder is closed.
    home = Path(tempfile.mkdtemp(prefix="retail-health-"))
    server = Settings(home=home, database_url=None, dagster_database_url=None)
    try:
        own = server.model_copy(update={"database_url": ensure_server(server).url()})
        with served(own) as api:
            before = httpx.get(f"{api.url}/readyz")
            stop_server(server)
            health, ready, live = (httpx.get(api.url + path) for path in ("/api/v1/health", "/readyz", "/livez"))
    finally:
        stop_server(server)
        shutil.rmtree(home)
    assert (before.status_code, before.json()["status"]) == (200, "degraded")
    assert (health.status_code, health.json()["status"]) == (503, "down")
    assert ready.status_code == 503
    assert live.status_code == 200


def test_nothing_tells_where_things_are(shop: Served, shop_platform: Settings) -> None:
    text = httpx.get(f"{shop.url}/api/v1/health").text
    for secret in (str(shop_platform.home), shop.database.host, shop.database.dbname, "127.0.0.1", "Traceback"):
        assert secret not in text


def test_metrics_count_requests_rows_and_statements(shop: Served) -> None:
    shop.json("/api/v1/sales?size=3")
    shop.get("/api/v1/sales?size=nine")
    shop.get("/nowhere")
    shop.clients[Role.ANALYST].post("/api/v1/exports/dim_country", json={"format": "csv"})
    text = shop.get("/metrics", Role.OPERATOR).text
    values = {
        name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    }
    assert values['retail_requests_total{method="GET",route="/api/v1/sales",status="200"}'] >= 1
    assert values['retail_requests_total{method="GET",route="/api/v1/sales",status="400"}'] >= 1
    assert values['retail_requests_total{method="GET",route="none",status="404"}'] >= 1
    assert values['retail_request_seconds_count{method="GET",route="/api/v1/sales"}'] >= 2
    assert values['retail_rows_total{route="/api/v1/sales"}'] >= 3
    assert values['retail_exports_total{format="csv"}'] >= 1
    assert values["retail_requests_in_flight"] == 1
    assert 1 <= values["retail_statements_total"] <= shop.statements
    assert values['retail_connections{state="idle"}'] >= 1


def test_metrics_need_an_operator(shop: Served) -> None:
    assert shop.get("/metrics", Role.ANALYST).status_code == 403
    assert httpx.get(f"{shop.url}/metrics").status_code == 401


def test_the_schema_documents_them(shop: Served) -> None:
    paths = shop.json("/openapi.json")["paths"]
    assert all(paths[path]["get"]["summary"] for path in ("/api/v1/health", "/livez", "/readyz", "/metrics"))
