"""`retail user` and `retail key`, on a real database."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from retail_platform.cli import main
from retail_platform.warehouse.connection import Database


@pytest.fixture(autouse=True)
def platform(fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_HOME", str(tmp_path))
    monkeypatch.setenv("RETAIL_DATABASE_URL", fresh_database.url())


def retail(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def done(*arguments: str) -> str:
    result = retail(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_user_from_first_to_last() -> None:
    output = done("user", "add", "ana", "--role", "analyst", "--generate")
    assert re.search(r"^Password: \S{20}$", output, re.MULTILINE)
    assert "ana" in done("user", "list")
    assert re.search(r"Password: \S{20}", done("user", "password", "ana", "--generate"))
    done("user", "role", "ana", "viewer")
    done("user", "disable", "ana")
    assert re.search(r"ana .*viewer .*True", done("user", "list"))
    done("user", "enable", "ana")
    assert re.search(r"ana .*viewer .*False", done("user", "list"))


def test_a_key_from_first_to_last() -> None:
    output = done("key", "add", "robot", "--role", "viewer", "--expires-days", "30")
    (key_id,) = re.findall(r"^Key: rk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$", output, re.MULTILINE)
    assert key_id[:6] in done("key", "list")
    done("key", "revoke", "robot")
    done("key", "add", "robot", "--role", "viewer")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["user", "add", "Ana:x", "--role", "viewer", "--generate"], "cannot be a name"),
        (["user", "role", "nobody", "viewer"], "no user 'nobody'"),
        (["user", "disable", "nobody"], "no user 'nobody'"),
        (["user", "add", "ana", "--role", "king", "--generate"], "'king' is not one of"),
        (["key", "revoke", "nothing"], "no key 'nothing'"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], message: str) -> None:
    result = retail(*arguments)
    assert result.exit_code != 0
    assert message in result.output


def test_names_are_taken_once() -> None:
    for kind in ("user", "key"):
        arguments = [kind, "add", "ana", "--role", "viewer", *(["--generate"] if kind == "user" else [])]
        done(*arguments)
        result = retail(*arguments)
        assert result.exit_code == 1
        assert "already" in result.output


def test_serve_does_not_start_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETAIL_TOKEN_SECRET", raising=False)
    result = retail("serve")
    assert result.exit_code == 1
    assert "RETAIL_TOKEN_SECRET" in result.output
