"""The client of the providers, against a real server on this machine."""

import gzip
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from retail_platform.providers.client import Client
from retail_platform.providers.provided import ProviderError
from retail_platform_tests.providers.conftest import QUICK, Answer, Server

DAY = timedelta(days=1)
BUSY = Answer(500)
GOOD = Answer(body=b'{"rate": 1}')


def test_an_answer_is_parsed_and_the_query_is_sent(server: Server, client: Client) -> None:
    server.answers = [GOOD]
    assert client.get(f"{server.url}/v1", json.loads, max_age=DAY, params={"a": "b c"}) == {"rate": 1}
    assert server.asked == ["/v1?a=b+c"]


def test_a_kept_answer_asks_nobody_also_in_another_process(server: Server, tmp_path: Path) -> None:
    server.answers = [GOOD]
    for _ in range(2):
        with Client(tmp_path, QUICK) as client:
            assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}
            assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}
    assert len(server.asked) == 1


def test_a_broken_cache_only_costs_a_question(server: Server, tmp_path: Path) -> None:
    (tmp_path / "answers.db").write_bytes(b"no database at all, and long enough to be taken for one" * 100)
    server.answers = [GOOD]
    with Client(tmp_path, QUICK) as client:
        assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}


def test_other_questions_have_other_answers(server: Server, client: Client) -> None:
    server.answers = [Answer(body=b"1"), Answer(body=b"2")]
    assert [client.get(server.url, int, max_age=DAY, params={"year": year}) for year in ("1", "2", "1")] == [1, 2, 1]


def test_an_answer_expires(server: Server, client: Client) -> None:
    server.answers = [Answer(body=b"1"), Answer(body=b"2")]
    moment = timedelta(milliseconds=100)
    assert client.get(server.url, int, max_age=moment) == 1
    time.sleep(0.15)
    assert client.get(server.url, int, max_age=moment) == 2


def test_a_passing_failure_is_repeated(server: Server, client: Client) -> None:
    server.answers = [BUSY, BUSY, GOOD]
    assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "what", "times"),
    [
        (BUSY, "status 500", 3),
        (Answer(404), "status 404", 1),
        (Answer(304), "status 304", 1),
        (Answer(delay=0.5), "ReadTimeout", 3),
        (Answer(body=b"x" * 50, drip=0.02), "more than 0.4 s", 3),
        (Answer(slow_head=0.02), "more than 0.4 s", 3),
        (Answer(body=b"short", headers={"Content-Length": "9"}), "RemoteProtocolError", 3),
        (Answer(body=b"x" * 2_000_001), "more than 2,000,000 bytes", 1),
        (
            Answer(body=gzip.compress(b"x" * 3_000_000), headers={"Content-Encoding": "gzip"}),
            "more than 2,000,000 bytes",
            1,
        ),
        (Answer(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}), "DecodingError", 1),
        (Answer(body=b"{"), "cannot be used", 1),
        (Answer(302, headers={"Location": "/elsewhere"}), "more than 3 redirects", 4),
        (Answer(302, headers={"Location": "ftp://127.0.0.1/"}), "redirect to ftp://127.0.0.1/, which is refused", 1),
        (Answer(302, headers={"Location": "https://127.0.0.1/"}), "redirect to https://127.0.0.1/, which is ref", 1),
        (Answer(302, headers={"Location": f"http://{'a' * 64}.org/"}), "it is no address, or leads to none", 1),
        (Answer(429, headers={"Retry-After": "3600"}), "status 429", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_says_what_was_asked_and_what_came(
    server: Server, client: Client, answer: Answer, what: str, times: int
) -> None:
    server.answers = [answer]
    with pytest.raises(ProviderError, match=what) as caught:
        client.get(server.url, json.loads, max_age=DAY)
    assert str(caught.value).startswith(f"{server.url} was asked: ")
    assert len(server.asked) == times


def test_nothing_listens(client: Client) -> None:
    with pytest.raises(ProviderError, match="ConnectError"):
        client.get("http://127.0.0.1:9", json.loads, max_age=DAY)


@pytest.mark.parametrize("url", ["http://example.org/", "http://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/hosts"])
def test_only_encrypted_or_this_machine(client: Client, url: str) -> None:
    with pytest.raises(ProviderError):
        client.get(url, json.loads, max_age=DAY)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:port/",
        "https://[::1/",
        f"https://{'a' * 64}.org/",
        f"https://{'a.' * 127}org/",
        "https://a..org/",
        "https://xn--a/",
        "http://xn--a/",
        "https://",
        "https:///rates.zip",
        "https://127.0.0.1:99999/",
        "https://\x00.org/",
        "",
    ],
)
def test_what_is_no_address_is_told(client: Client, url: str) -> None:
    with pytest.raises(ProviderError, match="was asked: "):
        client.get(url, json.loads, max_age=DAY)


