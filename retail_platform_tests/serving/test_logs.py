"""What is written down, and that nothing which goes wrong in writing ends it."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from retail_platform.serving import logs
from retail_platform.serving.logs import AUDIT, logging_to
from retail_platform.serving.problems import ProblemError, problem_response
from retail_platform.settings import Settings

log, audit = logging.getLogger("retail.test"), logging.getLogger(AUDIT)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The audit file of a platform that logs."""
    with logging_to(Settings(home=tmp_path)):
        yield tmp_path / "logs" / "audit.jsonl"


def eventually(text: Callable[[], str], wanted: str) -> str:
    """A text, once it holds what is wanted."""
    found, until = "", time.monotonic() + 5
    while wanted not in found:
        assert time.monotonic() < until, f"no {wanted!r} in {found!r}"
        time.sleep(0.01)
        with suppress(OSError):
            found += text()
    return found


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_no_utf_8_can_hold_is_escaped(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.error("no column %r or %s", "\ud800", "\udfff")
    audit.info({"query": "\ud800", "rows": 2**70})
    log.info("after")
    *_, escaped, asked, _ = lines(eventually(lambda: capsys.readouterr().out, "after"))
    assert escaped["message"] == r"no column '\ud800' or \udfff"
    assert (asked["query"], asked["rows"]) == (r"\ud800", 2**70)
    assert lines(eventually(path.read_text, "}\n")) == [asked]


def test_a_line_that_cannot_be_made_costs_no_other(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.info({("a", "b"): "JSON has no such key"})
    log.info("after")
    told, _ = lines(eventually(lambda: capsys.readouterr().out, "after"))
    assert "retail.test" in told["message"]
    assert "keys must be str" in told["message"]


def test_without_stdout_the_audit_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    with monkeypatch.context() as broken:
        broken.setattr(sys, "stdout", Gone())
        for number in range(3):
            audit.info({"number": number})
            eventually(path.read_text, f'"number":{number}')
    told = [line["message"] for line in lines(path.read_text()) if "message" in line]
    assert told == ["Lines cannot be written to stdout, and are lost: BrokenPipeError()."]


def test_without_the_audit_file_stdout_is_written(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = path.with_suffix(".lock")
    lock.mkdir()
    audit.info({"number": 1})
    told = eventually(lambda: capfd.readouterr().out, "cannot be written")
    assert '"number":1' in told
    assert "IsADirectoryError" in told
    lock.rmdir()
    audit.info({"number": 2})
    eventually(path.read_text, '"number":2')
    eventually(lambda: capfd.readouterr().err, "again; 1 were lost")


def test_lines_that_nobody_takes_are_counted_and_lost(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WAITING", 2)
    for number in range(10):
        log.info("line %d", number)
    assert "waited to be written already" in eventually(lambda: capsys.readouterr().out, "lines are lost")


def test_a_problem_may_say_any_text() -> None:
    answer = problem_response("id", ProblemError(400, "no column \ud800", errors=[{"argument": "\ud800"}]))
    assert json.loads(bytes(answer.body))["detail"] == r"no column \ud800"
