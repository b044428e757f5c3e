"""axe-core finds nothing to complain about in any state of the page, in light and in dark."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.pages import Visit, pick
from tests.integration.service_processes import Gateway, Worker
from tests.node import installed_packages


@pytest.fixture(scope="module")
def axe() -> str:
    return (installed_packages(Path(__file__).parent) / "axe-core/axe.min.js").read_text()


@pytest.fixture(scope="module")
def done(gateway: Gateway, worker: Worker, sample: bytes) -> dict[str, Any]:
    return gateway.follow(gateway.submit(sample, resolution=32, up="y")["id"])


def complaints(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_state_is_accessible(
    visit: Visit, gateway: Gateway, done: dict[str, Any], axe: str, scheme: str, width: int
) -> None:
    page = visit(
        gateway, refusals="status of 404", color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    assert complaints(page, axe) == [], "at the start"
    pick(page, "Knees")
    page.get_by_text("More options").click()
    assert complaints(page, axe) == [], "with a file chosen"
    page.evaluate(f"location.hash = 'job={done['id']}'")
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    assert complaints(page, axe) == [], "with a result"
    page.evaluate("location.hash = 'job=abc'")
    page.locator("#job-problem [role=alert]").wait_for()
    assert complaints(page, axe) == [], "with a link that leads nowhere"
