"""The tasks by name. A method says which of them a config serves.

To add one, write a class with the interface of `Task` in a file of its own and list it in TASKS.
"""

from pathlib import Path

from model.config.schema import Config
from model.errors import ConfigError
from model.methods import METHODS
from model.reconstruction.quality import DEFAULT
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
    "occupancy at every time": OccupancyNetwork,
    "point sets": PointSets,
}


def load_task(
    config: Config, checkpoint: str | Path | None = None, device: str = "cpu", quality: str = DEFAULT
) -> Task:
    """The task of a config, its model loaded. Raises ModelError for what is wrong, settings first.

    `quality` is one of `model.reconstruction.quality.QUALITIES`; only completion has others than exact.
    """
    kind, generation = TASKS[task_name(config)], config.generation
    kind.check(config)
    requested: list[Gives] = ["meshes"] if generation.generate_mesh else []
    requested += ["point clouds"] if generation.generate_pointcloud else []
    if requested != [kind.gives]:
        raise ConfigError(
            f"{config.name}: found generation.generate_mesh {generation.generate_mesh} and "
            f"generate_pointcloud {generation.generate_pointcloud}; this model gives {kind.gives} only"
        )
    return kind(load_model(config, checkpoint, device, quality))


def task_name(config: Config) -> str:
    """The key of a config's task in TASKS."""
    return METHODS[config.method].task(config)
