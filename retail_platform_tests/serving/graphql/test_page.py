"""GraphiQL in a browser."""

import re
import shutil

import httpx
import pytest
from playwright.sync_api import HttpCredentials, sync_playwright

from retail_platform.serving.access.accounts import add_user
from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.graphql.asking import PATH
from retail_platform_tests.serving.served import Served

CHROMIUM = shutil.which("chromium")


def page(api: Served) -> httpx.Response:
    return httpx.get(f"{api.url}{PATH}", headers={"Accept": "text/html,*/*"})


def test_the_page_is_public_and_loads_from_here_only(shop: Served) -> None:
    answer = page(shop)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', answer.text)
    assert len(paths) == 8
    for path in paths:
        file = httpx.get(f"{shop.url}{path}")
        assert file.status_code == 200
        assert "max-age" in file.headers["cache-control"]
    assert "http" not in answer.text.replace("<!doctype html>", "")


def test_there_are_no_other_files(shop: Served) -> None:
    for name in ("secret", "..%2f__init__.py", "__init__.py"):
        assert httpx.get(f"{shop.url}{PATH}/assets/{name}").status_code == 404


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_user_logs_in_and_runs_the_query_that_is_there(shop: Served) -> None:
    with shop.database.connect(autocommit=True) as connection:
        add_user(connection, "reader", Role.ANALYST, "correct horse battery staple")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        login = HttpCredentials(username="reader", password="correct horse battery staple")
        tab = browser.new_context(http_credentials=login).new_page()
        wrong: list[str] = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        tab.goto(f"{shop.url}{PATH}")
        tab.locator(".graphiql-execute-button").click()
        tab.locator(".result-window", has_text="20.1234").wait_for()
        tab.locator("text=salesAnalytics").first.wait_for()
        browser.close()
    assert wrong == []
