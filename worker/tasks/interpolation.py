"""Interpolation: meshes between a first and a last one of the same topology.

Vertices flow forward from the first mesh and backward from the last; at time t the two are blended with
weights 1 - t and t, so that both ends are met exactly.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config.schema import Config
from model.meshes.colors import correspondence_colors
from model.meshes.sequence import MeshSequence
from worker.tasks.given_meshes import EndsFlow, Vertices, check_moves_meshes, end_meshes
from worker.tasks.loaded import LoadedModel
from worker.tasks.task import Gives, Item, Output


class Interpolation:
    """Every window from its end meshes and from corresponding points of its first and last frame."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        self.model = model

    @staticmethod
    def check(config: Config) -> None:
        check_moves_meshes(config, corresponding=True, task="interpolation", like="interpolation/oflow")

    @property
    def settings(self) -> dict[str, Any]:
        return {"frames": self.model.config.generation.n_time_steps}

    def __call__(self, item: Item) -> Output:
        generation = self.model.config.generation
        ends, faces = end_meshes(item)
        times = np.linspace(0, 1, generation.n_time_steps)
        flow = EndsFlow(self.model, item["inputs"])
        vertices = blend(flow.forward(ends[0], times), flow.backward(ends[1], times), times)
        colors = correspondence_colors(ends[0]) if generation.mesh_color else None
        return Output.moving(MeshSequence(vertices.astype(np.float64), faces, times, colors), flow.seconds)


def blend(forward: Vertices, backward: Vertices, times: NDArray[np.float64]) -> Vertices:
    """One of two ways [K, V, 3] to the same times [K]: the first alone at 0, the second alone at 1."""
    weight = times[:, None, None]
    return np.asarray((1 - weight) * forward + weight * backward, np.float32)
