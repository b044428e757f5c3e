"""`worker evaluate` and `worker score`: scores that are right, complete, and written where tools look."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from tests.worker.evaluation_data import SAMPLES, people
from worker.bodies import animate, draw_surface_points, load_rig
from worker.commands import evaluate as commands
from worker.data import DataError, build_dataset
from worker.data.inside import inside, winding_numbers
from worker.evaluation.evaluation import Evaluation, Scored, evaluate, open_test_split
from worker.evaluation.generation import generate
from worker.evaluation.held_out import score, score_network, score_windows
from worker.evaluation.layout import GenerationFolder
from worker.evaluation.mesh_files import Mesh
from worker.evaluation.report import headline, save_scores
from worker.evaluation.scores import Row, Truth, score_meshes, score_points, worst_scores
from worker.tasks.registry import load_task

DATA = Path(__file__).parents[2] / "data"
CHECKPOINT = DATA.parents[1] / "configs" / "checkpoints" / "bodies_128.pt"
METRICS = ("iou", "l2", "chamfer", "completeness", "accuracy", "completeness2", "accuracy2")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Meshes of windows 0 and 1 of people; nothing of window 2."""
    config, folder = people(), GenerationFolder(tmp_path_factory.mktemp("generation"))
    generate(load_task(config), build_dataset(config, "test"), [0, 1], folder)
    return Evaluation(config, folder, samples=SAMPLES)


@pytest.fixture(scope="module")
def scored(generated: Evaluation) -> list[Scored]:
    return list(evaluate(generated, [0, 1, 2], workers=1))


@pytest.fixture(scope="module")
def body() -> tuple[list[Mesh], Truth]:
    """Four frames of a person, and the truth about them."""
    rig, rng = load_rig(), np.random.default_rng(3)
    vertices = animate(rig, rig.draw_body(rng), "punching", rng, 16)[::5]  # [4, V, 3]
    low, high = vertices[0].min(axis=0), vertices[0].max(axis=0)
    vertices = ((vertices - (low + high) / 2) / (high - low).max()).astype(np.float32)
    particles = draw_surface_points(vertices[0], rig.faces, SAMPLES, rng).on(vertices).astype(np.float32)
    points = rng.uniform(-0.55, 0.55, (4, 20_000, 3)).astype(np.float32)
    occupancies = np.stack([inside(v, rig.faces, p) for v, p in zip(vertices, points, strict=True)])
    return [(frame, rig.faces) for frame in vertices], Truth(particles, points, occupancies)


def values(row: Row, metric: str, frames: int, kind: str = "mesh") -> NDArray[np.float64]:
    return np.array([row[f"{metric} {frame} ({kind})"] for frame in range(frames)])


def numbers(row: Row) -> Row:
    return {key: value for key, value in row.items() if not isinstance(value, str)}


def moved(meshes: Sequence[Mesh], offset: Sequence[float]) -> list[Mesh]:
    return [(vertices + np.array(offset, np.float32), faces) for vertices, faces in meshes]


def test_points_in_a_mesh_are_those_of_the_published_evaluation() -> None:
    parity = np.load(DATA / "evaluator.npz", allow_pickle=False)
    for mesh in "AB":
        vertices, faces = parity[f"{mesh}_vertices"], parity[f"{mesh}_faces"]
        turns = winding_numbers(vertices, faces, parity["points_iou"])
        assert np.array_equal(turns != 0, parity[f"{mesh}_contains"])


def test_the_published_scores_of_a_mesh() -> None:
    """IoU to the digit; distances as far as other samples of the same surface allow."""
    parity = np.load(DATA / "evaluator.npz", allow_pickle=False)
    wanted = json.loads(str(parity["meta"]))["results"]["A eval_mesh normals=None"]
    truth = Truth(parity["A_tgt"][None], parity["points_iou"][None], parity["A_occ_tgt"][None])
    row = score_meshes([(parity["A_vertices"], parity["A_faces"])], truth, [0], samples=1000)
    assert row["iou 0 (mesh)"] == pytest.approx(wanted["iou"], rel=1e-6)
    for metric in ("completeness", "accuracy", "chamfer"):
        assert row[f"{metric} 0 (mesh)"] == pytest.approx(wanted[metric], rel=0.05)


def test_the_truth_itself_scores_best(body: tuple[list[Mesh], Truth]) -> None:
    meshes, truth = body
    row = score_meshes(meshes, truth, [0], samples=SAMPLES)
    assert values(row, "iou", 4).tolist() == [1, 1, 1, 1]
    assert (values(row, "accuracy", 4) < 0.008).all(), "the distance between samples"
    assert (values(row, "l2", 4) < 0.008).all()
    turned = [(vertices, faces[:, ::-1]) for vertices, faces in meshes]
    assert values(score_meshes(turned, truth, [0], samples=SAMPLES), "iou", 4).tolist() == [1, 1, 1, 1]


def test_scores_say_what_is_wrong(body: tuple[list[Mesh], Truth]) -> None:
    meshes, truth = body
    right = score_meshes(meshes, truth, [0], samples=SAMPLES)
    beside = score_meshes(moved(meshes, (2, 0, 0)), truth, [0], samples=SAMPLES)
    assert values(beside, "iou", 4).tolist() == [0, 0, 0, 0]
    assert (values(beside, "completeness", 4) > 1).all()
    still = score_meshes([meshes[0]] * 4, truth, [0], samples=SAMPLES)
    assert still["l2 0 (mesh)"] == right["l2 0 (mesh)"]
    assert still["l2 3 (mesh)"] > 3 * right["l2 3 (mesh)"]
    assert still["iou 3 (mesh)"] < 0.9
    for metric in METRICS:
        assert right[f"{metric} (mesh)"] == pytest.approx(values(right, metric, 4).mean())


def test_samples_come_from_the_seed(body: tuple[list[Mesh], Truth]) -> None:
    meshes, truth = body
    first = score_meshes(meshes, truth, [7], samples=500)
    assert score_meshes(meshes, truth, [7], samples=500) == pytest.approx(first, rel=0, abs=0, nan_ok=True)
    assert score_meshes(meshes, truth, [8], samples=500)["accuracy (mesh)"] != first["accuracy (mesh)"]


def test_meshes_that_do_not_fit_are_refused(body: tuple[list[Mesh], Truth]) -> None:
    meshes, truth = body
    with pytest.raises(DataError, match="3 meshes and 4 true frames"):
        score_meshes(meshes[:3], truth, [0], samples=10)
    vertices, faces = meshes[3]
    other = [*meshes[:3], (np.concatenate([vertices, vertices[:1]]), faces)]
    with pytest.raises(DataError, match="eval_mesh_correspondences"):
        score_meshes(other, truth, [0], samples=10)
    row = score_meshes(other, truth, [0], samples=10, with_correspondence=False)
    assert row["iou 3 (mesh)"] == 1
    assert "l2 0 (mesh)" not in row


def test_points_are_scored_as_samples_of_the_surface(body: tuple[list[Mesh], Truth]) -> None:
    _, truth = body
    row = score_points(list(truth.particles[:, :300]), truth)
    assert values(row, "accuracy", 4, "pcl") == pytest.approx(0)
    assert values(row, "l2", 4, "pcl") == pytest.approx(0)
    assert (values(row, "completeness", 4, "pcl") > 0.005).all(), "300 points leave gaps"
    assert "l2 0 (pcl)" not in score_points(list(truth.particles[:, :300]), truth, with_correspondence=False)


def test_every_window_has_a_row_of_every_metric_and_frame(scored: list[Scored]) -> None:
    assert [one.window.name for one in scored] == ["00000", "00001", "00002"]
    assert [one.missing for one in scored] == [False, False, True]
    for one in scored[:2]:
        assert (one.row["class id"], one.row["class name"]) == ("bodies", "n/a")
        for metric in METRICS:
            assert np.isfinite(values(one.row, metric, 17)).all()
        assert 0.5 < one.row["iou (mesh)"] < 0.95
        assert one.row["l2 (mesh)"] < 0.03
    assert len({one.checkpoint for one in scored[:2]}) == 1


def test_several_processes_give_the_same_rows(generated: Evaluation, scored: list[Scored]) -> None:
    rows = {one.row["idx"]: one.row for one in evaluate(generated, [0, 1, 2], workers=2)}
    for one in scored:
        assert numbers(rows[one.row["idx"]]) == pytest.approx(numbers(one.row), nan_ok=True)


def test_scoring_without_files_gives_the_same_rows(generated: Evaluation, scored: list[Scored]) -> None:
    dataset = open_test_split(generated.config, SAMPLES)
    (row,) = score_windows(load_task(generated.config), dataset, [1], SAMPLES)
    assert row.keys() == scored[1].row.keys()
    assert numbers(row) == pytest.approx(numbers(scored[1].row), rel=1e-4, nan_ok=True)


def test_how_much_truth_is_asked_for_does_not_change_the_window() -> None:
    """Meshes are generated with one number of samples and measured with another."""
    few, many = (open_test_split(people(), samples)[1] for samples in (10, 500))
    assert np.array_equal(few["inputs"], many["inputs"])
    assert many["points"].shape == many["points_mesh"].shape == (17, 500, 3)


def test_the_network_alone_is_scored_at_true_points(
    generated: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.evaluation.held_out.VALIDATION_POINTS", 600)
    config = people(training={"num_workers": 0})
    task = load_task(config)
    net = task.model.occupancy_flow
    means = score_network(task, [1, 2])
    overlaps, distances = [], []
    for index in (1, 2):
        item = {key: torch.from_numpy(array) for key, array in open_test_split(config, 600)[index].items()}
        c_s, c_t = net.encode_inputs(item["inputs"][None])
        probability = net.decode(item["points"][:1], None, c_s).sigmoid()[0]  # [P]
        inside, truly = probability >= 0.5, item["points.occ"][0] >= 0.5
        overlaps.append(float((inside & truly).sum() / (inside | truly).sum()))
        carried = net.transform_to_t(item["points_mesh.time"], item["points_mesh"][:1], None, c_t)[0]
        distances.append(float((carried - item["points_mesh"]).norm(dim=-1).mean()))
    assert means["iou_t0"] == pytest.approx(np.mean(overlaps), abs=1e-6)
    assert means["l2"] == pytest.approx(np.mean(distances), rel=1e-3)
    assert 0.3 < means["iou"] < 1


def test_a_window_that_gave_no_mesh_scores_the_worst(generated: Evaluation, tmp_path: Path) -> None:
    config = people(test={"threshold": 0.9999999})
    folder, dataset = GenerationFolder(tmp_path), build_dataset(config, "test")
    empty = load_task(config)
    generate(empty, dataset, [0], folder)
    (one,) = evaluate(Evaluation(config, folder), [0], workers=1)
    assert one.failed
    assert not one.missing
    assert one.row["iou (mesh)"] == 0
    assert one.row["chamfer (mesh)"] == 6
    assert one.row["completeness 16 (mesh)"] == one.row["l2 16 (mesh)"] == pytest.approx(3**0.5)
    assert score(empty, dataset, 1, samples=10)["IoU"] == 0


def test_meshes_of_other_data_are_refused(generated: Evaluation) -> None:
    other = Evaluation(people(data={"test_split": "test"}), generated.folder, samples=10)
    with pytest.raises(DataError, match=r"00000/00000 was made from other inputs"):
        list(evaluate(other, [0], workers=1))


def test_only_the_ends_are_compared_where_the_settings_say_so(generated: Evaluation) -> None:
    config = people(test={"eval_only_end_time_steps": True, "eval_mesh_correspondences": False})
    ends = Evaluation(config, generated.folder, samples=SAMPLES)
    (one,) = evaluate(ends, [0], workers=1)
    assert "iou 1 (mesh)" in one.row
    assert not [key for key in one.row if key.startswith(("iou 2", "l2"))]


def test_projection_forgives_a_distance_from_the_surface(generated: Evaluation, scored: list[Scored]) -> None:
    config = people(test={"project_to_final_mesh": True, "eval_mesh_iou": False})
    (one,) = evaluate(Evaluation(config, generated.folder, samples=SAMPLES), [0], workers=1)
    plain = scored[0].row
    assert one.row["l2 15 (mesh)"] == pytest.approx(plain["l2 15 (mesh)"])
    assert one.row["l2 16 (mesh)"] != plain["l2 16 (mesh)"]
    assert "iou 0 (mesh)" not in one.row


def test_inputs_are_measured_without_any_mesh(tmp_path: Path) -> None:
    of_inputs = Evaluation(people(), GenerationFolder(tmp_path), of_inputs=True, samples=SAMPLES)
    (one,) = evaluate(of_inputs, [2], workers=1)
    assert one.row["accuracy (pcl)"] < 0.01, "noise and the distance between samples"
    assert one.row["completeness (pcl)"] > one.row["accuracy (pcl)"]


def test_the_files_hold_all_rows_and_their_means(scored: list[Scored], tmp_path: Path) -> None:
    rows = [one.row for one in scored[:2]]
    rows[1] = rows[1] | {"class id": "others", "class name": "others"}
    rows.append(rows[0] | {"idx": 7, "iou 0 (mesh)": 0.0})
    save_scores(rows, tmp_path, "eval_meshes")
    full = pd.read_pickle(tmp_path / "eval_meshes_full.pkl")
    assert full.index.tolist() == [0, 1, 7]
    assert full.index.name == "idx"
    assert {"class id", "class name", "modelname", "start_idx"} <= set(full.columns)
    assert full.loc[0, "chamfer 16 (mesh)"] == rows[0]["chamfer 16 (mesh)"]
    means = pd.read_csv(tmp_path / "eval_meshes.csv", index_col="class name", keep_default_na=False)
    assert means.index.tolist() == ["n/a", "others"]
    assert means.loc["n/a", "iou 0 (mesh)"] == pytest.approx(rows[0]["iou 0 (mesh)"] / 2)
    assert means.loc["n/a", "start_idx"] == 0
    assert means.loc["others", "l2 3 (mesh)"] == pytest.approx(rows[1]["l2 3 (mesh)"])


def test_headline_numbers_are_those_of_the_published_tables() -> None:
    rows = [
        {
            "iou (mesh)": 0.5,
            "accuracy (mesh)": 0.02,
            "completeness (mesh)": 0.04,
            "l2 (mesh)": 0.01,
            "iou 0 (mesh)": 1,
        },
        {
            "iou (mesh)": 0.7,
            "accuracy (mesh)": 0.02,
            "completeness (mesh)": 0.04,
            "l2 (mesh)": 0.03,
            "iou 0 (mesh)": 0,
        },
    ]
    assert headline(rows) == pytest.approx({"IoU": 0.6, "Chamfer x 10": 0.3, "correspondence x 10": 0.2})
    first = headline(rows, frame=0)
    assert first["IoU"] == 0.5
    assert np.isnan(first["correspondence x 10"])
    worst = headline([worst_scores(17)])
    assert worst == pytest.approx({"IoU": 0, "Chamfer x 10": 300**0.5, "correspondence x 10": 300**0.5})


def app() -> typer.Typer:
    commands_of_worker = typer.Typer()
    for command in (commands.generate, commands.evaluate, commands.score):
        commands_of_worker.command()(command)
    return commands_of_worker


def tiny_config(humans: Path, folder: Path) -> Path:
    config = folder / "tiny.yaml"
    config.write_text(
        f"inherit_from: configs/bodies.yaml\ndata:\n  path: {humans}\n  offset_sequence: 0\n"
        f"training:\n  out_dir: {folder}/out\ntest:\n  threshold: 0.2\n  model_file: {CHECKPOINT}\n"
        "generation:\n  resolution_0: 32\n  upsampling_steps: 0\n"
    )
    return config


def test_a_data_set_on_disk_from_meshes_to_tables(tiny_humans: Path, tmp_path: Path) -> None:
    config, run = str(tiny_config(tiny_humans, tmp_path)), CliRunner().invoke
    early = run(app(), ["evaluate", config, "--limit", "2", "--workers", "1"])
    assert early.exit_code == 2
    assert "worker generate" in early.output
    assert run(app(), ["generate", config, "--limit", "1", "--device", "cpu"]).exit_code == 0
    done = run(app(), ["evaluate", config, "--limit", "2", "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert "1 of 2 windows were not generated" in done.output
    assert "D-FAUST" in done.output
    folder = tmp_path / "out" / "generation"
    assert len(pd.read_pickle(folder / "eval_meshes_full.pkl")) == 1
    assert np.isfinite(pd.read_csv(folder / "eval_meshes.csv")["iou 16 (mesh)"]).all()
    with Image.open(folder / "eval_meshes.png") as plot:
        pixels = np.asarray(plot.convert("L"))
    assert pixels.shape[1] > 2 * pixels.shape[0], "three panels"
    assert (pixels < 128).sum() > 1000

    assert run(app(), ["generate", config, "--limit", "2", "--device", "cpu"]).exit_code == 0
    record = next(folder.rglob("generation.json"))
    noted = json.loads(record.read_text())
    noted["made with"]["checkpoint"] = "another"
    record.write_text(json.dumps(noted))
    mixed = run(app(), ["evaluate", config, "--limit", "2", "--workers", "1"])
    assert "2 checkpoints" in mixed.output

    inputs = run(app(), ["evaluate", config, "--eval-input", "--limit", "2", "--workers", "1"])
    assert inputs.exit_code == 0, inputs.output
    assert pd.read_csv(folder / "eval_input.csv")["accuracy 0 (pcl)"][0] < 0.01


def test_one_sequence_without_occupancies_is_scored(humans: Path, tmp_path: Path) -> None:
    for folder in humans.rglob("points_seq"):
        shutil.rmtree(folder)
    config = str(tiny_config(humans, tmp_path))
    place = humans / "D-FAUST" / "50003_gamma"
    arguments = ["score", config, "data.input_pointcloud_n=100", "--sequence", str(place)]
    done = CliRunner().invoke(app(), [*arguments, "--limit", "2", "--samples", "2000"])
    assert done.exit_code == 0, done.output
    cells = next(line for line in done.output.splitlines() if "D-FAUST" in line).split("│")
    assert [cell.strip() for cell in cells[2:5]] == ["2", "-", "-"], "windows, and no IoU"
    assert float(cells[5]) > 0
    missing = CliRunner().invoke(app(), ["score", config, "--sequence", str(tmp_path / "none" / "such")])
    assert missing.exit_code == 2
