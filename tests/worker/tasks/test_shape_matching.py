"""Shape matching: a shape carried onto another, partners, their colours, errors where truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner

from tests.worker.task_models import pushing, small, small_file
from worker.commands.cli import app
from worker.data import DataError, build_dataset
from worker.data.windows import window_of
from worker.evaluation.evaluation import Evaluation, evaluate
from worker.evaluation.generation import generate
from worker.evaluation.layout import GenerationFolder
from worker.tasks.loaded import LoadedModel, load_model
from worker.tasks.matching import doubt, match, write_match
from worker.tasks.registry import load_task
from worker.tasks.shapes import Shape, read_shape

PUSH = (0.2, 0.1, -0.1)
SIDE, PLACE = 3.0, np.array([50.0, 2.0, -7.0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Carries everything by PUSH, in sides of A's box."""
    config = small("shape_matching/oflow")
    return load_model(config, pushing(config, tmp_path_factory.mktemp("model"), PUSH, later=False))


@pytest.fixture
def box() -> trimesh.Trimesh:
    """An uneven body of three metres, far from the origin."""
    mesh = trimesh.creation.icosphere(2)
    mesh.vertices *= [SIDE / 2, SIDE / 3, SIDE / 4]
    mesh.vertices += PLACE
    return mesh


def written(mesh: trimesh.Trimesh, file: Path) -> Shape:
    mesh.export(file)
    return read_shape(file)


def pushed(mesh: trimesh.Trimesh) -> np.ndarray:
    side = np.ptp(np.asarray(mesh.vertices), axis=0).max()
    return np.asarray(mesh.vertices) + side * np.array(PUSH)


