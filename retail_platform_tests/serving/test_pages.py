"""The pages of REST in a real browser: they show what they should, let one ask, and say nothing on the console."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from retail_platform.serving.access.accounts import add_user
from retail_platform.serving.access.principals import Role
from retail_platform_tests.serving.served import Served

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "correct horse battery staple"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `apt-get install chromium` has one"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, shop: Served, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page on which nothing may go wrong, and that reaches nothing but the API."""
    faults: list[str] = []
    with browser.new_context(base_url=shop.url, viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((shop.url, "data:", "blob:")) else faults.append(asked.url),
        )
        yield page
        if folder := os.environ.get("RETAIL_SCREENSHOTS"):
            page.screenshot(path=Path(folder, f"{request.node.name}.png"))
    assert faults == []


@pytest.fixture(scope="module")
def user(shop: Served) -> str:
    with shop.database.connect(autocommit=True) as connection:
        add_user(connection, "browsing", Role.ANALYST, PASSWORD)
    return "browsing"


def test_swagger_shows_the_operations_and_asks_one(page: Page, user: str) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    assert page.locator(".opblock").count() > 30
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".dialog-ux")
    expect(dialog).to_be_visible()
    password_flow = dialog.locator(".auth-container", has=page.get_by_text("OAuth2, password"))
    password_flow.locator("input#oauth_username").fill(user)
    password_flow.locator("input#oauth_password").fill(PASSWORD)
    password_flow.get_by_role("button", name="Apply given OAuth2 credentials").click()
    expect(password_flow.get_by_role("button", name="Remove authorization")).to_be_visible()
    dialog.get_by_role("button", name="Close").last.click()

    operation = page.locator(".opblock", has=page.locator('[data-path="/api/v1/auth/me"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(operation.locator(".live-responses-table .response-col_description").last).to_contain_text("browsing")


@pytest.mark.parametrize("way", ["key", "basic"])
def test_swagger_takes_every_way_in(page: Page, shop: Served, user: str, way: str) -> None:
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".dialog-ux")
    if way == "key":
        box = dialog.locator(".auth-container", has=page.get_by_text("X-API-Key"))
        box.locator("input").fill(shop.clients[Role.ANALYST].headers["X-API-Key"])
    else:
        box = dialog.locator(".auth-container", has=page.get_by_text("http, Basic"))
        box.locator("input").first.fill(user)
        box.locator("input").last.fill(PASSWORD)
    box.locator("button.authorize").click()
    dialog.get_by_role("button", name="Close").last.click()
    operation = page.locator(".opblock", has=page.locator('[data-path="/api/v1/auth/me"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_description").last).to_contain_text(f'"way": "{way}"')


def test_redoc_shows_the_operations(page: Page) -> None:
    page.goto("/redoc")
    expect(page.get_by_role("heading", name="Retail Platform")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", name="Sale lines as a file")).to_be_visible()


def test_pages_and_files_forbid_what_they_do_not_need(shop: Served) -> None:
    for path in ("/docs", "/redoc"):
        answer = httpx.get(shop.url + path)
        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        assert "unsafe-eval" not in policy
        assert answer.headers["cache-control"] == "no-cache"
        file = answer.text.partition('src="')[2].partition('"')[0]
        assert "immutable" in httpx.get(shop.url + file).headers["cache-control"]
        assert httpx.get(f"{shop.url}/docs/files/0000/{file.rpartition('/')[2]}").status_code == 404
