"""Choosing files in the page: previews of every format, and what is told before anything is sent."""

import base64
import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from model.meshes.sequence import MeshSequence
from service.core.sequences.sequence import read_sequence
from service.page.samples import SAMPLES
from tests.browser import clouds
from tests.browser.pages import LONG, Visit, changed, pick, picture
from tests.integration.service_processes import Gateway

POINTS = np.random.default_rng(1).random((3, 50, 3))


def arrays(name: str) -> bytes:
    flat, numbers = POINTS.reshape(-1, 3), np.repeat(np.arange(3), 50)
    narrow = flat.astype(np.float32)
    forms: dict[str, dict[str, Any]] = {
        "half.npz": {"points": POINTS.astype(np.float16)},
        "far.npz": {"points": POINTS + np.array([5e6, -4e6, 100]), "times": [0, 0.5, 2.0]},
        "frame.npz": {"points": flat, "frame": numbers},
        "numbers.npz": {"points": flat, "frame": np.array([1, 2, 7])[numbers]},
        "lengths.npz": {"points": narrow, "lengths": np.array([50, 50, 50], np.uint16)},
        "ragged.npz": {"points": narrow, "lengths": np.array([40, 60, 50])},
    }
    return clouds.npz(**forms[name])


FRAMES: dict[str, Callable[[NDArray[np.float64]], bytes]] = {
    "npz": clouds.published,
    "npy": clouds.npy,
    "xyz": clouds.text,
    "csv": lambda frame: b"x,y,z\n" + clouds.text(frame, ","),
    "obj": lambda frame: clouds.text(frame, " ", "v ") + b"f 1 2 3\n",
    "ply": lambda frame: clouds.ply(frame, "ascii"),
    "PLY": lambda frame: clouds.ply(frame, "binary_little_endian"),
    "be.ply": lambda frame: clouds.ply(frame, "binary_big_endian"),
    "pcd": lambda frame: clouds.pcd(frame, "ascii"),
    "bin.pcd": lambda frame: clouds.pcd(frame, "binary"),
    "lzf.pcd": lambda frame: clouds.pcd(frame, "binary_compressed"),
    "las": clouds.las,
    "bin": clouds.kitti,
    "off": clouds.off,
    "coff.off": lambda frame: clouds.off(frame).replace(b"OFF\n", b"COFF "),
    "stl": clouds.stl,
    "text.stl": clouds.stl_text,
}  # fmt: skip


def ready(visit: Visit, gateway: Gateway, **options: Any) -> Page:
    page = visit(gateway, **options)
    page.wait_for_selector(f"#samples button:nth-child({len(SAMPLES)})")  # the form listens
    return page


def drop(page: Page, names: list[str], content: str = "0 0 0") -> None:
    """Drop files on the page, as the browser would tell it."""
    page.evaluate(
        """([names, content]) => {
            const dataTransfer = new DataTransfer();
            for (const name of names) dataTransfer.items.add(new File([content], name));
            dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }""",
        [names, content],
    )


def upload(name: str, content: bytes) -> Any:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def read(page: Page, files: dict[str, bytes]) -> list[NDArray[np.float64]]:
    """What the page reads from files: points [N, 3] of each frame."""
    frames, origin = page.evaluate(
        """async (files) => {
            const { readSequence } = await import("/page/sequence.js");
            const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
            const read = await readSequence(files.map(([name, text]) => new File([bytes(text)], name)));
            return [read.frames.map((frame) => [...frame]), read.origin];
        }""",
        [(name, base64.b64encode(content).decode()) for name, content in files.items()],
    )
    return [np.reshape(frame, (-1, 3)) + origin for frame in frames]


