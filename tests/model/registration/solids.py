"""A solid that bends and moves by a formula, points of it, and its surface as `extract` would return it."""

from collections.abc import Callable

import numpy as np
import trimesh

from model.compiled import Floats, Ints
from model.registration.clouds import canonical


def solid(subdivisions: int = 4) -> tuple[Floats, Ints]:
    """Vertices and faces of a long body with a flat, uneven cross-section, about 1 long."""
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    x, y, z = np.asarray(sphere.vertices, dtype=float).T
    thick = 1 + 0.3 * np.sin(5 * x)
    return np.stack([0.5 * x, 0.12 * y * thick, 0.08 * z * thick * (1 + 0.4 * y)], 1), np.asarray(
        sphere.faces, np.int64
    )


def bend(points: Floats, phase: float) -> Floats:
    """Roll the long axis up by 1.2 rad at phase 1 and shift the body by half its length."""
    x, y, z = points.T
    curvature = 1.2 * phase + 1e-9
    angle = curvature * x
    along, up = np.sin(angle) * (1 / curvature - y), (1 - np.cos(angle)) / curvature + y * np.cos(angle)
    return np.stack([along + 0.5 * phase, up, z], 1)


def sequence(
    frames: int, count: int, noise: float = 0.001, last: float = 1.0
) -> tuple[list[Floats], Floats, Ints]:
    """Clouds of `count` points, sampled anew each frame; vertices [T, V, 3] by the formula, and faces."""
    rest, faces = solid()
    vertices = np.stack([bend(rest, phase) for phase in np.linspace(0, last, frames)])
    rng = np.random.default_rng(5)
    return [draw(v, faces, count, rng) + rng.normal(0, noise, (count, 3)) for v in vertices], vertices, faces


def draw(vertices: Floats, faces: Ints, count: int, rng: np.random.Generator) -> Floats:
    """Points [count, 3] of a mesh, uniform by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(faces), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    return a[face] + u * (b - a)[face] + v * (c - a)[face]


def seen_from_above(vertices: Floats, faces: Ints) -> Ints:
    """The faces [F, 3] of a mesh that face +z."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return faces[np.cross(b - a, c - a)[:, 2] > 0]


def exact(clouds: list[Floats], vertices: Floats, faces: Ints) -> Callable[[Floats], tuple[Floats, Ints]]:
    """An `extract` that recognizes the frame, in whatever position and size, and returns its true surface."""
    known = [canonical(c) for c in clouds]

    def extract(points: Floats) -> tuple[Floats, Ints]:
        for mesh, cloud in zip(vertices, known, strict=True):
            if len(cloud) != len(points):
                continue
            a, b = cloud - cloud.mean(0), points - points.mean(0)
            size = np.sqrt((b**2).sum() / (a**2).sum())
            if np.abs(a * size - b).max() < 1e-9:
                return (mesh - cloud.mean(0)) * size + points.mean(0), faces
        raise AssertionError("points of no known frame")

    return extract
