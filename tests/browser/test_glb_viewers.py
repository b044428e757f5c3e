"""GLB files checked with the Khronos validator, and rendered by three.js and model-viewer in a browser."""

import functools
import http.server
import io
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from model.meshes.colors import correspondence_colors
from model.meshes.glb import Animation, write_glb
from model.meshes.sequence import Findings, MeshSequence
from model.meshes.textures import bake
from tests.node import installed_packages

Validate = Callable[[bytes], dict[str, Any]]  # GLB → report
Play = Callable[..., Page]

HERE = Path(__file__).parent


def worm(
    frames: int = 9,
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
    start: float = 0.0,
    colored: bool = True,
    scale: float = 1.0,
) -> MeshSequence:
    """A long ellipsoid that bends and moves along x."""
    sphere = trimesh.creation.icosphere(subdivisions=4)
    rest = sphere.vertices * [0.3, 1.3, 0.3]
    times = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
    bend = 0.3 * np.sin(3 * rest[:, 1] + 2 * np.pi * times[:, None]) + times[:, None]  # [T, V]
    vertices = np.repeat(rest[None], frames, axis=0)
    vertices[:, :, 0] += bend
    colors = correspondence_colors(rest) if colored else None
    return MeshSequence(scale * vertices + offset, sphere.faces, times + start, colors)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    return installed_packages(HERE)


@pytest.fixture
def validate(node_modules: Path, tmp_path: Path) -> Validate:
    def run(glb: bytes) -> dict[str, Any]:
        path = tmp_path / "clip.glb"
        path.write_bytes(glb)
        command = ["node", "validate.mjs", str(path)]
        return json.loads(subprocess.run(command, cwd=HERE, check=True, capture_output=True).stdout)[0]

    return run


@pytest.mark.parametrize("normals", [True, False])
@pytest.mark.parametrize("colored", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        {"frames": 17},
        {"frames": 1},
        {"frames": 2, "offset": (5e5, -4e6, 120.0), "start": 1.7e9},
        {"frames": 200, "scale": 1e-6},
    ],
    ids=["usual", "still", "far", "longest"],
)
def test_validator_reports_no_issues(
    validate: Validate, shape: dict[str, Any], normals: bool, colored: bool
) -> None:
    meshes = worm(**shape, colored=colored)
    confidence = np.linspace(0, 1, meshes.vertices.shape[1], dtype=np.float32)
    meshes.findings = Findings("good", [], [], {}, {}, confidence)
    report = validate(write_glb(meshes, normals))
    assert report["issues"]["messages"] == []
    assert report["info"]["animationCount"] == (shape["frames"] > 1)
    assert report["info"]["totalVertexCount"] == worm().vertices.shape[1]


@pytest.mark.parametrize("colored", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"compress": True},
        {"animation": "skin"},
        {"animation": "skin", "compress": True},
        {"animation": "skin", "compress": True, "normals": False},
    ],
    ids=["quantized", "skin", "quantized skin", "quantized skin without normals"],
)
def test_validator_accepts_quantized_and_skinned_files(
    validate: Validate, options: dict[str, Any], colored: bool
) -> None:
    meshes = worm(frames=9, colored=colored, offset=(3.0, 0.0, 0.0))
    meshes.findings = Findings(
        "good", [], [], {}, {}, np.linspace(0, 1, meshes.vertices.shape[1], dtype=np.float32)
    )
    meshes.up = "z"
    report = validate(write_glb(meshes, **options))
    assert report["issues"]["messages"] == []
    assert report["info"]["animationCount"] == 1


def test_validator_accepts_missing_normals_and_large_meshes(validate: Validate) -> None:
    """Degenerate faces have no normal, and more than 65,535 vertices need 32-bit indices."""
    sphere = trimesh.creation.icosphere(subdivisions=7)
    crushed = np.stack([sphere.vertices, 0 * sphere.vertices])
    assert crushed.shape[1] > 65535
    report = validate(MeshSequence(crushed, sphere.faces, np.array([0.0, 1.0])).to_glb())
    assert report["issues"]["messages"] == []


@pytest.fixture
def play(browser: Browser, node_modules: Path) -> Iterator[Play]:
    """Open a GLB in player.html, which provides `player.positions(seconds)` and `player.pose(seconds)`."""
    clip: dict[str, bytes] = {}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/clip.glb":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "model/gltf-binary")
            self.end_headers()
            self.wfile.write(clip["glb"])
            return None

        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=HERE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 640, "height": 480})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)

        def open_clip(glb: bytes, viewer: str = "player.html") -> Page:
            clip["glb"] = glb
            page.goto(f"http://127.0.0.1:{server.server_port}/{viewer}")
            page.wait_for_function("window.player", timeout=60_000)
            return page

        yield open_clip
        page.close()
        server.shutdown()
    assert errors == []


