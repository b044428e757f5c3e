"""What the tests of the page share: waiting, pictures, and shorthands for its controls."""

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import Page

Visit = Callable[..., Page]

STILL = {"viewport": {"width": 900, "height": 600}, "reduced_motion": "reduce"}  # no autoplay
LONG = 60_000  # milliseconds: the machine may be busy
VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`violates ${event.effectiveDirective}: ${event.blockedURI} ${event.sourceFile}`))"""


def until(page: Page, condition: str) -> None:
    """Wait for a JavaScript expression. `wait_for_function` needs eval, which the CSP forbids."""
    end = time.monotonic() + LONG / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"waited in vain for {condition}"
        page.wait_for_timeout(20)


def picture(page: Page) -> np.ndarray:
    shot = page.locator("#canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)  # [H, W, 3]


def changed(one: np.ndarray, other: np.ndarray) -> float:
    return float((np.abs(one - other).max(axis=2) > 30).mean())


def at(page: Page, key: str) -> np.ndarray:
    """The picture at the start (Home) or the end (End) of the clip."""
    page.locator("#scrub").press(key)
    assert page.locator("#play").get_attribute("aria-label") == "Play"
    return picture(page)


def label(page: Page, selector: str, attribute: str) -> str:
    return page.locator(selector).get_attribute(attribute) or ""


def pick(page: Page, sample: str) -> None:
    page.get_by_role("button", name=sample).click()
    page.wait_for_selector("#submit:enabled")


def wait_for_state(page: Page, state: str) -> None:
    page.wait_for_selector(f"#state[data-state={state}]")
