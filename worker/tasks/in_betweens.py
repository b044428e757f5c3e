"""`worker interpolate`: meshes between each two neighbours of a folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.meshes.sampling import draw_surface_points
from model.meshes.sequence import MeshSequence
from model.reconstruction.normalization import UnitBox
from worker.tasks.given_meshes import EndsFlow
from worker.tasks.interpolation import blend
from worker.tasks.loaded import LoadedModel
from worker.tasks.registered import RegisteredMeshes

RECORD = "interpolation.json"


@dataclass(frozen=True, eq=False)
class InBetweens:
    """All frames, the given ones as they are, and how good the flow was before it was blended."""

    vertices: NDArray[np.float64]  # [T, V, 3]
    misses: NDArray[np.float64]  # [K - 1], mean distance of the carried vertices from the next given ones
    sides: NDArray[np.float64]  # [K - 1], longest side of the box of the mesh that they came from


def in_betweens(
    model: LoadedModel, given: RegisteredMeshes, steps: int, on_pair: Callable[[], None] = lambda: None
) -> InBetweens:
    """`steps` meshes, evenly spaced in time, between each two neighbours. `on_pair` is called after each
    pair.
    """
    data, generation = model.config.data, model.config.generation
    rng = np.random.default_rng(generation.rand_seed)
    times = np.arange(1, steps + 2) / (steps + 1)  # the last is the next given mesh's
    frames, misses, sides = [given.vertices[:1]], [], []
    for pair in zip(given.vertices[:-1], given.vertices[1:], strict=True):
        ends = np.stack(pair)  # [2, V, 3]
        box = UnitBox.around(ends[0])
        clouds = draw_surface_points(ends[0], given.faces, data.input_pointcloud_n, rng).on(ends)  # [2, N, 3]
        flow, inside = EndsFlow(model, box.normalize(clouds)), box.normalize(ends)
        forward, backward = flow.forward(inside[0], times), flow.backward(inside[1], times[:-1])
        frames += [box.denormalize(blend(forward[:-1], backward, times[:-1])), ends[1:]]
        misses.append(box.scale * np.linalg.norm(forward[-1] - inside[1], axis=-1).mean())
        sides.append(box.scale)
        on_pair()
    return InBetweens(np.concatenate(frames), np.array(misses), np.array(sides))


def write_record(
    folder: Path,
    model: LoadedModel,
    given: RegisteredMeshes,
    steps: int,
    meshes: MeshSequence,
    made: InBetweens,
) -> None:
    """What the files beside it were made from."""
    record = {
        "made with": {"config": model.config.name, "checkpoint": model.checkpoint_sha256, "steps": steps},
        "given": {file.name: index * (steps + 1) for index, file in enumerate(given.files)},
        "times": meshes.times.tolist(),
        "misses": made.misses.tolist(),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
