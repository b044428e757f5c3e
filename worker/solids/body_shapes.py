"""Posed human bodies as shapes to learn occupancy from, as arrays."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from model.meshes.sampling import Surface, face_normals
from worker.bodies.scenes import HELD_OUT_ADULTS, TRAINING_ADULTS, Scenes
from worker.data.inside import inside
from worker.solids.surfaces import BOX, NEAR_SHARE, OFFSETS, Shapes

Arrays = dict[str, NDArray[np.generic]]


def draw_body(
    rng: np.random.Generator,
    points: int,
    queries: int,
    held_out: bool = False,
    near_share: float = NEAR_SHARE,
    offsets: tuple[float, float] = OFFSETS,
) -> Arrays:
    """The fields of `Shapes` for one body, in the box of its frame: [points, 3], …, [queries]."""
    scenes = _scenes(held_out)
    vertices = scenes.draw_milder(rng, 1).vertices[0]  # [V, 3]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices = (vertices - (low + high) / 2) / (high - low).max()
    surface = Surface(vertices, scenes.rig.faces)
    near = round(near_share * queries)
    drawn = surface.draw(points + near, rng)
    places = drawn.on(vertices)
    normals = face_normals(vertices, drawn.corners[:points])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    sizes = np.exp(rng.uniform(np.log(offsets[0]), np.log(offsets[1]), (near, 1)))
    close = places[points:] + sizes * rng.normal(0, 1, (near, 3))
    around = np.concatenate([close, BOX * rng.uniform(-0.5, 0.5, (queries - near, 3))])
    return {
        "surface": places[:points].astype(np.float32),
        "normals": normals.astype(np.float32),
        "queries": around.astype(np.float32),
        "occupied": inside(vertices, surface.faces, around),
    }


def stack(bodies: list[Arrays]) -> Shapes:
    return Shapes(**{name: torch.from_numpy(np.stack([body[name] for body in bodies])) for name in bodies[0]})


@cache
def _scenes(held_out: bool) -> Scenes:
    return Scenes(HELD_OUT_ADULTS if held_out else TRAINING_ADULTS, variety=1.0, turn=30.0)