@pytest.fixture(scope="module")
def reader(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(str(gateway.client.base_url))
        yield page


@pytest.mark.parametrize("suffix", FRAMES)
def test_frames_of_every_format_are_read(reader: Page, suffix: str) -> None:
    number = "{:08d}" if suffix == "npz" else "f{}"
    files = {number.format(t) + f".{suffix}": FRAMES[suffix](frame) for t, frame in enumerate(POINTS)}
    scale = 2 if suffix == "npz" else 1
    for sent in (files, {"a.zip": clouds.packed(files)}):
        frames = read(reader, sent)
        assert len(frames) == 3
        for frame, points in zip(frames, POINTS, strict=True):
            points = points[:48] if suffix.endswith("stl") else points  # whole triangles
            np.testing.assert_allclose(frame, scale * points, atol=1.1e-3 if suffix == "las" else 2e-6)


@pytest.mark.parametrize("layout", ["fx", "K", "intrinsic_matrix", "camera_matrix"])
def test_depth_images_are_read(reader: Page, layout: str) -> None:
    fx, fy, cx, cy = 31.0, 29.0, 7.5, 5.25
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    camera: dict[str, Any] = {
        "fx": {"fx": fx, "fy": fy, "cx": cx, "cy": cy},
        "K": {"K": matrix.tolist()},
        "intrinsic_matrix": {"intrinsic": {"intrinsic_matrix": matrix.T.ravel().tolist()}},
        "camera_matrix": {"camera_matrix": {"rows": 3, "cols": 3, "data": matrix.T.ravel().tolist()}},
    }[layout]
    files = {"camera.json": json.dumps(camera | {"depth_scale": 500, "depth_max": 3}).encode()}
    for t in range(3):
        slope = np.add.outer(np.arange(24) * 31, np.arange(40) * 17) + 700  # rows of many filters
        slope[t : t + 9, 3:7] = np.random.default_rng(t).integers(0, 4096, (9, 4))
        files[f"d{t}.png"] = clouds.png(slope)
    frames = read(reader, {"a.zip": clouds.packed(files)})
    expected = read_sequence(io.BytesIO(clouds.packed(files)))
    assert len(frames) == 3
    for frame, points in zip(frames, expected.points, strict=True):
        np.testing.assert_allclose(frame, points, atol=2e-6)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["fx", "K", "intrinsics", "each fx", "each K"])
def test_arrays_of_depths_are_read(reader: Page, dtype: str, layout: str) -> None:
    slope = np.add.outer(np.arange(24) * 31.0, np.arange(40) * 17.0) + np.arange(700, 703)[:, None, None]
    depth = slope if dtype == "uint16" else slope / 1000  # [T, H, W]
    depth[:, 3] = 65535 if dtype == "uint16" else np.nan
    depth[:, 4, 5:] = 0
    numbers = {"fx": 31.0, "fy": 29.0, "cx": 7.5, "cy": 5.25}
    matrix = np.array([[31.0, 0, 7.5], [0, 29.0, 5.25], [0, 0, 1]])
    matrices = [matrix, matrix * [[2], [2], [1]], matrix]
    cameras: dict[str, dict[str, Any]] = {
        "fx": numbers,
        "each fx": {**numbers, "fx": [31.0, 40.0, 31.0], "cy": [5.25, 5.25, 7.0]},
        "each K": {"K": matrices},
    }
    camera = cameras.get(layout, {layout: matrix})
    archive = clouds.npz(depth=depth.astype(dtype), depth_max=np.float32(1.8), **camera)
    expected = read_sequence(io.BytesIO(archive)).points
    frames = read(reader, {"depth.npz": archive})
    assert len(frames) == len(expected) == 3
    for frame, points in zip(frames, expected, strict=True):
        np.testing.assert_allclose(frame, points, atol=2e-6)


def test_large_depth_images_are_sampled_as_the_service_does(visit: Visit, gateway: Gateway) -> None:
    page = ready(visit, gateway)
    camera = {"fx": 200.0, "fy": 200.0, "cx": 130.0, "cy": 90.0}
    archive = clouds.npz(depth=np.full((2, 180, 260), 1500, np.uint16), **camera)
    page.set_input_files("#file", upload("depth.npz", archive))
    page.wait_for_selector("#chosen:has-text('2 frames of 32,768 points')")


def test_headers_that_numpy_reads_are_read(reader: Page) -> None:
    for header in (
        '{"descr": "<f4", "fortran_order": False, "shape": (3, 50, 3)}',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 50L, 3L), }",  # numpy of Python 2 on Windows
    ):
        text = header.ljust(117).encode() + b"\n"
        array = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + POINTS.astype("<f4").tobytes()
        frames = read(reader, {"a.npz": clouds.packed({"points.npy": array})})
        np.testing.assert_allclose(frames, POINTS, atol=2e-6)


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", "<f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_byte_order_and_layout_are_read(reader: Page, dtype: str, order: str) -> None:
    frames = read(reader, {"a.npz": clouds.npz(points=np.array(POINTS, dtype, order=order))})  # type: ignore[call-overload]
    np.testing.assert_allclose(frames, POINTS.astype(dtype), atol=2e-6)


