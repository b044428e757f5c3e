"""A Chromium browser; tests are skipped if it is not installed."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.pages import LONG, STILL, VIOLATIONS, Visit
from tests.integration.service_processes import Gateway

BROWSER_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")  # not session: its event loop would interfere with other tests
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a gateway's page; afterwards, check for external requests, cookies and console errors.

    `refusals` is a pattern of error responses that the browser is expected to log.
    """
    contexts, outside, complaints = [], [], []
    expected = ["$^"]

    def open_page(gateway: Gateway, path: str = "/", refusals: str = "$^", **options: Any) -> Page:
        address = str(gateway.client.base_url).rstrip("/")
        expected.append(refusals)
        context = browser.new_context(**{**STILL, **options})
        contexts.append(context)
        context.add_init_script(VIOLATIONS)
        context.set_default_timeout(LONG)
        page = context.new_page()
        own = (f"{address}/", "blob:", "data:")
        page.on(
            "request",
            lambda request: outside.append(request.url) if not request.url.startswith(own) else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
        )
        page.goto(address + path)
        return page

    yield open_page
    cookies = [cookie for context in contexts for cookie in context.cookies()]
    for context in contexts:
        context.close()
    assert outside == []
    assert cookies == []
    assert [line for line in complaints if not any(re.search(pattern, line) for pattern in expected)] == []
