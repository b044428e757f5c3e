"""Interpolation: meshes between a first and a last one of the same topology.

Vertices flow forward from the first mesh and backward from the last; at time t the two are blended with
weights 1 - t and t, so that both ends are met exactly.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.colors import correspondence_colors
from model.config import Config
from model.meshes import MeshSequence
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
        meshes = MeshSequence(
            between(flow, ends, times).astype(np.float64),
            faces,
            times,
            correspondence_colors(ends[0]) if generation.mesh_color else None,
        )
        return Output.moving(meshes, flow.seconds)


def between(flow: EndsFlow, ends: Vertices, times: NDArray[np.float64]) -> Vertices:
    """Vertices [K, V, 3] at times [K] of 0 to 1 between those of both ends [2, V, 3]."""
    weight = times[:, None, None]
    blended = (1 - weight) * flow.forward(ends[0], times) + weight * flow.backward(ends[1], times)
    return blended.astype(np.float32)
