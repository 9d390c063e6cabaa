"""Every way in, and every way that must not be one, over HTTP."""

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from retail_platform.serving.access import accounts, tokens
from retail_platform.serving.access.credentials import TRUST_SECONDS
from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.access.conftest import PASSWORD, SECRET, Api

NOBODY = "0" * 32


def tokens_of(api: Api, name: str) -> dict[str, str]:
    answer: dict[str, str] = api.log_in(name).raise_for_status().json()
    return answer


def claims_of(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims


def unsigned(claims: dict[str, object], algorithm: str) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "typ": "JWT"}, claims)]
    return ".".join([base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts] + [""])


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Bearer realm" in answer.headers["WWW-Authenticate"]
    assert answer.json()["instance"] == answer.headers["X-Request-ID"]


def wait_until_refused(ask: Callable[[], httpx.Response]) -> float:
    """Seconds until the answer is 401."""
    begun = time.monotonic()
    while (answer := ask()).status_code != 401:
        assert time.monotonic() - begun < TRUST_SECONDS + 3, answer.text
        time.sleep(0.2)
    return time.monotonic() - begun


@pytest.mark.parametrize("path", ["/auth/token", "/api/v1/auth/token"])
@pytest.mark.parametrize("kind", ["json", "data"])
def test_a_password_gives_tokens(api: Api, path: str, kind: str) -> None:
    name = api.add_user()
    login = {"username": name, "password": PASSWORD, "grant_type": "password"}
    answer = httpx.post(api.url + path, **{kind: login})  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["expires_in"] == 900
    me = api.bearer(answer.json()["access_token"])
    assert me.json() == {"name": name, "role": "analyst", "way": "token", "sees_customers": True}


def test_a_token_says_what_it_must(api: Api) -> None:
    claims = claims_of(tokens_of(api, api.add_user())["access_token"])
    assert set(tokens.CLAIMS) == claims.keys()
    assert (claims["iss"], claims["aud"]) == ("retail-platform", "retail-api")


def test_wrong_passwords_and_unknown_names_are_told_the_same(api: Api) -> None:
    wrong, unknown = api.log_in(api.add_user(), "wrong password 1"), api.log_in("nobody-here", "wrong password 1")
    for answer in (wrong, unknown):
        assert_refused(answer)
    assert wrong.json()["detail"] == unknown.json()["detail"]


def test_unknown_names_take_as_long_as_wrong_passwords(api: Api) -> None:
    def seconds(name: str) -> float:
        begun = time.perf_counter()
        assert_refused(api.log_in(name, f"wrong {uuid4()}"))
        return time.perf_counter() - begun

    known = sorted(seconds(api.add_user()) for _ in range(7))[3]
    unknown = sorted(seconds(f"nobody-{number}") for number in range(7))[3]
    assert known / 3 < unknown < known * 3


@pytest.mark.parametrize("name", ["a\0b", "Robert'); drop table users;--", "ä" * 99, ""])
def test_odd_names_are_nobody(api: Api, name: str) -> None:
    assert_refused(api.log_in(name))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"username": 1}', b"\xff", b'{"username": "a", "password": {}}'])
def test_a_login_without_sense_says_what_is_missing_and_repeats_nothing(api: Api, body: bytes) -> None:
    answer = httpx.post(f"{api.url}/auth/token", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_basic_is_a_way_in(api: Api) -> None:
    name = api.add_user(Role.VIEWER)
    me = api.me(auth=(name, PASSWORD))
    assert me.json() == {"name": name, "role": "viewer", "way": "basic", "sees_customers": False}
    assert_refused(api.me(auth=(name, "wrong password")))
    assert_refused(api.me(headers={"Authorization": "Basic ???"}))
    assert_refused(api.me(headers={"Authorization": "Digest x"}))


def test_a_key_is_a_way_in(api: Api) -> None:
    name = f"robot-{uuid4().hex[:8]}"
    key = accounts.add_key(api.owner, name, Role.OPERATOR, None)
    assert api.me(headers={"X-API-Key": key}).json()["name"] == f"key:{name}"
    assert_refused(api.me(headers={"X-API-Key": key[:-1] + ("A" if key[-1] != "A" else "B")}))
    assert_refused(api.me(headers={"X-API-Key": f"rk_{'0' * 16}_{key[-43:]}"}))
    assert_refused(api.me(headers={"X-API-Key": "x"}))
    (used,) = api.owner.execute("select last_used_at is not null from access.keys where name = %s", [name]).fetchall()
    assert used == (True,)


def test_a_key_holds_as_long_as_it_should(api: Api) -> None:
    over = accounts.add_key(api.owner, f"over-{uuid4().hex[:8]}", Role.VIEWER, timedelta(seconds=-1))
    assert_refused(api.me(headers={"X-API-Key": over}))
    name = f"short-{uuid4().hex[:8]}"
    key = accounts.add_key(api.owner, name, Role.VIEWER, timedelta(days=1))
    assert api.me(headers={"X-API-Key": key}).status_code == 200
    accounts.revoke_key(api.owner, name)
    wait_until_refused(lambda: api.me(headers={"X-API-Key": key}))


def test_neither_passwords_nor_keys_are_stored(api: Api) -> None:
    api.add_user()
    key = accounts.add_key(api.owner, f"robot-{uuid4().hex[:8]}", Role.VIEWER, None)
    hashes = api.owner.execute("select password_hash from access.users union select secret_hash from access.keys")
    assert all(text.startswith("$argon2id$") and key[-43:] not in text for (text,) in hashes)


def test_no_name_is_told_how_to_give_one(api: Api) -> None:
    answer = api.me()
    assert_refused(answer)
    assert "X-API-Key" in answer.json()["detail"]


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "HS256"])
def test_unsigned_tokens_are_refused(api: Api, algorithm: str) -> None:
    claims = claims_of(tokens_of(api, api.add_user())["access_token"])
    assert_refused(api.bearer(unsigned(claims, algorithm)))


