"""Shape matching: a mesh carried onto a second shape, by two clouds whose points do not correspond."""

from typing import Any

import numpy as np

from model.config.schema import Config
from model.meshes.colors import correspondence_colors
from model.meshes.sequence import MeshSequence
from worker.tasks.given_meshes import EndsFlow, check_moves_meshes, end_meshes
from worker.tasks.loaded import LoadedModel
from worker.tasks.surfaces import output_frames
from worker.tasks.task import Gives, Item, Output


class ShapeMatching:
    """Every window from its first mesh and from points of its first and last frame."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._frames = output_frames(model.config)

    @staticmethod
    def check(config: Config) -> None:
        check_moves_meshes(config, corresponding=False, task="shape matching", like="shape_matching/oflow")

    @property
    def settings(self) -> dict[str, Any]:
        return {"frames": self._frames}

    def __call__(self, item: Item) -> Output:
        (first, _), faces = end_meshes(item)
        times = np.linspace(0, 1, self._frames)
        flow = EndsFlow(self.model, item["inputs"])
        colors = correspondence_colors(first) if self.model.config.generation.mesh_color else None
        vertices = flow.forward(first, times).astype(np.float64)
        return Output.moving(MeshSequence(vertices, faces, times, colors), flow.seconds)
