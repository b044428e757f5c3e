"""Interpolation: both flows blended, ends exact, and wrong combinations refused in words that help."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from typer.testing import CliRunner

from model.errors import ConfigError
from tests.worker.task_models import pushing, small, small_file
from worker.commands.cli import app
from worker.data import DataError, build_dataset
from worker.data.mesh_sequences import read_mesh
from worker.data.windows import window_of
from worker.evaluation.evaluation import Evaluation, evaluate
from worker.evaluation.generation import generate
from worker.evaluation.layout import GenerationFolder
from worker.tasks.in_betweens import in_betweens
from worker.tasks.loaded import load_model
from worker.tasks.registered import read_registered
from worker.tasks.registry import load_task

PUSH = (0.3, -0.1, 0.2)


Floats = NDArray[np.float64]


def blended(first: Floats, last: Floats, times: Floats, push: Floats) -> Floats:
    """What the velocity t · push does: forward push t² / 2, backward push (1 - t²) / 2."""
    t = times[:, None, None]
    return (1 - t) * (first + push * t**2 / 2) + t * (last - push * (1 - t**2) / 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three registered meshes with a hole, two metres wide, far from the origin, in the order 2, 10, 11."""
    ball = trimesh.creation.icosphere(2)
    place = tmp_path / "meshes"
    place.mkdir()
    for number, (size, moved) in {2: (1.0, 0.0), 10: (1.2, 0.5), 11: (0.9, 0.7)}.items():
        mesh = trimesh.Trimesh(ball.vertices * size + [100 + moved, 5, 0], ball.faces[3:], process=False)
        mesh.export(place / f"frame{number}.obj")
    return place


def test_items_of_a_data_set_are_blended_between_their_end_meshes(tmp_path: Path) -> None:
    config = small("interpolation/oflow", data={"dataset": "bodies", "input_pointcloud_n": 50})
    item = build_dataset(config, "test")[0]
    output = load_task(config, pushing(config, tmp_path, PUSH, later=True))(item)
    first, last = item["mesh.vertices"]
    vertices = np.stack(output.vertices)
    assert vertices.shape == (30, *first.shape)
    assert np.array_equal(vertices[0], first)
    assert np.array_equal(vertices[-1], last)
    wanted = blended(first, last, np.linspace(0, 1, 30), np.array(PUSH))
    assert np.abs(vertices - wanted).max() < 3e-4, "what the solver is held to"
    assert np.abs(wanted[15] - (first + last) / 2).max() > 0.02, "the flow is seen"
    assert output.animation is not None
    assert set(output.seconds) == {f"time ({stage})" for stage in STAGES}


STAGES = ("encode inputs", "forward propagation", "backward propagation")


def test_between_meshes_of_any_unit_and_place(folder: Path, tmp_path: Path) -> None:
    config, given = small("interpolation/oflow"), read_registered(folder)
    assert [file.name for file in given.files] == ["frame2.obj", "frame10.obj", "frame11.obj"]
    told: list[int] = []
    model = load_model(config, pushing(config, tmp_path, PUSH, later=True))
    made = in_betweens(model, given, 3, lambda: told.append(1))
    assert made.vertices.shape[0] == 9
    assert np.array_equal(made.vertices[[0, 4, 8]], given.vertices), "the given ones to the bit"
    times = np.array([0.25, 0.5, 0.75])
    for pair in range(2):
        first, last = given.vertices[pair : pair + 2]
        side = (first.max(axis=0) - first.min(axis=0)).max()
        assert made.sides[pair] == pytest.approx(side)
        wanted = blended(first, last, times, side * np.array(PUSH))
        assert np.abs(made.vertices[4 * pair + 1 : 4 * pair + 4] - wanted).max() < 1e-4
        missed = np.linalg.norm(first + side * np.array(PUSH) / 2 - last, axis=1).mean()
        assert made.misses[pair] == pytest.approx(missed, rel=1e-3)
    assert len(told) == 2