@pytest.mark.parametrize("offset", [(0.0, 0.0, 0.0), (5e5, -4e6, 120.0)], ids=["origin", "far"])
def test_three_js_interpolates_between_frames(play: Play, offset: tuple[float, float, float]) -> None:
    meshes = worm(offset=offset, start=3.0)
    page = play(meshes.to_glb())
    assert page.evaluate("player.channels") == [[["sequence.morphTargetInfluences", 9]]]
    assert page.evaluate("player.duration") == pytest.approx(1.0)
    for frame in (0, 4, 7):
        found = page.evaluate("t => player.positions(t)", frame / 8)
        np.testing.assert_allclose(found, meshes.vertices[frame], atol=1e-6, rtol=1e-15)
    between = page.evaluate("t => player.positions(t)", (4 + 0.25) / 8)
    expected = 0.75 * meshes.vertices[4] + 0.25 * meshes.vertices[5]
    np.testing.assert_allclose(between, expected, atol=1e-6, rtol=1e-15)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("animation", ["morph", "skin"])
def test_three_js_plays_what_the_file_states(play: Play, animation: Animation, compress: bool) -> None:
    meshes = worm(offset=(3.0, 0.0, 0.0))
    meshes.up = "-z"
    page = play(write_glb(meshes, animation=animation, compress=compress))
    extras = page.evaluate("player.extras")
    error = extras.get("skin", {"mean_error": 1e-6, "max_error": 1e-6})
    rounding = 2 * extras.get("quantization_step", 0) + 1e-5
    for frame in (0, 4, 7):
        found = np.array(page.evaluate("t => player.positions(t)", frame / 8))
        x, y, z = meshes.vertices[frame].T
        distance = np.linalg.norm(found - np.stack([x, -z, y], axis=1), axis=1)
        assert distance.max() <= error["max_error"] + rounding


@pytest.mark.parametrize("animation", ["morph", "skin"])
def test_model_viewer_plays_the_clip(play: Play, animation: Animation) -> None:
    page = play(write_glb(worm(), animation=animation), viewer="model-viewer.html")
    assert page.evaluate("player.animations") == ["flow"]
    assert page.evaluate("player.duration") == pytest.approx(1.0)
    shots = []
    for seconds in (0.0, 0.5):
        page.evaluate("t => player.pose(t)", seconds)
        page.wait_for_timeout(300)
        shots.append(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int))
    drawn = np.abs(shots[0] - shots[0][0, 0]).max(axis=2) > 30  # [H, W]
    assert 0.02 < drawn.mean() < 0.6
    assert (np.abs(shots[1] - shots[0]).max(axis=2) > 30).mean() > 0.02


def test_three_js_renders_colors_and_motion(play: Play, tmp_path: Path) -> None:
    page = play(worm().to_glb())
    shots = []
    for seconds in (0.0, 0.5):
        page.evaluate("t => player.pose(t)", seconds)
        picture = Image.open(io.BytesIO(page.screenshot(path=tmp_path / f"{seconds}.png"))).convert("RGB")
        shots.append(np.asarray(picture).astype(int))  # [H, W, 3]
    background = shots[0][0, 0]
    for shot in shots:
        drawn = np.abs(shot - background).max(axis=2) > 30  # [H, W]
        assert 0.03 < drawn.mean() < 0.5
        hues = shot[drawn] - shot[drawn].mean(axis=1, keepdims=True)
        assert hues.std(axis=0).min() > 15
    assert (np.abs(shots[1] - shots[0]).max(axis=2) > 30).mean() > 0.03


@pytest.mark.parametrize("viewer", ["player.html", "model-viewer.html"])
def test_a_texture_is_shown_the_right_way_up(play: Play, viewer: str) -> None:
    """The upper half of a ball is red and the lower one blue; a flipped or shifted texture mixes them."""
    ball = trimesh.creation.icosphere(subdivisions=3)

    def color(corners: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.uint8]:
        up = np.einsum("pkx,pk->px", ball.vertices[corners], weights)[:, 1] > 0
        return np.where(up[:, None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)

    texture = bake(ball.vertices, ball.faces, 256, color)
    moving = np.stack([ball.vertices, ball.vertices + np.array([0.3, 0, 0])])
    page = play(write_glb(MeshSequence(moving, ball.faces, np.array([0.0, 1.0]), texture=texture)), viewer)
    page.evaluate("player.pose(0.5)")
    page.wait_for_timeout(300)
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)  # [H, W, 3]
    red, blue = (shot[..., one] - shot[..., other] > 60 for one, other in ((0, 2), (2, 0)))
    assert min(red.mean(), blue.mean()) > 0.02
    rows = np.arange(len(shot))[:, None]
    # The camera looks down a little, so that the border between the halves is an ellipse.
    assert (rows * red).sum() / red.sum() < (rows * blue).sum() / blue.sum() - 40
    columns = (red | blue).any(axis=0)
    assert not (red[:, columns].argmax(axis=0) > blue[:, columns].argmax(axis=0))[5:-5].any()
