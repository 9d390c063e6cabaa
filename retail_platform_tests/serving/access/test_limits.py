"""How much one may ask, over HTTP."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from retail_platform.serving.access.limits import Limits
from retail_platform.serving.access.principals import Role
from retail_platform.settings import Settings
from retail_platform_tests.serving.access.conftest import PASSWORD, StartApi

RETAIL = Path(sys.executable).with_name("retail")


def test_each_principal_has_requests_of_its_own(start_api: StartApi) -> None:
    with start_api(rate_limits={"viewer": "3/hour"}) as api:
        one, other = api.add_user(Role.VIEWER), api.add_user(Role.VIEWER)
        answers = [api.me(auth=(one, PASSWORD)) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert api.me(auth=(other, PASSWORD)).status_code == 200
        last = answers[-1]
        assert last.headers["Content-Type"] == "application/problem+json"
        assert 0 < int(last.headers["Retry-After"]) <= 3600
        assert last.headers["RateLimit-Policy"] == '"viewer";q=3;w=3600'
        assert last.headers["RateLimit"].startswith('"viewer";r=0;t=')


def test_strangers_are_counted_by_address_and_probes_are_not(start_api: StartApi) -> None:
    with start_api(rate_limits={"anonymous": "2/hour"}) as api:
        assert [api.me().status_code for _ in range(3)] == [401, 401, 429]
        assert httpx.get(f"{api.url}/livez").status_code != 429


def test_passwords_cannot_be_tried_for_long(start_api: StartApi) -> None:
    with start_api() as api:
        name = api.add_user()
        tried = [api.log_in(name, f"wrong password {number}").status_code for number in range(12)]
        assert tried == [401] * 10 + [429] * 2
        assert api.log_in(name).status_code == 429, "the right one, among guesses, is a guess"
        assert api.log_in(api.add_user()).status_code == 200


def test_a_flood_of_logins_leaves_the_others_alone(start_api: StartApi) -> None:
    with start_api(rate_limits={"anonymous": "100000/minute"}) as api, ThreadPoolExecutor(16) as threads:
        known = api.add_user()
        api.me(auth=(known, PASSWORD)).raise_for_status()
        flood = [threads.submit(api.log_in, f"nobody-{number}", "wrong password") for number in range(150)]
        assert api.me(auth=(known, PASSWORD)).elapsed.total_seconds() < 5
        assert {each.result().status_code for each in flood} <= {401, 429, 503}


def test_a_limit_of_no_role_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['manager'\]; it may have admin, analyst, anonymous"):
        Limits(Settings(rate_limits={"manager": "1/second"}))


def test_a_limit_that_is_none_is_refused_in_one_line() -> None:
    environment = os.environ | {"RETAIL_RATE_LIMITS": '{"viewer": "many"}', "RETAIL_TOKEN_SECRET": "x" * 64}
    result = subprocess.run([RETAIL, "serve"], capture_output=True, text=True, env=environment, timeout=60)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: RETAIL_RATE_LIMITS has 'many' for viewer; it takes a number of requests and a time")


def test_without_redis_nobody_is_let_through_uncounted(start_api: StartApi) -> None:
    with start_api(rate_limit_storage="redis://127.0.0.1:9") as api:
        assert api.me().status_code == 503
