"""The seam between tasks and data sets: which task a config is for, and outputs of every form to files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import Config, load_config
from model.config.files import config_names
from model.errors import ConfigError, InputError
from model.methods import METHODS
from tests.worker.evaluation_data import people
from tests.worker.task_models import pushing, small
from worker.data import build_dataset
from worker.data.windows import window_of
from worker.evaluation.evaluation import Evaluation, evaluate, open_test_split
from worker.evaluation.generation import generate
from worker.evaluation.held_out import score_windows
from worker.evaluation.layout import GenerationFolder, first_path, inputs_of, is_made_from
from worker.tasks.loaded import LoadedModel, load_model
from worker.tasks.registry import TASKS, load_task, task_name
from worker.tasks.task import Gives, Item, Output


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ("bodies", "completion"),
        ("pointcloud/oflow_w_correspond_pretrained", "completion"),
        ("interpolation/oflow", "interpolation"),
        ("shape_matching/oflow_pretrained", "shape matching"),
        ("generative/oflow", "generative"),
        ("representation_power/oflow", "representation power"),
        ("img/oflow", "images"),
        ("img/onet4d", "occupancy at every time"),
        ("pointcloud/psgn4d_w_correspond", "point sets"),
    ],
)
def test_a_config_says_what_it_is_for(config: str, task: str) -> None:
    assert task_name(load_config(config)) == task


@pytest.mark.parametrize("name", config_names())
def test_every_config_has_a_task_that_gives_what_its_method_gives(name: str) -> None:
    config = load_config(name)
    assert TASKS[task_name(config)].gives == METHODS[config.method].gives


class Frames:
    """A task that gives the particles of each frame, as points or as a mesh a frame, of its own topology."""

    def __init__(self, model: LoadedModel, gives: Gives) -> None:
        self.model, self.gives, self.settings = model, gives, {"frames": 17}
        self.fails = False

    @staticmethod
    def check(config: Config) -> None:
        """Takes any."""

    def __call__(self, item: Item) -> Output:
        if self.fails:
            raise InputError("not today")
        clouds = [cloud + 0.001 for cloud in item["points_mesh"][:, :200]]
        if self.gives == "point clouds":
            return Output(clouds, None, {"time (flow)": 0.5})
        counts = range(100, 117)
        faces = [np.arange(3 * (count // 3), dtype=np.int32).reshape(-1, 3) for count in counts]
        return Output([cloud[:count] for cloud, count in zip(clouds, counts, strict=True)], faces)


def small_people(**sections: Any) -> Config:
    measured = {"eval_mesh": False, "eval_pointcloud": True} if "generation" in sections else {}
    return people(training={"n_eval_points": 300}, **{"test": measured, **sections})


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(small_people(generation=CLOUDS))


CLOUDS = {"generate_mesh": False, "generate_pointcloud": True, "copy_input": True}


def test_point_clouds_are_written_and_measured(loaded: LoadedModel, tmp_path: Path) -> None:
    config, task = loaded.config, Frames(loaded, "point clouds")
    dataset, folder = build_dataset(config, "test"), GenerationFolder.of(config, tmp_path)
    done = generate(task, dataset, [0], folder)
    assert done.timings[0]["time (flow)"] == 0.5
    place = tmp_path / "pointcloud" / "bodies" / "00000" / "00000"
    assert sorted(file.name for file in place.iterdir()) == [
        *(f"00000_0000_{frame:04d}.ply" for frame in range(1, 18)),
        "generation.json",
    ]
    assert generate(task, dataset, [0], folder).kept == 1
    (one, missing) = evaluate(Evaluation(config, folder, samples=300), [0, 1], workers=1)
    assert missing.missing
    assert one.row["l2 (pcl)"] == pytest.approx(0.001 * 3**0.5, rel=1e-2)
    assert "iou (pcl)" not in one.row
    (row,) = score_windows(task, open_test_split(config, 300), [0])
    assert row["l2 (pcl)"] == pytest.approx(one.row["l2 (pcl)"])
    task.fails = True
    generate(task, dataset, [1], folder)
    (failed,) = evaluate(Evaluation(config, folder, samples=300), [1], workers=1)
    assert failed.failed
    assert failed.row["l2 16 (pcl)"] == pytest.approx(3**0.5)


def test_a_mesh_of_its_own_a_frame_is_written_and_measured(loaded: LoadedModel, tmp_path: Path) -> None:
    config = small_people(test={"eval_mesh_correspondences": False})
    task = Frames(LoadedModel(config, loaded.net, "", "cpu"), "meshes")
    dataset, folder = build_dataset(config, "test"), GenerationFolder.of(config, tmp_path)
    generate(task, dataset, [0], folder)
    meshes = folder.read_meshes(window_of(dataset, 0))
    assert [len(vertices) for vertices, _ in meshes] == list(range(100, 117))
    assert not list(tmp_path.rglob("*.glb")), "they share no faces"
    (one,) = evaluate(Evaluation(config, folder, samples=300), [0], workers=1)
    assert 0 <= one.row["iou (mesh)"] < 1
    assert "l2 (mesh)" not in one.row


def test_a_model_gives_what_it_gives(tmp_path: Path) -> None:
    config = small("interpolation/oflow", generation={"generate_mesh": False})
    with pytest.raises(ConfigError, match="gives meshes only"):
        load_task(config, pushing(config, tmp_path, (0, 0, 0), later=False))


def test_windows_are_told_apart_by_whatever_they_read() -> None:
    rng = np.random.default_rng(0)
    images, other = rng.uniform(size=(2, 17, 3, 8, 8))
    record = {"first path": first_path(images)}
    assert is_made_from(record, images + 1e-6)
    assert not is_made_from(record, other)
    numbered = {"first path": first_path(inputs_of({"idx": np.array(7)}))}
    assert is_made_from(numbered, np.array(7))
    assert not is_made_from(numbered, np.array(8))
    assert not is_made_from(numbered, images)
