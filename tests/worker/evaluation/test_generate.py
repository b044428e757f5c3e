"""`worker generate`: the published folders, going on after a stop, and windows that give no mesh."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import trimesh
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

import worker.evaluation.generation as generation
from model import Reconstructor
from model.errors import ConfigError
from model.reconstruction.normalization import UnitBox
from tests.worker.evaluation_data import people
from worker.commands.evaluate import generate as command
from worker.commands.evaluate import score
from worker.data import DataError, build_dataset
from worker.data.windows import Windows, window_of
from worker.evaluation.generation import generate
from worker.evaluation.layout import GenerationFolder, chosen
from worker.evaluation.mesh_files import read_off, write_off, write_ply
from worker.evaluation.report import save_timings
from worker.tasks.registry import load_task
from worker.tasks.task import Task

PARITY = Path(__file__).parents[2] / "data" / "evaluator.npz"


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(people())


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor.from_config(people())


@pytest.fixture(scope="module")
def dataset() -> Windows:
    return build_dataset(people(), "test")


@pytest.fixture(scope="module")
def generated(task: Task, dataset: Windows, tmp_path_factory: pytest.TempPathFactory) -> GenerationFolder:
    folder = GenerationFolder(tmp_path_factory.mktemp("generation"))
    done = generate(task, dataset, [0, 1], folder)
    assert (done.made, done.kept, done.failed) == (2, 0, {})
    save_timings(done.timings, folder.root)
    return folder


class Damaged:
    """A data set whose item 1 cannot be reconstructed."""

    def __init__(self, dataset: Windows) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item: dict[str, Any] = dict(self.dataset[index])
        if index == 1:
            item["inputs"] = np.full_like(item["inputs"], np.nan)
        return item


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_files_lie_where_the_published_code_puts_them(generated: GenerationFolder) -> None:
    window = [f"00000_0000_{frame:04d}.off" for frame in range(1, 18)]
    assert names(generated.root / "meshes" / "bodies" / "00000" / "00000") == sorted(
        [*window, "00000_0000.glb", "generation.json"]
    )
    assert names(generated.root / "input" / "bodies" / "00001" / "00000") == [
        f"{frame:04d}.ply" for frame in range(17)
    ]
    assert {"time_generation_full.pkl", "time_generation.pkl", "time_generation.csv"} <= set(
        names(generated.root)
    )
    assert not [name for name in names(generated.root) if ".part" in name]


def test_meshes_are_those_of_the_reconstructor(
    generated: GenerationFolder, reconstructor: Reconstructor, dataset: Windows
) -> None:
    """One topology, the coordinates of the data set, the published colours, and a GLB beside."""
    window = window_of(dataset, 0)
    meshes = reconstructor(list(dataset[0]["inputs"]), refine="off", box=UnitBox(np.zeros(3), 1.0))
    read = generated.read_meshes(window)
    assert len(read) == 17
    for (vertices, faces), expected in zip(read, meshes.vertices, strict=True):
        assert np.allclose(vertices, expected, atol=1e-6)
        assert np.array_equal(faces, meshes.faces)
    last = (generated.results(window) / "00000_0000_0017.off").read_text().splitlines()
    assert last[2 + len(meshes.vertices[0])].split()[4:] == ["255", "25", "0"], "the first face is red"
    assert last[-1].split()[4:] == ["0", "25", "254"], "the last one is blue"
    glb = (generated.results(window) / "00000_0000.glb").read_bytes()
    assert glb[:4] == b"glTF"
    assert (
        len(
            json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])["meshes"][0]["primitives"][0][
                "targets"
            ]
        )
        == 16
    )


def test_a_box_may_be_given(reconstructor: Reconstructor, dataset: Windows) -> None:
    points = list(dataset[0]["inputs"])
    own = reconstructor(points, refine="off")
    boxed = reconstructor(points, refine="off", box=UnitBox.around(points[0]))
    assert np.array_equal(boxed.vertices, own.vertices)
    larger = UnitBox(np.zeros(3), 2.0)
    assert reconstructor(points, refine="off", box=larger).vertices.shape != own.vertices.shape


def vertices_of(file: Path) -> NDArray[np.float32]:
    cloud = trimesh.load(file)
    assert isinstance(cloud, trimesh.PointCloud)
    return np.asarray(cloud.vertices, np.float32)


def test_inputs_are_copied_as_point_clouds(generated: GenerationFolder, dataset: Windows) -> None:
    inputs = dataset[0]["inputs"]
    for frame in (0, 16):
        cloud = vertices_of(generated.inputs(window_of(dataset, 0)) / f"{frame:04d}.ply")
        assert np.array_equal(cloud, inputs[frame])


def test_timings_are_a_table_a_window_and_its_means(generated: GenerationFolder) -> None:
    full = pd.read_pickle(generated.root / "time_generation_full.pkl")
    assert full.index.name == "idx"
    assert full.index.tolist() == [0, 1]
    assert {"class id", "class name", "modelname", "mesh", "time (encode inputs)"} <= set(full.columns)
    parts = ["time (eval points)", "time (marching cubes)"]
    stages = [name for name in full.columns if name.startswith("time (") and name not in parts]
    assert (full[stages].sum(axis=1) <= full["mesh"]).all()
    assert (full["time (forward propagation)"] > 0).all()
    assert (full[parts] > 0).all(axis=None)
    assert full[parts].sum(axis=1).to_numpy() == pytest.approx(full["time (extract mesh)"], rel=0.1)
    means = pd.read_csv(generated.root / "time_generation.csv", index_col="class name", keep_default_na=False)
    assert means.loc["n/a", "mesh"] == pytest.approx(full["mesh"].mean())
    assert "start_idx" not in means.columns
    pickled = pd.read_pickle(generated.root / "time_generation.pkl")
    assert pickled.loc["n/a", "mesh"] == pytest.approx(full["mesh"].mean())


def test_finished_windows_are_kept_while_nothing_changes(
    task: Task, dataset: Windows, tmp_path: Path
) -> None:
    folder = GenerationFolder(tmp_path)
    generate(task, dataset, [0], folder)
    mesh = folder.results(window_of(dataset, 0)) / "00000_0000_0001.off"
    before = mesh.stat().st_mtime_ns
    again = generate(task, dataset, [0, 2], folder)
    assert (again.made, again.kept) == (1, 1)
    assert mesh.stat().st_mtime_ns == before
    assert [row["idx"] for row in again.timings] == [0, 2], "kept ones keep their timings"

    other = load_task(people(test={"threshold": 0.4}))
    assert generate(other, dataset, [0], folder).made == 1
    assert mesh.stat().st_mtime_ns != before
    record = folder.record(window_of(dataset, 0))
    assert record is not None
    assert record["made with"]["threshold"] == 0.4
    assert record["made with"]["checkpoint"] == task.model.checkpoint_sha256


def test_other_data_under_the_same_name_is_generated_anew(
    task: Task, dataset: Windows, tmp_path: Path
) -> None:
    folder = GenerationFolder(tmp_path)
    generate(task, dataset, [0], folder)
    seen = build_dataset(people(data={"test_split": "test"}), "test")
    assert generate(task, seen, [0], folder).made == 1
    assert generate(task, seen, [0], folder).kept == 1


def test_a_run_that_dies_leaves_whole_windows_only(
    task: Task, dataset: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = GenerationFolder(tmp_path)
    written: list[Path] = []

    def dies_at_the_20th_file(path: Path, *arguments: Any) -> None:
        if len(written) == 20:
            raise KeyboardInterrupt
        written.append(path)
        write_off(path, *arguments)

    monkeypatch.setattr(generation, "write_off", dies_at_the_20th_file)
    with pytest.raises(KeyboardInterrupt):
        generate(task, dataset, [0, 1, 2], folder)
    assert len(folder.read_meshes(window_of(dataset, 0))) == 17
    assert not folder.results(window_of(dataset, 1)).exists()

    monkeypatch.setattr(generation, "write_off", write_off)
    done = generate(task, dataset, [0, 1, 2], folder)
    assert (done.made, done.kept) == (2, 1)
    assert [len(folder.read_meshes(window_of(dataset, index))) for index in range(3)] == [17, 17, 17]
    assert not list(tmp_path.rglob("*.part"))


def test_a_window_without_a_mesh_is_recorded_and_the_others_go_on(
    task: Task, dataset: Windows, tmp_path: Path
) -> None:
    folder = GenerationFolder(tmp_path)
    damaged = Damaged(dataset)
    done = generate(task, damaged, [0, 1, 2], folder)
    assert done.made == 3
    assert [row["idx"] for row in done.timings] == [0, 2]
    window = window_of(dataset, 1)
    assert "NaN" in done.failed[window]
    assert names(folder.results(window)) == ["generation.json"]
    assert "NaN" in (folder.record(window) or {})["error"]
    again = generate(task, damaged, [0, 1, 2], folder)
    assert (again.made, again.kept) == (0, 3)
    assert again.failed == done.failed, "told again"


def test_a_failure_does_not_replace_what_an_older_run_made(
    task: Task, dataset: Windows, generated: GenerationFolder, tmp_path: Path
) -> None:
    folder, window = GenerationFolder(tmp_path), window_of(dataset, 1)
    shutil.copytree(generated.root, tmp_path, dirs_exist_ok=True)
    before = names(folder.results(window))
    done = generate(task, Damaged(dataset), [1], folder)
    assert "NaN" in done.failed[window]
    assert names(folder.results(window)) == before
    assert (folder.record(window) or {})["error"] is None


def test_an_empty_surface_is_such_a_window(dataset: Windows, tmp_path: Path) -> None:
    empty = load_task(people(test={"threshold": 0.9999999}))
    done = generate(empty, dataset, [0], GenerationFolder(tmp_path))
    assert "threshold" in next(iter(done.failed.values()))


def test_what_this_model_cannot_generate_is_refused() -> None:
    with pytest.raises(ConfigError, match="meshes only"):
        load_task(people(generation={"generate_pointcloud": True}))


def test_a_damaged_record_names_its_file(dataset: Windows, tmp_path: Path) -> None:
    folder = GenerationFolder(tmp_path)
    place = folder.results(window_of(dataset, 0))
    place.mkdir(parents=True)
    (place / "generation.json").write_text("{")
    with pytest.raises(DataError, match=r"generation\.json cannot be read"):
        folder.record(window_of(dataset, 0))


def test_a_limit_takes_a_sample_that_is_always_the_same() -> None:
    shuffled, in_order = people(), people(generation={"shuffle_generation": False})
    assert chosen(in_order, 100, 5) == [0, 1, 2, 3, 4]
    some = chosen(shuffled, 100, 5)
    assert some == chosen(shuffled, 100, 5) != [0, 1, 2, 3, 4]
    assert set(some) <= set(chosen(shuffled, 100, 6)), "a higher limit keeps what is there"
    assert chosen(shuffled, 100, None) == list(range(100))


@pytest.mark.parametrize("colored", [False, True])
def test_off_files_are_the_published_ones_to_the_byte(colored: bool, tmp_path: Path) -> None:
    parity = np.load(PARITY, allow_pickle=False)
    file = tmp_path / "mesh.off"
    write_off(file, parity["A_vertices"], parity["A_faces"], colored)
    assert file.read_bytes() == bytes(parity["off_file_colored" if colored else "off_file0"])
    vertices, faces = read_off(file)
    assert np.allclose(vertices, parity["A_vertices"], atol=1e-7)
    assert np.array_equal(faces, parity["A_faces"])


@pytest.mark.parametrize(
    "content",
    ["", "OFF\n", "hello", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n", "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n"],
)
def test_what_is_no_mesh_is_refused_by_name(content: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.off"
    file.write_text(content)
    with pytest.raises(DataError, match=r"bad\.off"):
        read_off(file)


def test_ply_files_keep_every_bit(tmp_path: Path) -> None:
    points: NDArray[np.float32] = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    write_ply(tmp_path / "points.ply", points)
    assert np.array_equal(vertices_of(tmp_path / "points.ply"), points)


def test_the_command_generates_a_data_set_on_disk(tiny_humans: Path, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(
        f"inherit_from: configs/bodies.yaml\ndata:\n  path: {tiny_humans}\n  offset_sequence: 0\n"
        "test:\n  threshold: 0.2\ngeneration:\n  resolution_0: 32\n  upsampling_steps: 0\n"
    )
    app = typer.Typer()
    app.command()(command)
    checkpoint = Path(__file__).parents[3] / "configs" / "checkpoints" / "bodies_128.pt"
    arguments = [str(config), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--limit", "2"]
    done = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "2 windows generated, 0 kept" in done.output
    assert len(list((tmp_path / "out" / "meshes" / "D-FAUST").glob("*/*/*.off"))) == 34
    assert "0 windows generated, 2 kept" in CliRunner().invoke(app, arguments).output

    refused = CliRunner().invoke(app, [str(config), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "checkpoint" in refused.output
    missing = CliRunner().invoke(app, ["no/such/config"])
    assert missing.exit_code == 2
    assert "no/such/config" in missing.output


def test_the_first_windows_lie_side_by_side_in_vis(dataset: Windows, tmp_path: Path) -> None:
    few = load_task(people(generation={"vis_n_outputs": 1}))
    generate(few, dataset, [0, 1], GenerationFolder(tmp_path))
    shown = names(tmp_path / "vis" / "bodies")
    assert shown == sorted(
        [f"00_mesh_{frame:03d}.off" for frame in range(17)] + [f"00_in_{frame}.ply" for frame in range(17)]
    )
    first = GenerationFolder(tmp_path).results(window_of(dataset, 0)) / "00000_0000_0001.off"
    assert (tmp_path / "vis/bodies/00_mesh_000.off").read_bytes() == first.read_bytes()
    none = load_task(people(generation={"vis_n_outputs": None}))
    generate(none, dataset, [0], GenerationFolder(tmp_path / "none"))
    assert not (tmp_path / "none" / "vis").exists()


def test_refined_meshes_are_other_ones(generated: GenerationFolder, dataset: Windows, tmp_path: Path) -> None:
    """Closer to the threshold at points of their faces."""
    task, folder = load_task(people(generation={"refinement_step": 4})), GenerationFolder(tmp_path)
    done = generate(task, dataset, [0], folder)
    assert done.timings[0]["time (refine)"] > 0
    net, inputs = task.model.occupancy_flow, torch.from_numpy(dataset[0]["inputs"])[None]
    misses = []
    for place in (generated, folder):
        vertices, faces = place.read_meshes(window_of(dataset, 0))[0]
        with torch.no_grad():
            centers = torch.from_numpy(vertices[faces].mean(axis=1))[None]  # [1, F, 3]
            logits = net.decode(centers, None, net.encode_shape(inputs))
        misses.append(float((logits.sigmoid() - task.model.config.test.threshold).square().mean()))
    assert misses[1] < misses[0]


def test_quality_is_exact_by_default_on_the_command_line_and_part_of_the_settings(task: Task) -> None:
    for each in (command, score):
        assert inspect.signature(each).parameters["quality"].default == "exact"
    assert task.settings["quality"] == "balanced"
    exact = load_task(people(), quality="exact")
    assert exact.settings["quality"] == "exact"
