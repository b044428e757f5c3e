"""The web page and the API documentation in a browser, with the real service."""

import hashlib
import io
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route

from model.meshes.sequence import MeshSequence
from model.meshes.upright import upright_rotation
from model.registration.upright import guess_up
from service.api.keys import KeyStore
from service.core.jobs.record import JobError, Progress
from service.core.jobs.store import JobStore
from service.core.settings import Settings
from service.page.samples import SAMPLES
from tests.browser.pages import (
    LONG,
    Visit,
    at,
    changed,
    label,
    pick,
    picture,
    until,
    wait_for_state,
)
from tests.conftest import redis_of
from tests.integration.service_processes import Gateway, Worker, running


@pytest.fixture(scope="module")
def done(gateway: Gateway, worker: Worker, sample: bytes) -> dict[str, Any]:
    """A finished job that was not sent from the page, and that the browser tests share."""
    options = {"resolution": 32, "formats": "glb,npz", "color": "correspondence", "up": "y"}
    job = gateway.submit(sample, metadata='{"name": "from elsewhere"}', **options)
    return gateway.follow(job["id"])


def show_job(page: Page, job_id: str) -> None:
    page.evaluate(f"location.hash = 'job={job_id}'")
    page.wait_for_selector("#canvas[aria-label*=mesh]")


def test_sample_is_reconstructed_and_played(visit: Visit, gateway: Gateway, worker: Worker) -> None:
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
    assert page.locator("#speed").input_value() == "1"
    first, last = at(page, "Home"), at(page, "End")
    assert changed(first, points) > 0.02
    assert changed(first, last) > 0.02
    assert "frame 17 of 17" in label(page, "#scrub", "aria-valuetext")

    job_id = page.url.rpartition("/#job=")[2]
    job = gateway.client.get(f"/jobs/{job_id}").json()
    assert (job["options"]["resolution"], job["options"]["color"]) == (32, "correspondence")
    assert str(job["result"]["mesh"]["vertices"]) in page.locator("#facts").inner_text().replace(",", "")
    assert f"Verdict: {job['result']['verdict']}" in page.locator("#verdict").inner_text()
    assert "is the same point in every frame" in page.locator("#verdict").inner_text()
    assert "of 17, 95% of the points lie within" in label(page, "#fit svg", "aria-label")
    for file in job["result"]["files"]:
        with page.expect_download() as download:
            page.locator(f"#files a:has-text('{file['format'].upper()}')").click()
        assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == file["sha256"]
    assert page.locator("#recent a[aria-current]").inner_text().startswith("knees.npz")
    page.locator("#recent a[aria-current]").scroll_into_view_if_needed()
    until(page, "document.querySelector('#recent a[aria-current] img').naturalWidth === 480")  # its thumbnail


def test_shared_link_shows_a_job_from_elsewhere_on_a_phone(
    visit: Visit, gateway: Gateway, done: dict[str, Any], tmp_path: Path
) -> None:
    page = visit(gateway, f"/#job={done['id']}", color_scheme="dark", viewport={"width": 390, "height": 844})
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    assert page.locator("#job-title").inner_text() == "from elsewhere"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    ground = np.asarray(Image.open(tmp_path / "phone.png").convert("L"))
    assert np.median(ground) < 60
    # The view leaves scrolling alone: one finger up or down, and the wheel until the view has the focus.
    canvas = page.locator("#canvas")
    assert canvas.evaluate("it => getComputedStyle(it).touchAction") == "pan-y"
    canvas.scroll_into_view_if_needed()
    top = page.evaluate("scrollY")
    canvas.hover()
    before = picture(page)
    page.mouse.wheel(0, 100)
    until(page, f"scrollY > {top + 50}")
    page.evaluate(f"scrollTo(0, {top})")
    assert changed(before, picture(page)) < 0.001
    canvas.focus()
    canvas.hover()
    page.mouse.wheel(0, 100)
    page.wait_for_timeout(50)
    assert page.evaluate("scrollY") == top
    assert changed(before, picture(page)) > 0.001


def test_a_job_without_a_glb_shows_its_points_and_says_why(
    visit: Visit, gateway: Gateway, worker: Worker, sample: bytes, done: dict[str, Any]
) -> None:
    other = gateway.follow(gateway.submit(sample, resolution=32, formats="webp")["id"])
    page = visit(gateway, f"/?job={other['id']}")
    page.wait_for_selector("#no-mesh:visible:has-text('Only a GLB file plays here')")
    page.wait_for_selector("#canvas[aria-label*=points]")
    show_job(page, done["id"])
    assert not page.locator("#no-mesh").is_visible()


def test_points_and_mesh_are_compared(visit: Visit, gateway: Gateway, done: dict[str, Any]) -> None:
    page = visit(gateway)
    page.route("**/page/samples", lambda route: route.fulfill(json=[]))  # the input comes from the service
    page.reload()
    page.wait_for_selector("#recent a")
    with page.expect_response("**/input") as response:
        show_job(page, done["id"])
    assert response.value.status == 200
    page.wait_for_selector("#arrangement:visible")
    shown = {"mesh": picture(page)}
    for arrangement in ("both", "beside", "points"):
        page.select_option("#arrangement", arrangement)
        page.wait_for_timeout(50)  # one frame
        shown[arrangement] = picture(page)
        assert all(
            changed(shown[arrangement], shown[other]) > 0.001 for other in shown if other != arrangement
        )
    page.select_option("#arrangement", "both")
    assert not page.locator("#legend").is_visible()
    for coloring in ("distance", "plain"):
        before = picture(page)
        page.select_option("#coloring", coloring)
        page.wait_for_timeout(50)
        assert changed(before, picture(page)) > 0.01, coloring
        legend = page.locator("#legend")
        assert legend.is_visible() == (coloring == "distance")
    most = max(done["result"]["fit"]["p95"])
    assert legend.locator("#legend-most").text_content() == f"{float(f'{most:.3g}')} or more"
    before = picture(page)
    page.get_by_role("checkbox", name="Wireframe").click()
    page.wait_for_timeout(50)
    assert changed(before, picture(page)) > 0.001
    with page.expect_download() as download:
        page.get_by_role("button", name="Screenshot").click()
    saved = np.asarray(Image.open(download.value.path()).convert("RGBA"))
    assert saved[..., 3].any(), "not empty"


def answer(page: Page, pattern: str, **content: Any) -> None:
    page.route(pattern, lambda route: route.fulfill(**content))


