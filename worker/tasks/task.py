"""What all tasks have in common: a loaded model, an item of a data set in, frames out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model.config.schema import Config
from model.meshes.sequence import FitReport, MeshSequence
from worker.tasks.loaded import LoadedModel

Item = dict[str, Any]  # of a data set: inputs, and what else the task reads
Gives = Literal["meshes", "point clouds"]


@dataclass(frozen=True, eq=False)
class Output:
    """The frames that a task makes of one window, in the unit box of the window's first cloud."""

    vertices: Sequence[NDArray[Any]]  # T arrays [V, 3]; the points of a point cloud
    faces: Sequence[NDArray[np.int32]] | None  # T arrays [F, 3]; None for point clouds
    seconds: dict[str, float] = field(default_factory=dict)  # by stage, under the names of published timings
    fit: FitReport | None = None
    animation: MeshSequence | None = None  # all frames as one, where they share their faces
    empty: dict[int, str] = field(default_factory=dict)  # numbers of frames without a mesh, and why

    @property
    def ending(self) -> str:
        """Of the files of frames."""
        return "ply" if self.faces is None else "off"

    @classmethod
    def moving(cls, meshes: MeshSequence, seconds: dict[str, float]) -> "Output":
        """Frames of one topology."""
        faces = [meshes.faces] * len(meshes.vertices)
        return cls(list(meshes.vertices), faces, seconds, meshes.fit, meshes)


class Task(Protocol):
    """One way to use a model. Classes are listed in `worker.tasks.registry.TASKS`."""

    gives: Gives  # a property of the class
    model: LoadedModel

    def __init__(self, model: LoadedModel) -> None: ...

    @staticmethod
    def check(config: Config) -> None:
        """Raise ConfigError, saying what to use instead, for a model that is not made for this task."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the output depends on beside item and checkpoint, as JSON values."""

    def __call__(self, item: Item) -> Output:
        """Raises ModelError where the item gives nothing."""