def test_the_command_leaves_an_animation_and_meshes(folder: Path, tmp_path: Path) -> None:
    config = small("interpolation/oflow")
    checkpoint = pushing(config, tmp_path, PUSH, later=True)
    arguments = ["interpolate", small_file("interpolation/oflow", tmp_path), "--meshes", str(folder)]
    arguments += ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--device", "cpu"]
    longer = CliRunner().invoke(app, [*arguments, "--steps", "99"])
    assert longer.exit_code == 0, longer.output
    glb = (tmp_path / "out" / "interpolation.glb").read_bytes()
    scene = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert scene["skins"], "201 frames are carried by bones"
    done = CliRunner().invoke(app, [*arguments, "--steps", "4", "--fps", "10"])
    assert done.exit_code == 0, done.output
    assert "3 given meshes, 4 between each two: 11 frames" in done.output
    assert "of its longest side" in done.output
    frames = sorted((tmp_path / "out" / "meshes").glob("*.ply"))
    assert [file.name for file in frames] == [f"{number:05d}.ply" for number in range(11)], "none of before"
    given = read_registered(folder)
    for index, vertices in zip((0, 5, 10), given.vertices, strict=True):
        mesh = read_mesh(frames[index])
        assert np.abs(mesh.vertices - vertices).max() < 1e-6
        assert np.array_equal(mesh.faces, given.faces)
    glb = (tmp_path / "out" / "interpolation.glb").read_bytes()
    scene = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert len(scene["meshes"][0]["primitives"][0]["targets"]) == 10
    assert scene["asset"]["extras"]["fps"] == pytest.approx(10)
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert record["given"] == {"frame2.obj": 0, "frame10.obj": 5, "frame11.obj": 10}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("pointcloud/oflow", "worker reconstruct --model pointcloud/oflow"),
        ("img/oflow", "use interpolation/oflow"),
        ("shape_matching/oflow", "points do not correspond; use interpolation/oflow"),
        ("pointcloud/psgn4d", "not made for interpolation"),
    ],
)
def test_models_for_something_else_are_refused(config: str, says: str, folder: Path) -> None:
    refused = CliRunner().invoke(app, ["interpolate", config, "--meshes", str(folder)])
    assert refused.exit_code == 2
    assert says in refused.output


def test_a_config_that_asks_its_model_for_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="not made for interpolation"):
        load_task(small("interpolation/oflow", data={"input_type": "pcl_seq"}))
    with pytest.raises(ConfigError, match="both true"):
        load_task(small("interpolation/oflow", generation={"correspondence": True}))


def test_meshes_that_do_not_register_are_refused_before_any_work(folder: Path) -> None:
    arguments = ["interpolate", "interpolation/oflow", "--meshes", str(folder), "--checkpoint", "absent.pt"]
    first = read_mesh(folder / "frame2.obj")
    turned = trimesh.Trimesh(first.vertices, np.roll(first.faces, 1, axis=1), process=False)
    turned.export(folder / "frame11.obj")
    assert "no checkpoint absent.pt" in CliRunner().invoke(app, arguments).output, "these register"
    trimesh.Trimesh(first.vertices, first.faces[::-1], process=False).export(folder / "frame11.obj")
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "not the same as the 317 of frame2.obj" in refused.output
    assert "worker match" in refused.output
    trimesh.creation.icosphere(1).export(folder / "frame11.obj")
    assert "frame11.obj has 42 vertices and frame2.obj 162" in CliRunner().invoke(app, arguments).output
    for name in ("frame10.obj", "frame11.obj"):
        (folder / name).unlink()
    assert "holds one mesh, frame2.obj" in CliRunner().invoke(app, arguments).output
    (folder / "frame2.obj").unlink()
    assert "no meshes in or below" in CliRunner().invoke(app, arguments).output


def test_a_data_set_on_disk_from_end_meshes_to_scores(humans: Path, tmp_path: Path) -> None:
    data = {"path": str(humans), "offset_sequence": 0, "length_sequence": 6, "input_pointcloud_n": 50}
    config = small("interpolation/oflow", data=data, generation={"n_time_steps": 6, "copy_input": True})
    task = load_task(config, pushing(config, tmp_path, PUSH, later=True))
    dataset, folder = build_dataset(config, "test"), GenerationFolder(tmp_path / "out")
    done = generate(task, dataset, [0], folder)
    assert done.made == 1
    window = window_of(dataset, 0)
    assert len(folder.read_meshes(window)) == 6
    assert len(list(folder.inputs(window).glob("*.ply"))) == 2
    (scored,) = evaluate(Evaluation(config, folder, samples=500), [0], workers=1)
    ends, middle = (scored.row[f"l2 {frame} (mesh)"] for frame in (0, 3))
    assert middle > ends + 0.02, "the wrong flow shows between the ends"
    (inputs,) = evaluate(Evaluation(config, folder, of_inputs=True), [0], workers=1)
    assert [key for key in inputs.row if key.startswith("accuracy ")][:2] == [
        "accuracy 0 (pcl)",
        "accuracy 1 (pcl)",
    ]


def test_a_data_set_without_meshes_is_told_where_they_come_from(humans: Path, tmp_path: Path) -> None:
    for meshes in humans.glob("*/*/mesh_seq"):
        shutil.rmtree(meshes)
    file = small_file(
        "interpolation/oflow",
        tmp_path,
        data={"path": str(humans), "offset_sequence": 0, "length_sequence": 6, "input_pointcloud_n": 50},
    )
    checkpoint = pushing(small("interpolation/oflow"), tmp_path, PUSH, later=True)
    arguments = ["generate", file, "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert refused.exit_code == 2
    assert "there is no folder" in refused.output
    assert "mesh_seq" in refused.output
    assert "worker data bodies --meshes" in refused.output


def test_a_folder_of_several_sequences_is_not_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        trimesh.creation.icosphere(1).export(tmp_path / name / "0.ply")
    with pytest.raises(DataError, match="holds 2 sequences"):
        read_registered(tmp_path)