def chosen_up(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Up", exact=True)


def test_results_stand_upright(visit: Visit, gateway: Gateway, done: dict[str, Any]) -> None:
    """The same result with z up looks the same, and another axis can be chosen and shared."""
    address = f"/jobs/{done['id']}"
    content = gateway.client.get(f"{address}/result?format=npz&redirect=false").content
    with np.load(io.BytesIO(content)) as arrays:
        to_y = upright_rotation("z")
        plain = MeshSequence(arrays["vertices"], arrays["faces"], arrays["times"])
    lying = replace(plain, vertices=plain.vertices @ to_y, up="z")
    job = gateway.client.get(address).json()
    pictures: list[np.ndarray] = []
    for shown, up in ((plain, "y"), (lying, "z")):
        page = visit(gateway, refusals="404")
        told = job | {"options": job["options"] | {"up": "auto"}}
        told["result"] = job["result"] | {"decisions": job["result"]["decisions"] | {"up": up}}
        answer(page, f"**{address}/input*", status=404, json={})
        answer(page, f"**{address}", json=told)
        answer(page, f"**{address}/result?format=glb*", body=shown.to_glb())
        answer(page, "**/page/samples", json=[])
        page.reload()
        page.wait_for_selector("#recent a")
        show_job(page, done["id"])
        page.wait_for_timeout(50)
        assert chosen_up(page).input_value() == up
        pictures.append(picture(page))
    assert changed(*pictures) < 0.001
    chosen_up(page).select_option("y")
    page.wait_for_timeout(50)
    assert changed(pictures[0], picture(page)) > 0.01
    assert page.evaluate("location.hash") == f"#job={done['id']}&up=y"
    page.goto(str(gateway.client.base_url).rstrip("/") + f"/?job={done['id']}&up=-x")
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    assert chosen_up(page).input_value() == "-x"
    assert page.locator("#facts").get_by_text("z (chosen automatically)").is_visible()
    page.wait_for_selector(f"#recent a[aria-current][href='#job={done['id']}']")


def test_page_and_worker_guess_alike(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway)
    rng = np.random.default_rng(3)
    told = set()
    for number in range(60):
        frames = rng.normal(size=(2, 100, 3)) * rng.uniform(0.5, 1, 3)
        frames[1] += rng.choice([0, 2]) * rng.normal(size=3)
        frames += rng.choice([0, 6]) * rng.normal(size=3)
        frames = frames.astype(np.float32).astype(np.float64)
        origin = np.array([1.0, 2.0, 3.0])
        found = page.evaluate(
            """async ({ frames, origin }) => {
                const { guessUp } = await import("/page/up.js");
                return guessUp({ frames: frames.map((it) => Float32Array.from(it)), origin });
            }""",
            {"frames": [frame.ravel().tolist() for frame in frames], "origin": origin.tolist()},
        )
        assert found == guess_up(list(frames + origin)), number
        told.add(found)
    assert told == {"y", "z"}


def test_distances_are_those_of_the_fit(
    visit: Visit, gateway: Gateway, done: dict[str, Any], sample: bytes
) -> None:
    page = visit(gateway)
    content = gateway.client.get(f"/jobs/{done['id']}/result?format=npz&redirect=false").content
    mesh, points = np.load(io.BytesIO(content)), np.load(io.BytesIO(sample))["points"]
    frame = 5
    found = page.evaluate(
        """async ([points, vertices, faces]) => {
            const { distances } = await import("/page/heat.js");
            const mesh = [new Float64Array(vertices), new Uint32Array(faces)];
            const found = distances(new Float32Array(points), ...mesh);
            return [[...found.points], [...found.vertices]];
        }""",
        [
            points[frame].ravel().tolist(),
            mesh["vertices"][frame].ravel().tolist(),
            mesh["faces"].ravel().tolist(),
        ],
    )
    measured = np.array(found[0])
    assert measured.shape == (300,)
    np.testing.assert_allclose(measured.mean(), done["result"]["fit"]["mean"][frame], rtol=1e-4)
    np.testing.assert_allclose(np.percentile(measured, 95), done["result"]["fit"]["p95"][frame], rtol=1e-4)
    nearest = np.linalg.norm(mesh["vertices"][frame][:, None] - points[frame], axis=-1).argmin(axis=1)  # [V]
    np.testing.assert_array_equal(found[1], measured[nearest])


def test_frames_without_points_are_told_and_shown(
    visit: Visit, gateway: Gateway, worker: Worker, sample: bytes
) -> None:
    """Of a job that was not sent from the page: the points come from the service."""
    frames = list(np.load(io.BytesIO(sample))["points"])
    frames[0], frames[1] = frames[0][:0], frames[1][:5]
    upload, lengths = io.BytesIO(), [len(frame) for frame in frames]
    np.savez(upload, points=np.concatenate(frames), lengths=lengths, corresponding=True)
    job = gateway.follow(gateway.submit(upload.getvalue(), resolution=32, up="y")["id"])
    assert job["result"]["fit"]["mean"][:2] == [None, None]
    assert job["result"]["decisions"]["missing"] == [0, 1]
    assert job["result"]["decisions"]["corresponding"]
    page = visit(gateway, f"/#job={job['id']}")
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    assert "in frames 0, 1: the nearest pose is held there" in page.locator("#verdict").inner_text()
    assert page.locator(".now-at").inner_text() == "Frame 1: no points, interpolated"
    held = picture(page)
    page.locator("#coloring").select_option("distance")
    assert changed(picture(page), held) == 0, "there is no distance to color by"
    for _ in range(2):
        page.get_by_role("button", name="Next frame").click()
    assert "mean" in page.locator(".now-at").inner_text()
    assert changed(picture(page), held) > 0.01
    assert "NaN" not in page.locator("#fit").inner_html()


def test_playback_loops_or_stops_and_steps(visit: Visit, gateway: Gateway, done: dict[str, Any]) -> None:
    page = visit(gateway, f"/#job={done['id']}")
    page.wait_for_selector("#canvas[aria-label*=mesh]")
    page.get_by_role("button", name="Next frame").click()
    page.get_by_role("button", name="Next frame").click()
    page.get_by_role("button", name="Previous frame").click()
    assert "· 2/17" in page.locator("#clock").inner_text()
    page.get_by_role("checkbox", name="Loop").uncheck()
    page.locator("#play").click()
    page.wait_for_selector("#play[aria-label=Play]")  # it has ended
    assert "· 17/17" in page.locator("#clock").inner_text()


def test_links_that_lead_nowhere_are_told(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway, "/#job=abc", refusals="status of 404")
    alert = page.locator("#job-problem [role=alert]")
    alert.wait_for()
    assert "Check that it was copied whole" in alert.inner_text()
    page.evaluate(f"location.hash = 'job={'0' * 32}'")
    page.wait_for_selector("#job-problem :text('There is no such job')")


def test_progress_stays_in_sight(visit: Visit, gateway: Gateway, queued: dict[str, Any]) -> None:
    page = visit(gateway, f"/#job={queued['id']}", viewport={"width": 390, "height": 844})
    wait_for_state(page, "queued")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector("#status:visible")
    assert "Waiting for a worker" in page.locator("#status-text").inner_text()
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_selector("#status", state="hidden")
    assert page.locator("#progress").is_visible()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    gateway.client.delete(f"/jobs/{queued['id']}")
    wait_for_state(page, "canceled")
    page.wait_for_selector("#status", state="hidden")


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
                """it => {
                    const copy = new OffscreenCanvas(112, 112).getContext("2d"); // no warning of many reads
                    copy.drawImage(it, 0, 0);
                    return [...copy.getImageData(0, 0, 112, 112).data];
                }"""
            )
            drawn = np.reshape(data, (112, 112, 4))[..., 3] > 0
        rows, columns = np.nonzero(drawn)
        assert min(rows.min(), columns.min()) > 1, name
        assert max(rows.max(), columns.max()) < 110, name
        assert max(np.ptp(rows), np.ptp(columns)) > 80, name