@pytest.mark.parametrize(
    ("changed", "secret"),
    [
        ({}, "another secret that is long enough"),
        ({"iss": "somebody-else"}, SECRET),
        ({"aud": "another-api"}, SECRET),
        ({"exp": int(time.time()) - 1}, SECRET),
        ({"exp": None}, SECRET),
        ({"sid": NOBODY}, SECRET),
        ({"sub": "somebody-else"}, SECRET),
    ],
)
def test_forged_and_expired_tokens_are_refused(api: Api, changed: dict[str, object], secret: str) -> None:
    claims = claims_of(tokens_of(api, api.add_user())["access_token"]) | changed
    forged = jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, "HS256")
    assert_refused(api.bearer(forged))


def test_a_role_in_the_token_is_not_believed(api: Api) -> None:
    claims = claims_of(tokens_of(api, api.add_user(Role.VIEWER))["access_token"]) | {"role": "admin"}
    assert api.bearer(jwt.encode(claims, SECRET, "HS256")).json()["role"] == "viewer"


def test_a_token_cut_or_filled_with_anything_is_refused(api: Api) -> None:
    token = tokens_of(api, api.add_user())["access_token"]
    for bad in (token[:-2], token[5:], "a.b.c", "x" * 5000, token + "é"):
        assert_refused(api.me(headers={"Authorization": b"Bearer " + bad.encode()}))


def test_a_refresh_token_holds_once_and_a_second_use_ends_the_session(api: Api) -> None:
    first = tokens_of(api, api.add_user())
    path = f"{api.url}/api/v1/auth/refresh"
    second = httpx.post(path, json={"refresh_token": first["refresh_token"]}).raise_for_status().json()
    assert api.bearer(second["access_token"]).status_code == 200
    assert_refused(httpx.post(path, json={"refresh_token": first["refresh_token"]}))
    assert_refused(httpx.post(path, json={"refresh_token": second["refresh_token"]}))
    assert_refused(api.bearer(second["access_token"]))


@pytest.mark.parametrize("token", ["rt_x_y", "", "rt_" + "0" * 32 + "_" + "0" * 64, "nonsense"])
def test_refresh_tokens_of_nobody_are_refused(api: Api, token: str) -> None:
    assert_refused(httpx.post(f"{api.url}/api/v1/auth/refresh", json={"refresh_token": token}))


@pytest.mark.parametrize("way", ["refresh", "revoke"])
@pytest.mark.parametrize("secret", ["00", "0" * 64, "0" * 128])
def test_a_session_s_id_alone_does_not_end_it(api: Api, way: str, secret: str) -> None:
    found = tokens_of(api, api.add_user())
    guess = f"rt_{claims_of(found['access_token'])['sid']}_{secret}"
    answer = httpx.post(f"{api.url}/api/v1/auth/{way}", json={"refresh_token": guess})
    assert answer.status_code == (401 if way == "refresh" else 204)
    again = httpx.post(f"{api.url}/api/v1/auth/refresh", json={"refresh_token": found["refresh_token"]})
    assert again.status_code == 200, "the session goes on"


def test_a_refresh_token_that_was_used_logs_out(api: Api) -> None:
    used = tokens_of(api, api.add_user())["refresh_token"]
    new = httpx.post(f"{api.url}/api/v1/auth/refresh", json={"refresh_token": used}).raise_for_status().json()
    httpx.post(f"{api.url}/api/v1/auth/revoke", json={"refresh_token": used}).raise_for_status()
    assert_refused(api.bearer(new["access_token"]))


def test_logging_out_ends_all_tokens_of_the_session_at_once(api: Api) -> None:
    name = api.add_user()
    one, other = tokens_of(api, name), tokens_of(api, name)
    assert api.bearer(one["access_token"]).status_code == 200
    revoke = httpx.post(f"{api.url}/api/v1/auth/revoke", json={"refresh_token": one["refresh_token"]})
    assert revoke.status_code == 204
    assert_refused(api.bearer(one["access_token"]))
    assert api.bearer(other["access_token"]).status_code == 200


def test_an_expired_session_has_ended(api: Api) -> None:
    found = tokens_of(api, api.add_user())
    session = UUID(str(claims_of(found["access_token"])["sid"]))
    api.owner.execute("update access.sessions set expires_at = now() where session_id = %s", [session])
    assert_refused(api.bearer(found["access_token"]))
    assert_refused(httpx.post(f"{api.url}/api/v1/auth/refresh", json={"refresh_token": found["refresh_token"]}))


@pytest.mark.parametrize(
    "change",
    [
        lambda api, name: accounts.set_disabled(api.owner, name, True),
        lambda api, name: accounts.set_role(api.owner, name, Role.VIEWER),
        lambda api, name: accounts.set_password(api.owner, name, "another good password"),
    ],
    ids=["disabled", "another role", "another password"],
)
def test_a_changed_user_is_refused_in_time(api: Api, change: Callable[[Api, str], None]) -> None:
    name = api.add_user()
    token = tokens_of(api, name)["access_token"]
    assert api.bearer(token).status_code == 200
    change(api, name)
    assert wait_until_refused(lambda: api.bearer(token)) < TRUST_SECONDS + 1


def test_a_disabled_user_cannot_log_in_until_enabled(api: Api) -> None:
    name = api.add_user()
    accounts.set_disabled(api.owner, name, True)
    assert_refused(api.log_in(name))
    accounts.set_disabled(api.owner, name, False)
    assert api.log_in(name).status_code == 200
