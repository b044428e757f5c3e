"""`worker` as a person calls it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner, Result

from model.meshes.archives import write_obj_zip
from model.meshes.sequence import MeshSequence
from model.meshes.upright import upright_rotation
from service.page.samples import SAMPLES
from worker.commands.cli import app
from worker.commands.reconstruct import removed_points

KNEES = SAMPLES["knees"].path


QUICK = ("--model", "bodies", "--refine", "off", "--resolution", "32")
WIDE = {"COLUMNS": "200", "NO_COLOR": "1"}  # so that no line is broken


def worker(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "worker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | WIDE)


def invoke(*arguments: str | Path) -> Result:
    """Run the command in this process, which saves the import of torch; unforeseen errors are raised."""
    return CliRunner().invoke(app, [*map(str, arguments)], env=WIDE, catch_exceptions=False)


def test_a_file_is_reconstructed_without_a_server(tmp_path: Path) -> None:
    target = tmp_path / "meshes.npz"
    done = worker("reconstruct", KNEES, target, "--resolution", "64", "--frames", "9", "--device", "cpu")
    assert done.returncode == 0, done.stderr + done.stdout
    with np.load(target, allow_pickle=False) as arrays:
        frames, vertices, _ = arrays["vertices"].shape
        assert frames == 9
        assert arrays["faces"].max() == vertices - 1
    for words in ("9 frames", f"{vertices} vertices", "fit:", "verdict: good", "register"):
        assert words in done.stdout


def test_what_was_removed_is_said() -> None:
    removed = {"not_finite": [1, 0], "duplicates": [0, 0], "floor": [7000, 800], "still": [5, 5]}
    assert removed_points(removed) == "not finite 1, floor 7,800, still 10"
    assert removed_points({}) == ""


def test_the_ending_or_the_format_decides_what_is_written(tmp_path: Path) -> None:
    glb, archive = tmp_path / "new" / "meshes.glb", tmp_path / "meshes.zip"
    assert invoke("reconstruct", KNEES, glb, *QUICK).exit_code == 0
    assert glb.read_bytes()[:4] == b"glTF"
    assert invoke("reconstruct", KNEES, archive, *QUICK, "--fps", "30").exit_code == 0
    with zipfile.ZipFile(archive) as files:
        manifest = json.loads(files.read("manifest.json"))
    assert manifest["fps"] == pytest.approx(30)
    assert manifest["frames"] == 9  # 16/60 s at 30 frames a second, both ends counted
    assert invoke("reconstruct", KNEES, archive, *QUICK, "--format", "ply").exit_code == 0
    with zipfile.ZipFile(archive) as files:
        assert "00000.ply" in files.namelist()


def test_refusals_are_one_message_and_an_exit_code(tmp_path: Path) -> None:
    target = tmp_path / "out.glb"
    few = tmp_path / "few.npz"
    np.savez(few, points=np.random.default_rng(0).random((1, 64, 3), dtype=np.float32))
    text = tmp_path / "text.npz"
    text.write_text("hello")
    cases = {
        ("too few frames", "1 frame"): (few, target),
        ("not", "npz"): (text, target),
        ("resolution", "32"): (KNEES, target, "--resolution", "7"),
        ("cats", "bodies"): (KNEES, target, "--model", "cats"),
        ("threshold",): (KNEES, target, *QUICK, "--threshold", "0.9999999"),
        ("out.fbx", ".glb"): (KNEES, tmp_path / "out.fbx"),
        ("does not exist",): (tmp_path / "none.npz", target),
        ("exclude",): (KNEES, target, "--frames", "5", "--fps", "5"),
    }
    for words, arguments in cases.items():
        refusal = invoke("reconstruct", *arguments)
        message = refusal.stdout + refusal.stderr
        assert refusal.exit_code == 2, message
        assert all(word in message for word in words), message
    done = worker("reconstruct", KNEES, target, "--model", "cats")
    assert done.returncode == 2
    assert "cats" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not target.exists()


def test_a_contact_sheet_stands_upright(tmp_path: Path) -> None:
    """By a guess from the points, or as it is told."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    tall = np.stack([ball.vertices, 0.9 * ball.vertices]) * [0.3, 1.0, 0.3]
    sheets = {}
    for name, options in {"y": [], "z": [], "told": ["--up", "y"]}.items():
        vertices = tall if name == "y" else tall @ upright_rotation("z")
        points, meshes = tmp_path / f"{name}.npz", tmp_path / f"{name}.zip"
        np.savez(points, points=vertices.astype(np.float32))
        meshes.write_bytes(write_obj_zip(MeshSequence(vertices, ball.faces, np.arange(2.0))))
        target = tmp_path / f"{name}.png"
        assert invoke("render", points, meshes, target, *options).exit_code == 0
        sheets[name] = target.read_bytes()
    assert sheets["y"] == sheets["z"] != sheets["told"]


def _model_rows() -> dict[str, str]:
    narrow = {"COLUMNS": "40"}  # of a file or a pipe: names stay whole
    done = CliRunner().invoke(app, ["models"], env=narrow, catch_exceptions=False)
    assert done.exit_code == 0
    return {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if "│" in line}


def test_the_models_that_can_be_loaded_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFLOW_CHECKPOINTS_DIR", str(tmp_path))
    rows = _model_rows()
    assert "bodies_128.pt" in rows["bodies"]
    assert "none" in rows["pointcloud/oflow"]
    assert "interpolation" in rows["interpolation/oflow"]
    pretrained = "shape_matching/oflow_pretrained"
    assert "to fetch" in rows[pretrained]
    (tmp_path / "oflow_model-cb3b57e3.pt").touch()
    assert "oflow_model-cb3b57e3.pt" in _model_rows()[pretrained]


def test_a_sample_is_written_on_demand(tmp_path: Path) -> None:
    target = tmp_path / "large.npz"
    assert invoke("data", "sample", "large", target).exit_code == 0
    with np.load(target, allow_pickle=False) as arrays:
        assert arrays["points"].shape == (17, 20_000, 3)
    refused = invoke("data", "sample", "elephant", target)
    assert refused.exit_code == 2
    assert "knees" in refused.stdout + refused.stderr


def test_serve_without_settings_says_what_is_missing() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "worker", "serve"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert "OFLOW_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr
