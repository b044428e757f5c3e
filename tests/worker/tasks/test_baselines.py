"""ONet 4D and PSGN 4D: trained shortly on bodies, generated and evaluated by the commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from model import Config, load_config
from model.errors import ConfigError, EmptySurfaceError
from model.methods import build_model
from model.networks.baselines import OccupancyNetwork4D
from worker.commands.evaluate import evaluate, generate, score
from worker.data import build_dataset
from worker.data.windows import window_of
from worker.evaluation.evaluation import Evaluation
from worker.evaluation.evaluation import evaluate as run_evaluation
from worker.evaluation.generation import generate as run_generation
from worker.evaluation.layout import GenerationFolder
from worker.evaluation.mesh_files import read_off, write_off
from worker.evaluation.scores import Truth, score_meshes
from worker.evaluation.validation import validate
from worker.tasks.loaded import LoadedModel
from worker.tasks.occupancy_network import OccupancyNetwork
from worker.tasks.registry import load_task
from worker.training.pictures import picture
from worker.training.stopping import Stop
from worker.training.trainer import Trainer

FRAMES = 3
SMALL: dict[str, Any] = {
    "data": {
        "dataset": "bodies",
        "length_sequence": FRAMES,
        "input_pointcloud_n": 50,
        "n_training_points": 256,
        "n_training_pcl_points": 64,
        "bodies": {
            "windows_per_scene": 4,
            "variety": 0.0,
            "turn": 0.0,
            "near_surface_share": 0.8,
            "held_out_windows": 3,
        },
    },
    "model": {"c_dim": 32},
    "training": {
        "batch_size": 8,
        "learning_rate": 0.005,
        "n_eval_points": 4000,
        "validate_every": 0,
        "num_workers": 0,
    },
    "test": {"threshold": 0.5},
    "generation": {
        "n_time_steps": FRAMES,
        "resolution_0": 32,
        "upsampling_steps": 0,
        "shuffle_generation": False,
    },
}
ENCODER = {"hidden_dim": 32, "dim": 3 * FRAMES}
ONET: dict[str, Any] = {"encoder_temporal_kwargs": ENCODER, "decoder_kwargs": {"hidden_size": 64}}
PSGN: dict[str, Any] = {
    "encoder_kwargs": ENCODER,
    "decoder_kwargs": {"n_steps": FRAMES, "n_points": 200, "hidden_dim": 64},
}

app = typer.Typer()
for command in (generate, evaluate, score):
    app.command()(command)


def small_file(method: str, folder: Path) -> Path:
    model = SMALL["model"] | (ONET if method == "onet4d" else PSGN)
    steps = 100 if method == "onet4d" else 60
    training = SMALL["training"] | {"out_dir": str(folder), "max_iterations": steps}
    values = SMALL | {
        "model": model,
        "training": training,
        "inherit_from": f"configs/pointcloud/{method}.yaml",
    }
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def config_of(method: str, folder: Path, overrides: dict[str, Any] | None = None) -> Config:
    return load_config(small_file(method, folder), overrides)


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


class Trained:
    """A run of one method, with what validation said before and after."""

    def __init__(self, method: str, folder: Path) -> None:
        self.config = config_of(method, folder)
        self.file = folder / "small.yaml"
        self.trainer = Trainer(self.config)
        self.before = self._validate()
        assert self.trainer.run(Stop())
        self.after = self._validate()

    def _validate(self) -> dict[str, float]:
        return validate(self.trainer.net, self.trainer.val_source, self.config, "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    made: dict[str, Trained] = {}

    def train(method: str) -> Trained:
        if method not in made:
            made[method] = Trained(method, tmp_path_factory.mktemp(method))
        return made[method]

    return train


def test_occupancy_at_any_time_is_learned(trained: Callable[[str], Trained]) -> None:
    onet = trained("onet4d")
    assert onet.after["iou"] > onet.before["iou"] + 0.1
    assert onet.after["rec_error"] < onet.before["rec_error"] / 4


@pytest.mark.parametrize("method", ["psgn4d", "psgn4d_w_correspond"])
def test_point_sets_are_learned(method: str, trained: Callable[[str], Trained]) -> None:
    psgn = trained(method)
    assert psgn.after["chamfer"] < psgn.before["chamfer"] / 2.5


def test_meshes_of_every_frame_are_generated_and_evaluated(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    onet = trained("onet4d")
    common = (onet.file, "--out", tmp_path, "--limit", 2)
    assert "2 windows generated" in run("generate", *common, "--checkpoint", onet.trainer.folder.last)
    folder = GenerationFolder(tmp_path)
    dataset = build_dataset(onet.config, "test")
    for index in (0, 1):
        meshes = folder.read_meshes(window_of(dataset, index))
        assert len(meshes) == FRAMES
        assert len({len(vertices) for vertices, _ in meshes}) > 1, "each has a topology of its own"
        assert not list(folder.results(window_of(dataset, index)).glob("*.glb"))

    scored = list(run_evaluation(Evaluation(onet.config, folder, samples=2000), [0, 1], workers=1))
    for row in (one.row for one in scored):
        assert row["iou (mesh)"] > 0.1
        assert all(row[f"chamfer {frame} (mesh)"] < 0.1 for frame in range(FRAMES)), "6 is the worst"
        assert "l2 (mesh)" not in row

    told = run(
        "evaluate", onet.file, "--out", tmp_path, "--limit", 1, "--workers", 1, "test.eval_mesh_iou=false"
    )
    assert "Chamfer" in told
    assert (tmp_path / "eval_meshes.csv").exists()
    timings = pd.read_csv(tmp_path / "time_generation.csv").iloc[0]
    stages = timings[["time (encode inputs)", "time (extract mesh)"]]
    assert (stages > 0).all()
    assert stages.sum() <= timings["mesh"]


def test_the_surface_of_a_frame_is_where_the_occupancy_at_its_time_says() -> None:
    """A ball that grows with t: its radius is that of the formula in every frame."""
    config = load_config("pointcloud/onet4d", SMALL | {"model": SMALL["model"] | ONET})
    net = build_model(config)
    assert isinstance(net, OccupancyNetwork4D)
    net.occupancy = lambda z, c, t: lambda points: 10 * (0.2 + 0.2 * t - points.norm(dim=1))  # type: ignore[method-assign]
    task = OccupancyNetwork(LoadedModel(config, net.eval(), "", "cpu"))
    output = task({"inputs": np.zeros((FRAMES, 50, 3), np.float32), "idx": np.int64(0)})
    radii = [float(np.linalg.norm(vertices, axis=1).mean()) for vertices in output.vertices]
    assert radii == pytest.approx([0.2, 0.3, 0.4], abs=0.005)
    assert output.empty == {}


class Vanishing(OccupancyNetwork):
    """Something that is there until half of the time is over; with `never`, not at all."""

    def __init__(self, model: LoadedModel, never: bool = False) -> None:
        super().__init__(model)
        last = -1.0 if never else 0.5
        self._net.occupancy = lambda z, c, t: (  # type: ignore[method-assign]
            lambda points: (
                10 * (0.3 - points.norm(dim=1)) if t <= last else torch.full_like(points[:, 0], -5.0)
            )
        )


def vanishing(never: bool = False) -> Vanishing:
    config = load_config("pointcloud/onet4d", SMALL | {"model": SMALL["model"] | ONET})
    return Vanishing(LoadedModel(config, build_model(config).eval(), "", "cpu"), never)


def test_a_frame_without_a_surface_scores_the_worst_and_the_others_count(tmp_path: Path) -> None:
    task = vanishing()
    config, folder = task.model.config, GenerationFolder(tmp_path)
    dataset = build_dataset(config, "test")
    window = window_of(dataset, 0)
    done = run_generation(task, dataset, [0], folder)
    assert done.empty == {window: [2]}
    assert done.failed == {}
    record = json.loads((folder.results(window) / "generation.json").read_text())
    assert "0.5" in record["empty frames"]["2"]
    assert run_generation(task, dataset, [0], folder).empty == done.empty, "told again"

    meshes = folder.read_meshes(window)
    assert [len(faces) > 0 for _, faces in meshes] == [True, True, False]
    item = dataset[0]
    truth = Truth(item["points_mesh"], item["points"], item["points.occ"] >= 0.5)
    row = score_meshes(meshes, truth, [0], with_correspondence=False, samples=500)
    assert row["iou 1 (mesh)"] > 0
    assert (row["iou 2 (mesh)"], row["chamfer 2 (mesh)"]) == (0, 6)
    assert row["chamfer (mesh)"] == pytest.approx((row["chamfer 0 (mesh)"] + row["chamfer 1 (mesh)"] + 6) / 3)


def test_no_surface_at_all_is_a_failure() -> None:
    with pytest.raises(EmptySurfaceError, match="No frame has a surface"):
        vanishing(never=True)({"inputs": np.zeros((FRAMES, 50, 3), np.float32), "idx": np.int64(0)})


@pytest.mark.parametrize("colored", [False, True])
def test_an_empty_mesh_is_a_file_as_well(colored: bool, tmp_path: Path) -> None:
    write_off(tmp_path / "empty.off", np.empty((0, 3)), np.empty((0, 3), np.int32), colored)
    vertices, faces = read_off(tmp_path / "empty.off")
    assert vertices.shape == faces.shape == (0, 3)


@pytest.mark.parametrize("method", ["psgn4d", "psgn4d_w_correspond"])
def test_point_clouds_are_generated_and_evaluated(
    method: str, trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    psgn = trained(method)
    common = (psgn.file, "--out", tmp_path, "--limit", 2)
    run("generate", *common, "--checkpoint", psgn.trainer.folder.last)
    folder, dataset = GenerationFolder(tmp_path, "pointcloud"), build_dataset(psgn.config, "test")
    place = tmp_path / "pointcloud" / "bodies" / "00001" / "00000"
    names = {f"00001_0000_{number:04d}.ply" for number in range(1, FRAMES + 1)}
    assert {file.name for file in place.glob("*.ply")} == names
    inputs = torch.from_numpy(dataset[1]["inputs"])[None]
    with torch.no_grad():
        expected = psgn.trainer.net.eval()(inputs)[0].numpy()
    np.testing.assert_allclose(folder.read_clouds(window_of(dataset, 1)), expected, atol=1e-5)

    told = run("evaluate", *common, "--workers", 1)
    row = pd.read_pickle(tmp_path / "eval_meshes_full.pkl").loc[1]
    assert row["accuracy (pcl)"] < 0.2
    assert row["l2 (pcl)"] < 0.3
    assert "iou (pcl)" not in row
    assert "Chamfer" in told
    timings = pd.read_csv(tmp_path / "time_generation.csv").iloc[0]
    assert 0 < timings["time (encode inputs)"] + timings["time (decode)"] <= timings["pcl"]


@pytest.mark.parametrize("method", ["onet4d", "psgn4d"])
def test_scored_without_files(method: str, trained: Callable[[str], Trained]) -> None:
    one = trained(method)
    arguments = (one.file, "--checkpoint", one.trainer.folder.last, "--limit", 1, "--samples", 500)
    told = run("score", *arguments, "--network")
    assert "the network alone" in told


@pytest.mark.parametrize("method", ["onet4d", "psgn4d"])
def test_pictures_while_training(method: str, trained: Callable[[str], Trained]) -> None:
    one = trained(method)
    pixels = picture(one.trainer.net, one.config, build_dataset(one.config, "val")[0], "cpu")
    assert pixels is not None
    assert pixels.shape == (640, 720, 3)
    panels = pixels[320:].reshape(320, 3, 240, 3)
    assert (panels.std(axis=(0, 2, 3)) > 5).all(), "each of the lower panels shows something"


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives point clouds only"):
        load_task(config_of("psgn4d", tmp_path, {"generation": {"generate_mesh": True}}))
    with pytest.raises(ConfigError, match="gives meshes only"):
        load_task(config_of("onet4d", tmp_path, {"generation": {"generate_pointcloud": True}}))
    with pytest.raises(ConfigError, match="only_end_time_points is true"):
        load_task(config_of("psgn4d", tmp_path, {"generation": {"only_end_time_points": True}}))
    with pytest.raises(ConfigError, match="this method reads pcl_seq or img_seq"):
        load_task(config_of("psgn4d", tmp_path, {"data": {"input_type": None}}))
