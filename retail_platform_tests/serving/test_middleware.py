"""What happens to every request, seen from outside, on an application with routes of the test's own."""

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Body, Request, Response
from fastapi.responses import StreamingResponse

from retail_platform.serving.access import accounts
from retail_platform.serving.access.principals import Role
from retail_platform.serving.app import create_app
from retail_platform.serving.logs import AUDIT, AUDIT_FILES, append, scrubbed
from retail_platform.settings import Settings
from retail_platform.warehouse.connection import Database
from retail_platform_tests.serving.access.conftest import PASSWORD, SECRET
from retail_platform_tests.serving.servers import new_users_database, serving

VARY = {"Vary": "Authorization, Accept-Encoding"}
ORIGIN = "https://dashboard.example"


@pytest.fixture(scope="module")
def users(database: Database) -> Iterator[Database]:
    with new_users_database(database) as fresh:
        with fresh.connect() as owner:
            accounts.add_user(owner, "ana", Role.ANALYST, PASSWORD)
        yield fresh


@pytest.fixture(scope="module")
def url(users: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=users.url(),
        dagster_database_url=users.url(),
        token_secret=SECRET,
        max_request_bytes=6000,
        request_seconds=0.5,
        cors_origins=[ORIGIN],
        rate_limits={"anonymous": "100000/minute"},
    )
    app = create_app(settings)

    @app.get("/test/slow")
    async def slow() -> None:
        await asyncio.sleep(20)

    @app.get("/test/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(4):
                yield b"x" * 1000
                await asyncio.sleep(0.25)

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/test/bug")
    async def bug() -> None:
        raise KeyError("a secret of the code")

    @app.get("/test/customers/{customer_id}")
    async def customer(request: Request, customer_id: int) -> Response:
        request.scope["state"] |= {"rows": 3, "audit": {"operation": "GetIt"}}
        return Response(b"[" + b"1," * 2000 + b"1]", headers=VARY, media_type="application/json")

    @app.post("/test/body")
    async def body(sent: bytes = Body()) -> int:
        return len(sent)

    with serving(app) as address:
        yield address


def audited(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line of the audit, which is written after the answer."""
    until = time.monotonic() + 5
    while not (lines := [record.msg for record in caplog.records if record.name == AUDIT]):
        assert time.monotonic() < until, "nothing was written"
        time.sleep(0.01)
    (line,) = lines
    assert isinstance(line, dict)
    return line


def test_each_answer_has_an_id_and_keeps_a_sane_one(url: str) -> None:
    for path in ("/nothing/here", "/test/bug", "/api/v1/auth/me", "/livez"):
        assert len(httpx.get(url + path).headers["X-Request-ID"]) == 32
    kept = "from-a-proxy.1"
    assert httpx.get(f"{url}/livez", headers={"X-Request-ID": kept}).headers["X-Request-ID"] == kept
    for bad in ("short", "x" * 65, 'a"}{"level": "x', "tab\there-and-there"):
        assert httpx.get(f"{url}/livez", headers={"X-Request-ID": bad}).headers["X-Request-ID"] != bad


def test_every_answer_has_the_security_headers(url: str) -> None:
    for path in ("/nothing/here", "/test/bug", "/api/v1/auth/me", "/livez"):
        headers = httpx.get(url + path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in headers
        assert "Server" not in headers


def test_an_unexpected_error_is_told_without_its_content(url: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = httpx.get(f"{url}/test/bug")
    assert answer.status_code == 500
    assert answer.json()["instance"] == answer.headers["X-Request-ID"]
    assert "secret of the code" not in answer.text
    assert "a secret of the code" in caplog.text


def test_an_answer_that_does_not_begin_is_given_up(url: str) -> None:
    answer = httpx.get(f"{url}/test/slow")
    assert answer.status_code == 504
    assert "0.5 s" in answer.json()["detail"]


def test_a_stream_that_has_begun_may_take_its_time(url: str) -> None:
    assert len(httpx.get(f"{url}/test/stream").content) == 4000


def test_a_stream_is_compressed_as_it_comes(url: str) -> None:
    with httpx.stream("GET", f"{url}/test/stream", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(b"".join(answer.iter_raw())) == b"x" * 4000


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_large_answers_are_compressed(url: str, encoding: str) -> None:
    answer = httpx.get(f"{url}/test/customers/1", headers={"Accept-Encoding": encoding})
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.headers["Vary"].lower() == "authorization, accept-encoding, origin"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"{", "is not JSON at character 1: Expecting property name"),
        (b"[" * 5000, "is nested too deeply"),
        (b"9" * 5000, "cannot be read (Exceeds the limit (4300 digits)"),
    ],
)
def test_a_body_that_cannot_be_read_is_told(url: str, sent: bytes, told: str) -> None:
    answer = httpx.post(f"{url}/test/body", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["argument"] == "body"
    assert error["detail"].startswith(told)
    assert "expected was JSON" in error["detail"]


def test_large_bodies_are_refused_with_and_without_their_length(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 3600
        yield b"x" * 3600

    assert httpx.post(f"{url}/test/body", json="x" * 900).status_code == 200
    for content in (b"x" * 6001, chunks()):
        answer = httpx.post(f"{url}/test/body", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert httpx.post(f"{url}/auth/token", content=chunks()).status_code == 413


def test_other_origins_are_as_the_settings_say(url: str) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = httpx.options(f"{url}/api/v1/auth/me", headers={"Origin": ORIGIN, **asks})
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = httpx.options(f"{url}/api/v1/auth/me", headers={"Origin": "https://evil.example", **asks})
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert httpx.get(f"{url}/livez", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN


def test_the_audit_says_who_asked_what_and_nothing_personal(url: str, caplog: pytest.LogCaptureFixture) -> None:
    query = "net_revenue.gt=5&customer_id=17850&token=abc&page=2&where=%7Bx%7D&cursor=zzz&e_mail=a@b.c&sort=quantity"
    with caplog.at_level(logging.INFO, AUDIT):
        answer = httpx.get(f"{url}/test/customers/17850?{query}", headers={"Authorization": "Bearer secret-token"})
        line = audited(caplog)
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["method"], line["path"], line["route"]) == ("GET", "/test/customers/{customer_id}", line["path"])
    hidden = "net_revenue.gt=***&customer_id=***&token=***&page=2&where=***&cursor=***&e_mail=***&sort=quantity"
    assert line["query"] == hidden
    assert (line["status"], line["rows"], line["operation"], line["client"]) == (200, 3, "GetIt", "127.0.0.1")
    assert "17850" not in json.dumps(line)
    assert "secret-token" not in json.dumps(line)


@pytest.mark.parametrize(
    "sent",
    ["/nothing/16446", "/api/v1/datamart/customer_lifetime/16446", "/api/v1/exports/16446x", "/api/v1/tasks/16446"],
)
def test_the_audit_writes_no_path_that_may_be_a_customer_s(
    url: str, caplog: pytest.LogCaptureFixture, sent: str
) -> None:
    with caplog.at_level(logging.INFO, AUDIT):
        httpx.post(url + sent)
        line = audited(caplog)
    assert line["path"] == line["route"]
    assert "16446" not in json.dumps(line)


@pytest.mark.parametrize(
    ("part", "written"),
    [
        ("sort=-net_revenue,quantity", None),
        ("country=United+Kingdom&countries=GB%2CFR", None),
        ("date_from=2011-01-05&page=12&top_n=10", None),
        ("columns=a.b:c&is_null=", None),
        ("sort=16446x", "sort=***"),
        ("country=16446", "country=***"),
        ("date_from=2011-01-0516446", "date_from=***"),
        ("page=16446x&quantity.eq=16446", "page=***&quantity.eq=***"),
        ("16446=x&16446&c%31=1", "***=***&***=***&***=***"),
        ("sort=%31%36446", "sort=***"),
    ],
)
def test_the_audit_writes_values_that_look_like_what_they_should_be(part: str, written: str | None) -> None:
    assert scrubbed(part, frozenset({"quantity"})) == (part if written is None else written)


def test_the_audit_names_the_principal(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, AUDIT):
        httpx.get(f"{url}/api/v1/auth/me", auth=("ana", PASSWORD)).raise_for_status()
        line = audited(caplog)
    assert (line["principal"], line["role"], line["way"]) == ("ana", "analyst", "basic")


def test_a_file_of_lines_is_moved_aside_when_full(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(AUDIT_FILES + 3):
        append(path, f"{number}\n", max_bytes=1)
    assert path.read_text() == f"{AUDIT_FILES + 2}\n"
    kept = [(tmp_path / f"audit.jsonl.{number}").read_text() for number in range(1, AUDIT_FILES + 1)]
    assert kept == [f"{AUDIT_FILES + 2 - number}\n" for number in range(1, AUDIT_FILES + 1)]
    assert not (tmp_path / f"audit.jsonl.{AUDIT_FILES + 1}").exists()