def test_an_endless_answer_ends_at_the_deadline_of_its_attempt(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(slow_head=0.05)]
    began = time.monotonic()
    with Client(tmp_path, replace(QUICK, read=0.1, total=0.3, attempts=1)) as client:
        assert "the answer took more than 0.3 s" in failing(client, server.url)
    assert time.monotonic() - began < 1


def test_redirects_share_the_deadline(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(302, headers={"Location": "/again"}, delay=0.2)]
    with Client(tmp_path, replace(QUICK, total=0.5, attempts=1)) as client:
        assert "the answer took more than 0.5 s" in failing(client, server.url)


def test_a_redirect_of_the_same_scheme_is_followed_and_kept(server: Server, client: Client) -> None:
    server.by_path = {"/old": Answer(301, headers={"Location": "/new"}), "/new": GOOD}
    for _ in range(2):
        assert client.get(f"{server.url}/old", json.loads, max_age=DAY) == {"rate": 1}
    assert server.asked == ["/old", "/new"]


@pytest.mark.parametrize(
    "when", [lambda: "1", lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)]
)
def test_retry_after_is_waited_for(server: Server, client: Client, when: Callable[[], str]) -> None:
    server.answers = [Answer(429, headers={"Retry-After": when()}), GOOD]
    began = time.monotonic()
    assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}
    assert time.monotonic() - began > 0.9


def test_an_unreadable_retry_after_is_waited_for_as_if_it_were_not_there(server: Server, client: Client) -> None:
    server.answers = [Answer(503, headers={"Retry-After": "soon"}), GOOD]
    assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}


def test_a_broken_answer_is_not_kept(server: Server, client: Client) -> None:
    server.answers = [Answer(body=b"<html>"), GOOD]
    with pytest.raises(ProviderError, match="Expecting value"):
        client.get(server.url, json.loads, max_age=DAY)
    assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}


def test_an_answer_is_forgotten_also_when_its_parsing_breaks(server: Server, client: Client) -> None:
    server.answers = [Answer(body=b"0"), Answer(body=b"4")]
    with pytest.raises(ZeroDivisionError):
        client.get(server.url, lambda body: 1 / int(body), max_age=DAY)
    assert client.get(server.url, lambda body: 1 / int(body), max_age=DAY) == 0.25


def failing(client: Client, url: str) -> str:
    with pytest.raises(ProviderError) as caught:
        client.get(url, json.loads, max_age=DAY)
    return str(caught.value)


def test_a_host_that_fails_is_left_alone_also_by_another_process(server: Server, tmp_path: Path) -> None:
    limits = replace(QUICK, failures=2, rest=60)
    server.answers = [BUSY]
    with Client(tmp_path, limits) as client:
        assert "left alone for another 60 s (status 500 came" in failing(client, server.url)
        assert "left alone" in failing(client, f"{server.url}/other")
    with Client(tmp_path, limits) as another:
        assert "left alone" in failing(another, server.url)
    assert len(server.asked) == 2


def test_after_its_rest_one_attempt_decides(server: Server, tmp_path: Path) -> None:
    server.answers = [BUSY, BUSY, BUSY, BUSY, GOOD]
    with Client(tmp_path, replace(QUICK, failures=3, rest=60)) as client:
        assert "status 500" in failing(client, server.url)
        end_rest(tmp_path)
        assert "left alone" in failing(client, server.url)
        assert len(server.asked) == 4
        end_rest(tmp_path)
        assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}
    assert list(tmp_path.glob("*.down")) == []


def end_rest(folder: Path) -> None:
    (file,) = folder.glob("*.down")
    long_ago = time.time() - 61
    os.utime(file, (long_ago, long_ago))


def test_a_kept_answer_is_given_while_its_host_is_left_alone(server: Server, tmp_path: Path) -> None:
    server.by_path = {"/good": GOOD, "/bad": BUSY}
    with Client(tmp_path, replace(QUICK, failures=1, rest=60)) as client:
        client.get(f"{server.url}/good", json.loads, max_age=DAY)
        failing(client, f"{server.url}/bad")
        assert client.get(f"{server.url}/good", json.loads, max_age=DAY) == {"rate": 1}
        assert "left alone" in failing(client, f"{server.url}/bad")


def test_what_the_asker_did_wrong_is_no_failure_of_the_host(server: Server, tmp_path: Path) -> None:
    server.answers = [Answer(404), Answer(404), GOOD]
    with Client(tmp_path, replace(QUICK, failures=1)) as client:
        failing(client, server.url)
        failing(client, server.url)
        assert client.get(server.url, json.loads, max_age=DAY) == {"rate": 1}