def vertex_colors(glb: Path) -> np.ndarray:
    """COLOR_0 [V, 4] of the only mesh of a file."""
    content = glb.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    scene = json.loads(content[20 : 20 + length])
    accessor = scene["accessors"][scene["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = 28 + length + scene["bufferViews"][accessor["bufferView"]]["byteOffset"]
    return np.frombuffer(content, np.uint8, 4 * accessor["count"], start).reshape(-1, 4)


def test_partners_are_found_whatever_the_order(
    model: LoadedModel, box: trimesh.Trimesh, tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(len(box.vertices))
    place = np.argsort(order)  # vertex i of A is vertex place[i] of B
    other = trimesh.Trimesh(pushed(box)[order], place[box.faces], process=False)
    a, b = written(box, tmp_path / "a.ply"), written(other, tmp_path / "b.obj")
    found = match(model, a, b)
    assert np.array_equal(found.partner, place)
    assert np.abs(found.carried - pushed(box)).max() < 1e-4 * SIDE
    assert found.distance.max() < 1e-4 * SIDE
    assert np.array_equal(found.path[0], a.points)
    assert found.errors is None, "their faces differ, so nobody knows"

    write_match(found, a, b, tmp_path / "out")
    colors = [vertex_colors(tmp_path / "out" / f"{name}.glb") for name in "ab"]
    assert np.array_equal(colors[0], colors[1][place]), "partners have the same colour"
    assert len(np.unique(colors[0], axis=0)) > 50


def test_the_error_is_that_from_the_true_partners(
    model: LoadedModel, box: trimesh.Trimesh, tmp_path: Path
) -> None:
    off = np.array([0.0, 0.01, 0.0]) * SIDE  # less than from vertex to vertex
    other = trimesh.Trimesh(pushed(box) + off, box.faces, process=False)
    a, b = written(box, tmp_path / "a.ply"), written(other, tmp_path / "b.ply")
    found = match(model, a, b)
    assert found.errors is not None
    assert found.errors.carried == pytest.approx(0.01 * SIDE, rel=1e-2)
    assert found.errors.matched == 0
    closest = np.linalg.norm(a.points[:, None] - b.points, axis=2).argmin(axis=1)
    assert found.errors.unmoved == pytest.approx(np.linalg.norm(b.points[closest] - b.points, axis=1).mean())
    assert found.errors.unmoved > 0.5
    assert found.side == pytest.approx(SIDE, rel=1e-2)


def test_clouds_of_different_counts_from_any_file(
    model: LoadedModel, box: trimesh.Trimesh, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "a.npz", points=np.asarray(box.vertices))
    more = np.concatenate([pushed(box), pushed(box)[:40] + rng.normal(0, 1e-3, (40, 3))])
    trimesh.PointCloud(more).export(tmp_path / "b.ply")
    a, b = read_shape(tmp_path / "a.npz"), read_shape(tmp_path / "b.ply")
    assert a.faces is None
    assert b.faces is None
    found = match(model, a, b)
    assert (np.linalg.norm(more[found.partner] - pushed(box), axis=1) < 0.01).all()
    write_match(found, a, b, tmp_path / "out")
    cloud = trimesh.load_scene(tmp_path / "out" / "a.glb").to_geometry()
    assert isinstance(cloud, trimesh.PointCloud)
    assert np.allclose(cloud.vertices, a.points, atol=1e-4)
    stored = np.load(tmp_path / "out" / "match.npz")
    assert stored.files == ["carried", "partner", "distance"]
    assert not (tmp_path / "out" / "carried.glb").exists()


def test_a_frame_of_a_data_set_is_put_where_it_was(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    np.savez(tmp_path / "f.npz", points=points.astype(np.float16), loc=np.array([5, 0, 1]), scale=2.0)
    assert np.allclose(read_shape(tmp_path / "f.npz").points, 2 * points + [5, 0, 1], atol=2e-3)


def test_the_command_says_how_good_it_is(box: trimesh.Trimesh, tmp_path: Path) -> None:
    checkpoint = pushing(small("shape_matching/oflow"), tmp_path, PUSH, later=False)
    box.export(tmp_path / "a.obj")
    trimesh.Trimesh(pushed(box), box.faces, process=False).export(tmp_path / "b.obj")
    arguments = ["match", small_file("shape_matching/oflow", tmp_path), str(tmp_path / "a.obj")]
    arguments += [str(tmp_path / "b.obj"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "162 points of a.obj carried onto b.obj" in done.output
    assert "carried vertices lie" in done.output
    assert "nearest to them lie 0 from their true partners, 0.0% of B's longest side" in done.output
    assert "without the model, lie" in done.output
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("a.glb", "b.glb", "carried.glb", "match.npz", "meshes")
    }
    assert len(list((tmp_path / "out" / "meshes").iterdir())) == 18, "17 frames and their manifest"
    assert np.load(tmp_path / "out" / "match.npz")["error"].max() < 1e-3


def test_shapes_that_lie_apart_are_doubted(box: trimesh.Trimesh, tmp_path: Path) -> None:
    a = written(box, tmp_path / "a.ply")
    moved = trimesh.Trimesh(box.vertices + np.array([0, 20, 0]), box.faces, process=False)
    assert doubt(a, a) is None
    assert "6.7 sides of a.ply's box away" in (doubt(a, written(moved, tmp_path / "b.ply")) or "")
    larger = trimesh.Trimesh((box.vertices - PLACE) * 1000 + PLACE, box.faces, process=False)
    assert "1e+03 times as large" in (doubt(a, written(larger, tmp_path / "c.ply")) or "")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("interpolation/oflow", "trained on two clouds whose points correspond; use shape_matching/oflow"),
        ("pointcloud/oflow", "worker reconstruct --model pointcloud/oflow"),
        ("pointcloud/onet4d", "not made for shape matching"),
    ],
)
def test_models_for_something_else_are_refused(
    config: str, says: str, box: trimesh.Trimesh, tmp_path: Path
) -> None:
    box.export(tmp_path / "a.ply")
    refused = CliRunner().invoke(app, ["match", config, str(tmp_path / "a.ply"), str(tmp_path / "a.ply")])
    assert refused.exit_code == 2
    assert says in refused.output


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"0 0 0", "wanted .obj, .ply, .off, .stl or .npz"),
        ("a.ply", b"ply\nnonsense", "cannot be read"),
        ("a.obj", b"", "a.obj"),
        ("a.npz", b"PK", "cannot be read as .npz"),
        ("a.off", b"OFF\n2 0 0\n0 0 0\n1 1 1\n", "a.off"),
    ],
)
def test_what_is_no_shape_is_refused_by_name(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says.replace(".", r"\.")):
        read_shape(tmp_path / name)


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 3), np.nan), np.zeros((2, 3)), np.array(["a"] * 9).reshape(3, 3)]
)
def test_arrays_that_are_no_points_are_refused(points: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=points)
    with pytest.raises(DataError, match=r"points.*\[N, 3\]"):
        read_shape(tmp_path / "a.npz")


def test_a_data_set_on_disk_from_first_meshes_to_scores(humans: Path, tmp_path: Path) -> None:
    data = {"path": str(humans), "offset_sequence": 0, "length_sequence": 6, "input_pointcloud_n": 50}
    config = small("shape_matching/oflow", data=data)
    task = load_task(config, pushing(config, tmp_path, PUSH, later=False))
    dataset, folder = build_dataset(config, "test"), GenerationFolder(tmp_path / "out")
    first = dataset[0]["mesh.vertices"][0]
    assert generate(task, dataset, [0], folder).made == 1
    (start, _), (again, _), (end, _) = folder.read_meshes(window_of(dataset, 0))  # three files, as published
    assert np.allclose(start, first, atol=1e-6)
    assert np.array_equal(start, again)
    assert np.allclose(end, first + PUSH, atol=1e-4)
    (scored,) = evaluate(Evaluation(config, folder, samples=500), [0], workers=1)
    assert [key for key in scored.row if key.startswith("l2 ")] == ["l2 0 (mesh)", "l2 1 (mesh)", "l2 (mesh)"]
    plain = small("shape_matching/oflow", data=data, test={"project_to_final_mesh": False})
    (unprojected,) = evaluate(Evaluation(plain, folder, samples=500), [0], workers=1)
    assert unprojected.row["l2 1 (mesh)"] != scored.row["l2 1 (mesh)"]
    assert (unprojected.row["l2 0 (mesh)"]) == scored.row["l2 0 (mesh)"]
