"""The web page and the API documentation in a browser, with the real service."""

import hashlib
import io
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route

from service.api.keys import KeyStore
from service.core.jobs.record import JobError, Progress
from service.core.jobs.store import JobStore
from service.core.settings import Settings
from service.page.samples import SAMPLES
from tests.conftest import redis_of
from tests.integration.service_processes import Gateway, Worker, running

Visit = Callable[..., Page]

STILL = {"viewport": {"width": 900, "height": 600}, "reduced_motion": "reduce"}  # no autoplay
LONG = 60_000  # milliseconds: the machine may be busy
VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`violates ${event.effectiveDirective}: ${event.blockedURI} ${event.sourceFile}`))"""


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


def test_sample_is_reconstructed_and_played(
    visit: Visit, gateway: Gateway, worker: Worker, tmp_path: Path
) -> None:
    page = visit(gateway, reduced_motion="no-preference")
    pick(page, "Knees")
    page.wait_for_selector("#canvas:visible")
    assert "17 frames of 300 points" in page.locator("#chosen").inner_text()
    points = picture(page)
    page.get_by_text("More options").click()
    page.get_by_label("Resolution").fill("32")
    page.get_by_label("OBJ").check()
    page.get_by_label("Output frames").fill("9")
    assert page.get_by_label("Frames per second").is_disabled()
    page.get_by_label("Output frames").fill("")
    page.get_by_role("button", name="Reconstruct").click()
    page.wait_for_selector("#result:visible")
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    wait_for_state(page, "succeeded")

    until(page, "document.getElementById('scrub').value > 0")  # autoplay
    first, last = at(page, "Home"), at(page, "End")
    assert changed(first, points) > 0.02
    assert changed(first, last) > 0.02
    assert "frame 17 of 17" in label(page, "#scrub", "aria-valuetext")
    for toggle in ("Wireframe", "Colors", "Input points", "Z is up"):
        before = picture(page)
        page.get_by_role("checkbox", name=toggle).click()
        page.wait_for_timeout(50)  # one frame
        assert changed(before, picture(page)) > 0.001, toggle

    job_id = page.url.rpartition("/#job=")[2]
    job = gateway.client.get(f"/jobs/{job_id}").json()
    assert (job["options"]["resolution"], job["options"]["color"]) == (32, "correspondence")
    assert str(job["result"]["mesh"]["vertices"]) in page.locator("#facts").inner_text().replace(",", "")
    assert job["result"]["verdict"] in page.locator("#verdict").inner_text()
    assert "rows correspond" in page.locator("#verdict").inner_text()
    assert "of 17, 95 % of the points lie within" in label(page, "#fit svg", "aria-label")
    for file in job["result"]["files"]:
        with page.expect_download() as download:
            page.locator(f"#files a:has-text('{file['format'].upper()}')").click()
        assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == file["sha256"]
    assert page.locator("#recent a[aria-current]").inner_text().startswith("knees.npz")

    shared = visit(gateway, f"/#job={job_id}", color_scheme="dark", viewport={"width": 390, "height": 844})
    shared.wait_for_selector("#canvas[aria-label*=mesh]")
    assert shared.get_by_role(
        "checkbox", name="Input points"
    ).is_visible()  # samples are recognized by their hash
    assert shared.evaluate("document.documentElement.scrollWidth") <= 390
    shared.screenshot(path=tmp_path / "phone.png", full_page=True)
    ground = np.asarray(Image.open(tmp_path / "phone.png").convert("L"))
    assert np.median(ground) < 60


def test_pictures_of_samples_fit_their_frames(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway)
    for name in SAMPLES:
        button = page.get_by_role("button", name=name.replace("_", " "))
        button.wait_for()
        drawn = np.zeros((112, 112), bool)
        end = time.monotonic() + LONG / 1000
        while not drawn.any():  # until the file is loaded
            assert time.monotonic() < end, name
            data = button.locator("canvas").evaluate(
                "it => [...it.getContext('2d').getImageData(0, 0, 112, 112).data]"
            )
            drawn = np.reshape(data, (112, 112, 4))[..., 3] > 0
        rows, columns = np.nonzero(drawn)
        assert min(rows.min(), columns.min()) > 1, name
        assert max(rows.max(), columns.max()) < 110, name
        assert max(np.ptp(rows), np.ptp(columns)) > 80, name


def test_page_is_usable_by_keyboard(visit: Visit, gateway: Gateway, worker: Worker) -> None:
    page = visit(gateway)
    page.wait_for_selector("#samples button")
    page.get_by_role("button", name="Jumping").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#canvas:visible")
    play, canvas = page.locator("#play"), page.locator("#canvas")
    assert play.get_attribute("aria-label") == "Play"  # no autoplay
    canvas.focus()
    page.keyboard.press(".")
    assert "frame 2 of 17" in label(page, "#scrub", "aria-valuetext")
    page.keyboard.press(",")
    assert "frame 1 of 17" in label(page, "#scrub", "aria-valuetext")
    before = picture(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    page.wait_for_timeout(50)
    assert changed(before, picture(page)) > 0.001
    page.keyboard.press("Space")
    assert play.get_attribute("aria-label") == "Pause"
    until(page, "document.getElementById('scrub').value > 0.02")
    page.keyboard.press("Space")
    assert play.get_attribute("aria-label") == "Play"
    unnamed = page.evaluate("""[...document.querySelectorAll("button, input, select, [tabindex]")]
        .filter((it) => it.checkVisibility() && !it.labels?.length && !it.ariaLabel && !it.textContent.trim())
        .map((it) => it.outerHTML)""")
    assert unnamed == []


def test_refused_file_shows_all_faults(
    visit: Visit, gateway: Gateway, worker: Worker, tmp_path: Path
) -> None:
    page = visit(gateway, refusals="status of (422|404)")
    points = np.random.default_rng(0).random((2, 40, 3))
    points[1, 7, 2] = np.nan
    np.savez(tmp_path / "bad.npz", points=points, times=[1.0, 0.5], colour=1)
    page.set_input_files("#file", tmp_path / "bad.npz")
    page.get_by_role("button", name="Reconstruct").click()
    alert = page.locator("#form-problem [role=alert]")
    alert.wait_for()
    faults = gateway.client.post("/reconstruct", files={"file": (tmp_path / "bad.npz").read_bytes()}).json()[
        "errors"
    ]
    assert len(faults) == 3
    assert alert.locator("li").count() == 3
    for fault in faults:
        item = alert.locator("li", has_text=fault["message"])
        for part in (fault["key"], fault["found"], fault["wanted"]):
            assert part in item.inner_text()
    assert not page.locator("#progress").is_visible()
    page.evaluate(f"location.hash = 'job={'0' * 32}'")
    assert f"Job '{'0' * 32}' not found" in page.locator("#job-problem [role=alert]").inner_text()


def test_queued_job_can_be_canceled(visit: Visit, gateway: Gateway, worker: Worker, any_model: str) -> None:
    page = visit(gateway)
    for place in ("Waiting for a worker", "Queued, 1 job ahead"):
        pick(page, "Knees")
        if page.locator("#more").get_attribute("open") is None:
            page.get_by_text("More options").click()
        page.get_by_label("Model", exact=True).select_option(any_model)
        page.get_by_role("button", name="Reconstruct").click()
        wait_for_state(page, "queued")
        page.wait_for_selector(f"#stage-name:text-is('{place}')")
    page.get_by_role("button", name="Cancel").click()
    wait_for_state(page, "canceled")
    assert not page.locator("#progress").is_visible()
    newest = gateway.client.get("/jobs?limit=2").json()["jobs"]
    assert [job["state"] for job in newest] == ["canceled", "queued"]
    gateway.client.delete(f"/jobs/{newest[1]['id']}")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete files now").click()
    wait_for_state(page, "expired")


def test_upload_can_be_canceled(visit: Visit, gateway: Gateway, any_model: str) -> None:
    page = visit(gateway)
    pick(page, "Knees")
    before = gateway.client.get("/jobs").json()["jobs"]
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.get_by_role("button", name="Reconstruct").click()
    page.wait_for_selector("#stage-name:text-is('Uploading')")
    assert re.fullmatch(r"[\d.]+ k?B of 6\d kB", page.locator("#eta").inner_text())
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("#progress", state="hidden")
    page.wait_for_selector("#submit:enabled")
    assert page.locator("[role=alert]:visible").count() == 0
    assert gateway.client.get("/jobs").json()["jobs"] == before


def test_progress_resumes_after_a_lost_connection(
    visit: Visit, gateway: Gateway, queued: dict[str, Any], jobs: JobStore
) -> None:
    page = visit(gateway, refusals="ERR_FAILED")
    tries = []

    def lose_the_first(route: Route) -> None:
        tries.append(route.request.headers)
        route.abort() if len(tries) == 1 else route.continue_()

    page.route("**/events", lose_the_first)
    page.goto(f"{page.url}#job={queued['id']}")
    wait_for_state(page, "queued")
    job = jobs.claim(queued["id"], 3)
    assert job is not None
    jobs.report(job, Progress(stage="extract", percent=40, eta_seconds=3.2))
    page.wait_for_selector("#stage-name:text-is('Extracting the surface')")
    assert page.locator("#eta").inner_text() == "about 3 s left"
    assert page.locator("#bar").evaluate("(bar) => bar.value") == 40
    assert len(tries) == 2
    jobs.fail(job, JobError(code="worker_lost", message="The worker died three times"))
    wait_for_state(page, "failed")
    assert "The worker died three times" in page.locator("#job-problem [role=alert]").inner_text()
    page.wait_for_selector("#recent li:first-child :text('failed')")


def test_repeated_upload_reuses_its_idempotency_key(visit: Visit, gateway: Gateway, any_model: str) -> None:
    page = visit(gateway, refusals="ERR_FAILED")
    keys = []

    def lose_the_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            return route.abort()
        return route.continue_()

    page.route("**/reconstruct", lose_the_answer)
    pick(page, "Knees")
    page.get_by_text("More options").click()
    page.get_by_label("Model", exact=True).select_option(any_model)
    for _ in range(2):
        before = len(gateway.client.get("/jobs").json()["jobs"])
        page.get_by_role("button", name="Reconstruct").click()
        if len(keys) < 2:
            page.wait_for_selector("#form-problem :text('Service unreachable')")
    wait_for_state(page, "queued")
    assert keys[0] == keys[1]
    assert len(gateway.client.get("/jobs").json()["jobs"]) == before  # the first request had created it
    page.get_by_role("button", name="Cancel").click()
    wait_for_state(page, "canceled")


@pytest.fixture
def locked(server_env: dict[str, str]) -> Iterator[Gateway]:
    with running(Gateway(server_env | {"OFLOW_AUTH": "keys"})) as gateway:
        yield gateway


def test_key_dialog_stores_the_key_only_in_the_tab(
    locked: Gateway, visit: Visit, settings: Settings, worker: Worker
) -> None:
    _, key = KeyStore(redis_of(settings)).create("browser")
    page = visit(locked, refusals="status of 401")
    addresses = []
    page.on("request", lambda request: addresses.append(request.url))
    dialog, message = page.locator("#key-dialog"), page.locator("#key-problem")
    page.get_by_label("Key", exact=True).fill("oflow_wrong")
    page.get_by_role("button", name="Use key").click()
    message.wait_for()
    assert "Unknown or revoked" in message.inner_text()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use key").click()
    dialog.wait_for(state="hidden")
    pick(page, "Knees")
    page.get_by_text("More options").click()
    page.get_by_label("Resolution").fill("32")
    page.get_by_role("button", name="Reconstruct").click()
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    with page.expect_download() as download:
        page.locator("#files a").click()
    assert download.value.path().read_bytes()[:4] == b"glTF"
    assert download.value.suggested_filename.endswith(".glb")
    assert not [address for address in [*addresses, page.url] if key in address]
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    page.wait_for_selector("#canvas[aria-label*=mesh]")  # the key is kept in this tab
    assert not dialog.is_visible()
    other = visit(locked)
    other.locator("#key-dialog").wait_for()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def frames_archive(points: np.ndarray) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, frame in enumerate(points):
            archive.writestr(f"{number:08d}.npz", npz(points=frame, loc=np.zeros(3), scale=np.float32(2)))
    return file.getvalue()


def test_points_of_every_format_are_previewed(visit: Visit, gateway: Gateway) -> None:
    points = np.random.default_rng(1).random((3, 50, 3))
    flat, numbers = points.reshape(-1, 3), np.repeat(np.arange(3), 50)
    page = visit(gateway)
    page.wait_for_selector("#samples button")  # the form listens
    forms = {
        "half.npz": npz(points=points.astype(np.float16)),
        "far.npz": npz(points=points + np.array([5e6, -4e6, 100]), times=[0, 0.5, 2.0]),
        "frame.npz": npz(points=flat, frame=numbers),
        "lengths.npz": npz(points=flat.astype(np.float32), lengths=np.array([50, 50, 50], np.uint16)),
        "ragged.npz": npz(points=flat.astype(np.float32), lengths=np.array([40, 60, 50])),
        "frames.zip": frames_archive(points),
    }
    for name, content in forms.items():
        page.set_input_files("#file", {"name": name, "mimeType": "application/zip", "buffer": content})
        count = "40 to 60" if name == "ragged.npz" else "50"
        page.wait_for_selector(f"#chosen:has-text('{name}'):has-text('3 frames of {count} points')")
        page.wait_for_selector("#canvas:visible")
        assert np.ptp(picture(page)[:, :, 2]) > 100, name  # orange points on the background
    for name, content in {"odd.npz": b"PK\x05\x06 no", "other.npz": npz(weights=points)}.items():
        page.set_input_files("#file", {"name": name, "mimeType": "application/zip", "buffer": content})
        page.wait_for_selector("#empty:has-text('No preview available')")


def test_documentation_works_without_external_requests(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway, "/docs")
    page.locator(".opblock-post .opblock-summary").first.click()
    page.wait_for_selector(".opblock-body >> text=Send a multipart form with the part")
    page.get_by_role("button", name="Try it out").first.click()
    page.wait_for_selector(".opblock-body input[type=file]")
    assert page.locator(".opblock").count() >= 10
