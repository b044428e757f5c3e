"""Data sets made here: labels as by brute force, particles that stay, files that are read again."""

import json
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import typer
from numpy.typing import NDArray
from rich.console import Console
from typer.testing import CliRunner, Result

from model import load_config
from model.config.schema import Config
from worker.bodies import animate, load_rig
from worker.commands.data_creation import bodies, build
from worker.data import build_dataset
from worker.data.body_sequences import BodySequence, split_bodies
from worker.data.dataset import Split
from worker.data.errors import DataError
from worker.data.frame_writer import Sampling, write_frames
from worker.data.mesh_sequences import find_mesh_sequences
from worker.data.sequence_writer import write_sequences

RIG = load_rig()
POINTS = 400

app = typer.Typer()
app.command()(bodies)
app.command()(build)


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_meshes(
    folder: Path, frames: Iterable[NDArray[Any]], faces: NDArray[Any], ending: str = "obj"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, vertices in enumerate(frames):
        trimesh.Trimesh(vertices, faces, process=False).export(folder / f"{number:05d}.{ending}")


def moving_body(frames: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(3)
    return animate(RIG, RIG.draw_body(rng), "punching", rng, frames)


def build_here(source: Path, target: Path) -> None:
    (sequence,) = find_mesh_sequences([source])
    write_frames(sequence, target, range(2), Sampling(points=10, seed=0, meshes=False))


def load(folder: Path, number: int) -> dict[str, NDArray[Any]]:
    with np.load(folder / f"{number:08d}.npz") as file:
        return {key: file[key] for key in file.files}


def solid_angle_winding(vertices: NDArray[Any], faces: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """Winding number [P] by the sum of the solid angles of all faces."""
    total = np.zeros(len(points))
    for rows in np.array_split(np.arange(len(points)), max(1, len(points) // 50)):
        a, b, c = np.moveaxis(vertices[faces][None] - points[rows, None, None], 2, 0)
        la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
        below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
        total[rows] = 2 * np.arctan2((a * np.cross(b, c)).sum(-1), below).sum(-1) / (4 * np.pi)
    return total.round().astype(int)


def config(root: Path, category: str, **data: Any) -> Config:
    values = {"path": str(root), "classes": [category], "offset_sequence": 0, "length_sequence": 3, **data}
    sizes = {"n_training_points": 50, "n_training_pcl_points": 20, "input_pointcloud_n": 30}
    return load_config("pointcloud/oflow_w_correspond", {"data": values | sizes})


def test_a_sequence_of_bodies_builds_to_a_data_set(tmp_path: Path) -> None:
    frames = moving_body()
    write_meshes(tmp_path / "meshes" / "50002" / "punching", frames, RIG.faces)
    result = run("build", tmp_path / "meshes", tmp_path / "data", "--points", POINTS, "--workers", 1)
    assert result.exit_code == 0, result.output
    sequence = tmp_path / "data" / "D-FAUST" / "50002_punching"
    assert sorted(file.name for file in (sequence / "pcl_seq").iterdir()) == [
        "00000000.npz", "00000001.npz", "00000002.npz",
    ]  # fmt: skip
    for number, vertices in enumerate(frames):
        file = load(sequence / "points_seq", number)
        assert {key: (str(array.dtype), array.shape) for key, array in file.items()} == {
            "points": ("float16", (POINTS, 3)),
            "occupancies": ("uint8", (POINTS // 8,)),
            "loc": ("float16", (3,)),
            "scale": ("float64", ()),
        }
        points = file["points"].astype(np.float64)
        assert np.abs(points).max() <= 0.55
        assert np.abs(points).max() > 0.5
        boxed = (vertices - file["loc"].astype(np.float64)) / file["scale"]
        assert np.ptp(boxed, axis=0).max() == pytest.approx(1, abs=1e-6)
        labels = np.unpackbits(file["occupancies"])
        np.testing.assert_array_equal(labels, solid_angle_winding(boxed, RIG.faces, points) > 0)

    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        dataset = build_dataset(config(tmp_path / "data", "D-FAUST"), split)
        assert len(dataset) == 1
        assert dataset[0]["inputs"].shape == (3, 30, 3)
        assert set(np.unique(dataset[0]["points.occ"])) <= {0, 1}


def test_occupied_points_are_found(tmp_path: Path) -> None:
    """A ball fills π/6 of its box, and the box has a volume of 1.1³."""
    ball = trimesh.creation.icosphere(4, radius=3.0)
    write_meshes(tmp_path / "ball", [ball.vertices], ball.faces, "off")
    assert (
        run("build", tmp_path / "ball", tmp_path / "out", "--points", 20_000, "--workers", 1).exit_code == 0
    )
    file = load(tmp_path / "out" / "D-FAUST" / "ball" / "points_seq", 0)
    share = np.unpackbits(file["occupancies"], count=20_000).mean()
    assert share == pytest.approx(np.pi / 6 / 1.1**3, abs=0.012)


def test_particles_follow_the_mesh(tmp_path: Path) -> None:
    """Row j is one particle: where the mesh is moved by an affine map, so is every row."""
    ball = trimesh.creation.icosphere(3)
    turn = np.array([[0.8, -0.6, 0.1], [0.6, 0.8, 0.0], [0.0, 0.2, 1.3]])
    write_meshes(tmp_path / "ball", [ball.vertices, ball.vertices @ turn.T + 2], ball.faces, "ply")
    (sequence,) = find_mesh_sequences([tmp_path / "ball"])
    write_frames(sequence, tmp_path / "out", range(2), Sampling(points=500, seed=1, meshes=True))
    worlds = []
    for number in range(2):
        file = load(tmp_path / "out" / "pcl_seq", number)
        worlds.append(file["points"].astype(float) * file["scale"] + file["loc"].astype(float))
    assert np.linalg.norm(worlds[0], axis=1) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(worlds[0] @ turn.T + 2, worlds[1], atol=4e-3)  # float16
    assert np.linalg.norm(worlds[0].mean(0)) < 0.15, "all over the surface"
    copy = trimesh.load_mesh(tmp_path / "out" / "mesh_seq" / "00001.obj", process=False)
    np.testing.assert_allclose(copy.vertices, ball.vertices @ turn.T + 2, atol=1e-6)
    np.testing.assert_array_equal(copy.faces, ball.faces)


@pytest.mark.parametrize(("unit", "stored"), [(1.0, "float16"), (1000.0, "float16"), (1e5, "float32")])
def test_boxes_stay_centred_in_any_unit_and_place(tmp_path: Path, unit: float, stored: str) -> None:
    ball = trimesh.creation.icosphere(3)
    write_meshes(tmp_path / "ball", [unit * (ball.vertices + np.array([0.3, 1.0, -2.0]))], ball.faces)
    (sequence,) = find_mesh_sequences([tmp_path / "ball"])
    write_frames(sequence, tmp_path / "out", range(1), Sampling(points=3000, seed=1, meshes=False))
    file = load(tmp_path / "out" / "pcl_seq", 0)
    assert str(file["loc"].dtype) == stored
    points = file["points"].astype(float)
    assert np.abs(points).max() == pytest.approx(0.5, abs=0.01)
    middle = file["loc"].astype(float) + file["scale"] * (points.min(0) + points.max(0)) / 2
    np.testing.assert_allclose(middle / unit, [0.3, 1.0, -2.0], atol=0.02)


def test_faces_turned_inwards_are_turned_back(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(2)
    write_meshes(tmp_path / "ball", [ball.vertices], ball.faces[:, ::-1])
    (sequence,) = find_mesh_sequences([tmp_path / "ball"])
    write_frames(sequence, tmp_path / "out", range(1), Sampling(points=800, seed=1, meshes=False))
    assert np.unpackbits(load(tmp_path / "out" / "points_seq", 0)["occupancies"]).mean() > 0.3


def test_what_cannot_be_built_is_named(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(1)
    write_meshes(tmp_path / "open", [ball.vertices] * 2, ball.faces[1:])
    write_meshes(tmp_path / "mixed", [ball.vertices], ball.faces)
    other = trimesh.creation.icosphere(2)
    other.export(tmp_path / "mixed" / "00001.obj")
    flipped = ball.faces.copy()
    flipped[0] = flipped[0, ::-1]
    write_meshes(tmp_path / "flipped", [ball.vertices], flipped)
    write_meshes(tmp_path / "damaged", [ball.vertices], ball.faces)
    (tmp_path / "damaged" / "00001.obj").write_text("nothing here\n")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "open": r"open/00000.obj is not closed: 3 of 120 edges do not join exactly two faces",
        "mixed": r"mixed/00001.obj has 320 faces, not the same as the 80 of .*mixed/00000.obj",
        "flipped": r"flipped/00000.obj: neighbouring faces are turned against each other",
        "damaged": r"damaged/00001.obj (cannot be read|holds no triangles)",
        "empty": r"no meshes in or below .*empty",
        "absent": r"there is no folder .*absent",
    }.items():
        with pytest.raises(DataError, match=message):
            build_here(tmp_path / name, tmp_path / "out" / name)

    result = run("build", tmp_path / "open", tmp_path / "data", "--workers", 1, "--points", 10)
    assert result.exit_code == 2
    assert "is not closed" in " ".join(result.output.split())
    assert not (tmp_path / "data" / "D-FAUST" / "open").exists(), "half a sequence has no name"


def test_sequences_are_named_by_their_paths_and_frames_by_their_numbers(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(0)
    for place in ("50002/knees", "50004_hips", "50007/punching/mesh_seq"):
        write_meshes(tmp_path / "tree" / place, [ball.vertices], ball.faces)
    assert [s.name for s in find_mesh_sequences([tmp_path / "tree"])] == [
        "50002_knees", "50004_hips", "50007_punching",
    ]  # fmt: skip
    folder = tmp_path / "tree" / "50002" / "knees"
    for number in (10, 9, 100):
        shutil.copy(folder / "00000.obj", folder / f"frame{number}.obj")
    (folder / "00000.obj").unlink()
    (sequence,) = find_mesh_sequences([folder])
    assert [file.name for file in sequence.files] == ["frame9.obj", "frame10.obj", "frame100.obj"]
    assert sequence.numbers == (9, 10, 100)
    shutil.copytree(tmp_path / "tree" / "50004_hips", tmp_path / "again" / "50004" / "hips")
    with pytest.raises(DataError, match="two folders give a sequence the name 50004_hips"):
        find_mesh_sequences([tmp_path / "tree", tmp_path / "again"])


def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    return {
        str(file.relative_to(folder)): {key: array.tobytes() for key, array in np.load(file).items()}
        for file in sorted(folder.rglob("*.npz"))
    }


def test_bodies_on_disk_are_complete_resumable_and_the_same_for_any_number_of_processes(
    tmp_path: Path,
) -> None:
    sizes = ("--people", 1, "--new-people", 1, "--frames", 4, "--points", 64)
    result = run("bodies", tmp_path / "one", *sizes, "--workers", 1)
    assert result.exit_code == 0, result.output
    one = tmp_path / "one" / "bodies"
    lists = {file.stem: file.read_text().split() for file in one.glob("*.lst")}
    assert {name: len(names) for name, names in lists.items()} == {
        "train": 8, "val": 1, "test": 1, "test_new_individual": 10,
    }  # fmt: skip
    assert len({name for names in lists.values() for name in names}) == 20
    written = contents(one)
    assert len(written) == 20 * 4 * 2
    recipe = json.loads((one / "recipe.json").read_text())
    assert (recipe["seed"], recipe["people"], recipe["points"]) == (0, 1, 64)
    assert (one / "contact_sheet.png").stat().st_size > 10_000
    dataset = build_dataset(config(tmp_path / "one", "bodies", train_split="train"), "train")
    assert len(dataset) == 8 * 2
    assert dataset.sample((0, 1))["pointcloud"].shape == (3, 20, 3)

    # Interrupted in the middle of one sequence, before another, and taken up by two processes.
    first, second = lists["train"][:2]
    (one / first).rename(one / f".{first}.part")
    (one / f".{first}.part" / "pcl_seq" / "00000002.npz").unlink()
    shutil.rmtree(one / second)
    assert run("bodies", tmp_path / "one", *sizes, "--workers", 2).exit_code == 0
    assert contents(one) == written

    other = run("bodies", tmp_path / "one", *sizes, "--seed", 5)
    assert other.exit_code == 2
    assert "says seed 0, and now it is 5" in " ".join(other.output.split())


def test_splits_hold_motions_and_people_apart() -> None:
    splits = split_bodies(people=5, new_people=2, frames=2, seed=0, variety=1.0, turn=0.0)
    names = {split: {sequence.name for sequence in sequences} for split, sequences in splits.items()}
    assert sum(map(len, names.values())) == len(set().union(*names.values())) == 70
    people = {split: {sequence.person for sequence in sequences} for split, sequences in splits.items()}
    assert people["train"] == people["val"] == people["test"] == set(range(5))
    assert people["test_new_individual"] == {5, 6}
    assert all(sequence.held_out for sequence in splits["test_new_individual"])
    assert not any(sequence.held_out for sequence in splits["train"])
    assert len({sequence.action for sequence in splits["test"]}) == 5, "not the same action of all people"
    of_4 = {s.action: s for s in splits["train"] if s.person == 4}
    stranger = next(s for s in splits["train"] if s.person == 1)
    assert edge_difference(of_4["knees"], of_4["punching"]) < 5e-4, "one person, in both of their motions"
    assert edge_difference(of_4["knees"], stranger) > 1e-3


def edge_difference(one: BodySequence, other: BodySequence) -> float:
    """Median difference in length of the edges of two bodies, metres; bending changes few of them much."""
    lengths = [
        np.linalg.norm(np.diff(sequence.vertices(0)[RIG.faces[:, :2]], axis=1), axis=2)
        for sequence in (one, other)
    ]
    return float(np.median(np.abs(lengths[0] - lengths[1])))


class Killed:
    """A mesh whose reading kills the process, as the kernel does where memory runs out."""

    name, numbers = "killed", (0,)
    faces = np.zeros((1, 3), dtype=np.int32)
    all_vertices = np.zeros((1, 3, 3))

    def vertices(self, index: int) -> NDArray[Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it lives")


def test_a_killed_process_is_told_and_leaves_no_sequence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one of 1 processes was killed, most likely for lack of memory"):
        write_sequences([Killed()], tmp_path, Sampling(10, 0, False), 1, Console(quiet=True))
    assert not (tmp_path / "killed").exists()


def test_a_disk_that_is_too_small_is_told_at_once(tmp_path: Path) -> None:
    sequences = split_bodies(people=1, new_people=0, frames=2, seed=0, variety=1.0, turn=0.0)["val"]
    told = r"GB free; 2 frames of 1000000000000 points and 0 images need 24250\.0 GB"
    with pytest.raises(DataError, match=told):
        write_sequences(sequences, tmp_path, Sampling(10**12, 0, False), 1, Console(quiet=True))