DAY = 1_700_000_000  # seconds since 1970
NUMBERED = {"a.npz": clouds.npz(points=POINTS.reshape(-1, 3), frame=np.repeat([5, 6, 29], 50))}


def named(*names: str) -> dict[str, bytes]:
    return {f"{name}.xyz": clouds.text(POINTS[0]) for name in names}


@pytest.mark.parametrize(
    ("files", "options", "times"),
    [
        (NUMBERED, {}, [0, 1 / 24, 1]),
        (NUMBERED, {"playback_fps": 1}, [0, 1 / 12, 2]),
        ({"a.npz": clouds.npz(points=POINTS, times=(DAY + np.array([0, 1, 3])) * 1000)}, {}, [0, 1, 3]),
        (named("f0", "f5", "f20"), {}, [0, 1 / 24, 4 / 24]),
        (named("f0", "f5", "f20"), {"fps": 2}, [0, 0.5, 2]),
        (named(f"{DAY}.1", f"{DAY}.2", f"{DAY}.5"), {"fps": 2}, [0, 0.1, 0.4]),
        (named(*(f"{DAY + t}000000000" for t in (0, 1, 3))), {}, [0, 1, 3]),
        (named("a1_b1", "a1_b5", "a2_b9"), {}, [0, 1 / 24, 2 / 24]),
    ],
)
def test_points_play_at_the_times_that_the_service_takes(
    reader: Page, files: dict[str, bytes], options: dict[str, int], times: list[float]
) -> None:
    played = reader.evaluate(
        """async ([files, options]) => {
            const { asPlayed, readSequence } = await import("/page/sequence.js");
            const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
            const sent = files.map(([name, text]) => new File([bytes(text)], name));
            return asPlayed(await readSequence(sent), options).times;
        }""",
        [[(name, base64.b64encode(content).decode()) for name, content in files.items()], options],
    )
    np.testing.assert_allclose(played, times, atol=1e-5)


def test_points_of_arrays_are_previewed(visit: Visit, gateway: Gateway) -> None:
    page = ready(visit, gateway)
    for name in ("half.npz", "far.npz", "frame.npz", "numbers.npz", "lengths.npz", "ragged.npz"):
        page.set_input_files("#file", upload(name, arrays(name)))
        points = "40 to 60" if name == "ragged.npz" else "50"
        page.wait_for_selector(f"#chosen:has-text('{name}'):has-text('3 frames of {points} points')")
        page.wait_for_selector("#canvas:visible")
        end = time.monotonic() + LONG / 1000
        while np.ptp(picture(page)[:, :, 2]) < 100:  # until there are orange points on the background
            assert time.monotonic() < end, name
    for name, content in {"odd.npz": b"PK\x05\x06 no", "other.npz": clouds.npz(weights=POINTS)}.items():
        page.set_input_files("#file", upload("half.npz", arrays("half.npz")))
        page.wait_for_selector("#canvas:visible")
        page.set_input_files("#file", upload(name, content))
        page.wait_for_selector("#empty:has-text('No preview available')")


def test_points_that_the_page_cannot_read_come_from_the_service(
    visit: Visit, gateway: Gateway, any_model: str
) -> None:
    page = ready(visit, gateway)
    corners = np.random.default_rng(2).random((3, 39, 3))
    triangles = np.arange(39, dtype=np.int32).reshape(-1, 3)
    mesh = MeshSequence(corners, triangles, np.arange(3) / 10)
    page.set_input_files("#file", upload("animated.glb", mesh.to_glb()))
    page.wait_for_selector("#empty:has-text('No preview available')")
    page.get_by_text("More options").click()
    page.get_by_label("Model", exact=True).select_option(any_model)
    with page.expect_response("**/input") as response:
        page.get_by_role("button", name="Reconstruct").click()
    assert response.value.status == 200
    page.wait_for_selector("#canvas[aria-label*=points]:visible")
    end = time.monotonic() + LONG / 1000
    while np.ptp(picture(page)[:, :, 2]) < 100:  # until there are orange points on the background
        assert time.monotonic() < end
    gateway.client.delete(f"/jobs/{page.url.rpartition('=')[2]}")


