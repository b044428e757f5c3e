"""Which task a config is for.

To add one: a class of the form of `Task` in a file of its own, its line in TASKS and, where no setting
picks it yet, a line in `task_name`.
"""

from pathlib import Path

from model.config.schema import Config
from model.errors import ConfigError
from worker.tasks.completion import Completion
from worker.tasks.generative import Generative
from worker.tasks.images import Images
from worker.tasks.interpolation import Interpolation
from worker.tasks.loaded import load_model
from worker.tasks.occupancy_network import OccupancyNetwork
from worker.tasks.point_sets import PointSets
from worker.tasks.representation_power import RepresentationPower
from worker.tasks.shape_matching import ShapeMatching
from worker.tasks.task import Gives, Task

TASKS: dict[str, type[Task]] = {
    "completion": Completion,
    "interpolation": Interpolation,
    "shape matching": ShapeMatching,
    "generative": Generative,
    "representation power": RepresentationPower,
    "images": Images,
    "onet4d": OccupancyNetwork,
    "psgn4d": PointSets,
}


def load_task(config: Config, checkpoint: str | Path | None = None, device: str = "cpu") -> Task:
    """The task of a config, its model loaded. Raises ModelError for what is wrong, settings first."""
    kind, generation = TASKS[task_name(config)], config.generation
    kind.check(config)
    asked: list[Gives] = ["meshes"] if generation.generate_mesh else []
    asked += ["point clouds"] if generation.generate_pointcloud else []
    if asked != [kind.gives]:
        raise ConfigError(
            f"{config.name}: found generation.generate_mesh {generation.generate_mesh} and "
            f"generate_pointcloud {generation.generate_pointcloud}; this model gives {kind.gives} only"
        )
    return kind(load_model(config, checkpoint, device))


def task_name(config: Config) -> str:
    """The key of a config's task in TASKS."""
    if config.method != "oflow":
        return config.method
    if config.generation.interpolate and config.generation.correspondence:
        raise ConfigError(
            f"{config.name}: generation.interpolate and generation.correspondence are both true; "
            "a model is for one of them"
        )
    if config.generation.interpolate:
        return "interpolation"
    if config.generation.correspondence:
        return "shape matching"
    if config.model.z_dim:
        return "generative"
    if config.data.input_type == "img_seq":
        return "images"
    return "completion" if config.data.input_type == "pcl_seq" else "representation power"