def test_motion_fits_a_narrow_view(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway, viewport={"width": 390, "height": 844})
    page.get_by_role("button", name="Walker").click()
    page.wait_for_selector("#canvas:visible")
    for key in ("Home", "End"):
        shown = at(page, key)
        is_point = shown[..., 0] - shown[..., 2] > 60  # [H, W], orange
        columns = np.flatnonzero(is_point.any(axis=0))
        assert columns.min() > 2, key
        assert columns.max() < shown.shape[1] - 3, key


def test_options_and_recent_jobs_are_told_in_full(
    visit: Visit, gateway: Gateway, worker: Worker, done: dict[str, Any]
) -> None:
    page = visit(gateway)
    page.get_by_text("More options").click()
    page.wait_for_selector("#resolution[placeholder='128']")
    assert not label(page, "#name", "placeholder")
    pick(page, "Knees")
    fields = page.evaluate("[...document.querySelectorAll('#more-options [name]')].map((it) => it.name)")
    assert fields[:4] == ["frames", "fps", "duration", "playback_fps"]
    recent = page.locator(f"#recent a[href='#job={done['id']}'] .what")
    assert recent.inner_text() == f"local_oflow · glb, npz · {done['result']['verdict']}"
    notes = page.evaluate(
        """async () => {
            const { decisionNotes } = await import("/page/result.js");
            const notes = (count) => decisionNotes({ corresponding: true, removed: { stray: [0, count] } });
            return [1, 2000].flatMap(notes);
        }"""
    )
    assert notes[1::2] == ["1 point was removed", "2,000 points were removed"]


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
    page = visit(gateway, refusals="status of 422")
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


def test_files_chosen_before_the_page_is_ready_are_taken(
    visit: Visit, gateway: Gateway, tmp_path: Path
) -> None:
    page = visit(gateway)
    held: list[Route] = []
    page.route("**/page/options", lambda route: held.append(route))
    page.reload()
    np.savez(tmp_path / "early.npz", points=np.random.default_rng(0).random((2, 40, 3)))
    page.set_input_files("#file", tmp_path / "early.npz")
    page.wait_for_timeout(100)
    assert held
    assert not page.locator("#chosen").is_visible()
    held.pop().continue_()
    page.wait_for_selector("#submit:enabled")
    assert "early.npz" in page.locator("#chosen").inner_text()
    assert page.locator("#file").evaluate("(input) => input.files.length") == 0


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
    page.wait_for_selector("#eta:text-is('about 3 s left')")  # until then it tells of the lost connection
    assert page.locator("#bar").evaluate("(bar) => bar.value") == 40
    for _ in range(100):  # the page asks for the job's state until the stream is back
        if len(tries) > 1:
            break
        page.wait_for_timeout(100)
    assert len(tries) >= 2
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
    for attempt in range(2):
        before = len(gateway.client.get("/jobs").json()["jobs"])
        page.get_by_role("button", name="Reconstruct").click()
        if attempt == 0:
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
    assert "Unknown, expired or revoked" in message.inner_text()
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


def test_documentation_works_without_external_requests(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway, "/docs")
    page.locator(".opblock-post .opblock-summary").first.click()
    page.wait_for_selector(".opblock-body >> text=Send a multipart form with one part")
    page.get_by_role("button", name="Try it out").first.click()
    page.wait_for_selector(".opblock-body input[type=file]")
    assert page.locator(".opblock").count() >= 10