def test_points_of_a_preview_are_large_enough_to_see(visit: Visit, gateway: Gateway) -> None:
    page = ready(visit, gateway, viewport={"width": 1280, "height": 900})
    pick(page, "Walker")
    page.wait_for_selector("#canvas:visible")
    points = 1403  # in the first frame
    end = time.monotonic() + LONG / 1000
    while (orange := (np.ptp(picture(page), axis=2) > 60).sum()) < 3 * points:
        assert time.monotonic() < end, f"{orange} pixels for {points} points"


def test_several_dropped_files_are_one_sequence(visit: Visit, gateway: Gateway, any_model: str) -> None:
    page = ready(visit, gateway)
    frame = clouds.text(POINTS[0]).decode()
    drop(page, ["f10.xyz", "f2.xyz", "f1.xyz", "readme.md", ".DS_Store"], frame)
    page.wait_for_selector("#chosen:has-text('3 frames of 50 points')")
    told = page.locator("#chosen").inner_text()
    assert "3 files: f1.xyz to f10.xyz" in told
    assert "Not sent, since they are of another kind: readme.md" in told
    page.get_by_text("More options").click()
    page.get_by_label("Model", exact=True).select_option(any_model)
    page.get_by_role("button", name="Reconstruct").click()
    page.wait_for_selector("#state[data-state=queued]")
    job = gateway.client.get(f"/jobs/{page.url.rpartition('=')[2]}").json()
    assert (job["input"]["frames"], job["input"]["points"]) == (3, 50)
    assert page.locator("#job-title").inner_text() == "f1.xyz and 2 more"
    gateway.client.delete(f"/jobs/{job['id']}")
    drop(page, ["a.zip", "b.zip"])
    page.wait_for_selector("#form-problem :text('Choose one of them')")
    assert page.locator("#submit").is_disabled()


def test_a_folder_is_one_sequence(visit: Visit, gateway: Gateway, tmp_path: Path) -> None:
    page = ready(visit, gateway)
    folder = tmp_path / "take 7"
    for t, frame in enumerate(POINTS):
        (folder / f"camera{t}").mkdir(parents=True)
        (folder / f"camera{t}" / "cloud.xyz").write_bytes(clouds.text(frame))
    page.set_input_files("#folder", folder)
    page.wait_for_selector("#chosen:has-text('3 frames of 50 points')")
    assert page.locator("#chosen strong").inner_text() == "take 7"
    assert "camera0_cloud.xyz" in page.locator("#chosen").inner_text()


def test_model_says_what_it_will_do(visit: Visit, gateway: Gateway, any_model: str) -> None:
    page = ready(visit, gateway)
    page.get_by_text("More options").click()
    page.get_by_label("Model", exact=True).select_option(any_model)
    plan = page.locator("#plan")
    pick(page, "Knees")
    plan.get_by_text("Row j is the same particle in every frame").wait_for()
    assert "The result plays for 0.27 s" in plan.inner_text()
    page.get_by_label("Corresponding points").select_option("no")
    plan.get_by_text("The points have no order").wait_for()
    pick(page, "Walker")
    plan.get_by_text("Frames differ in size").wait_for()
    page.set_input_files("#file", upload("half.npz", arrays("half.npz")))
    plan.get_by_text("The files contain no times").wait_for()
    assert "/3" in page.locator("#clock").inner_text()
    page.locator("#ask").get_by_label("Playback rate").fill("2")
    plan.get_by_text("The result plays for 1 s").wait_for()
    assert page.locator("#scrub").get_attribute("max") == "1"
    page.set_input_files("#file", upload("one.npz", clouds.npz(points=POINTS[:1])))
    plan.get_by_text(f"{any_model} needs at least 2 frames").wait_for()


@pytest.mark.parametrize("suffix", ["npz", "npy", "xyz", "csv", "ply", "PLY", "bin", "array"])
def test_points_without_coordinates_are_left_out(reader: Page, suffix: str) -> None:
    points = POINTS.copy()
    points[0, :20] = points[1, 5, 1] = np.nan
    points[2, 7, 2] = -np.inf
    if suffix == "array":
        files = {"all.npz": clouds.npz(points=points)}
    else:
        files = {f"{t:08d}.{suffix}": FRAMES[suffix](frame) for t, frame in enumerate(points)}
    kept = [frame[np.isfinite(frame).all(axis=1)] for frame in points]
    for frame, wanted in zip(read(reader, files), kept, strict=True):
        np.testing.assert_allclose(frame, (2 if suffix == "npz" else 1) * wanted, atol=2e-6)


def test_points_without_coordinates_are_told(visit: Visit, gateway: Gateway, any_model: str) -> None:
    page = ready(visit, gateway)
    page.get_by_text("More options").click()
    page.get_by_label("Model", exact=True).select_option(any_model)
    plan = page.locator("#plan")
    points = POINTS.copy()
    points[0, :10] = np.nan
    page.set_input_files("#file", upload("holes.npz", clouds.npz(points=points)))
    line = plan.locator("li.wrong")
    line.get_by_text("There are 10 points without coordinates. Choose drop_invalid as Cleanup").wait_for()
    page.wait_for_selector("#canvas:visible")
    assert "3 frames of 50 points" in page.locator("#chosen").inner_text()
    page.get_by_label("Cleanup").select_option("drop_invalid")
    plan.get_by_text("10 points without coordinates will be left out.").wait_for()
    assert line.count() == 0
    points[1, :30] = np.nan
    page.set_input_files("#file", upload("fewer.npz", clouds.npz(points=points)))
    plan.get_by_text("40 points without coordinates will be left out.").wait_for()
    assert line.count() == 0, "rows may be the same particles, which are put where their neighbors go"
    page.get_by_label("Corresponding points").select_option("no")
    plan.get_by_text("1 of 3 frames have too few points: the motion is interpolated there.").wait_for()
    points[2, :30] = np.nan
    page.set_input_files("#file", upload("hollow.npz", clouds.npz(points=points)))
    line.get_by_text("needs 2 frames of 32 points or more, and 2 of 3 have fewer.").wait_for()
    points[:] = np.inf
    page.set_input_files("#file", upload("none.npz", clouds.npz(points=points)))
    page.get_by_text("No preview available for these files").wait_for()


@pytest.mark.parametrize("suffix", ["npz", "npy", "xyz", "ply", "pcd", "las", "bin"])
def test_frames_without_points_are_previewed(reader: Page, suffix: str) -> None:
    """Of a file that says so, or that is empty."""
    files = {f"{t:08d}.{suffix}": FRAMES[suffix](frame[: 50 * (t > 0)]) for t, frame in enumerate(POINTS)}
    if suffix != "pcd":  # the one written here has a point that was not seen
        assert [len(frame) for frame in read(reader, files)] == [0, 50, 50]
    files[f"00000002.{suffix}"] = b""
    assert [len(frame) for frame in read(reader, files)][1:] == [50, 0]


def test_preview_is_upright(visit: Visit, gateway: Gateway) -> None:
    page = ready(visit, gateway)
    pick(page, "Scan")
    page.wait_for_selector("#canvas:visible")
    page.wait_for_timeout(50)
    guessed = picture(page)
    turned = {}
    for axis in ("z", "y"):
        page.get_by_label("Up axis").select_option(axis)
        page.wait_for_timeout(50)
        turned[axis] = picture(page)
    assert changed(guessed, turned["z"]) == 0, "the scan is z up, which is seen in its shape"
    assert changed(guessed, turned["y"]) > 0.005


def test_request_can_be_copied_as_a_command(
    visit: Visit, gateway: Gateway, any_model: str, tmp_path: Path
) -> None:
    page = ready(visit, gateway, permissions=["clipboard-read", "clipboard-write"])
    files = {f"f{t}.xyz": clouds.text(frame) for t, frame in enumerate(POINTS)}
    page.set_input_files("#file", [upload(name, content) for name, content in files.items()])
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    page.get_by_text("More options").click()
    page.get_by_label("Model", exact=True).select_option(any_model)
    page.get_by_label("Resolution").fill("64")
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("#copy-curl:text-is('Copied')")
    command = page.evaluate("navigator.clipboard.readText()")
    assert "Authorization" not in command
    sent = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl -s -w ' %{http_code}' ", 1)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sent.stdout.endswith(" 202"), sent.stdout
    assert '"resolution":64' in sent.stdout
    job = json.loads(sent.stdout.removesuffix(" 202"))
    gateway.client.delete(f"/jobs/{job['id']}")
