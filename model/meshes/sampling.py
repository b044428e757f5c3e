"""Sampling of surfaces: row j is the same particle in every frame of a moving mesh."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfacePoints:
    """Particles fixed to the triangles of a mesh."""

    corners: NDArray[np.integer]  # [N, 3], vertex indices of the triangle of each particle
    weights: Floats  # [N, 3], barycentric coordinates, rows sum to 1

    def on(self, vertices: Floats) -> Floats:
        """Positions [..., N, 3] of the particles for vertices [..., V, 3]."""
        points: Floats = np.einsum("...nkx,nk->...nx", vertices[..., self.corners, :], self.weights)
        return points


def face_normals(vertices: Floats, faces: NDArray[np.integer]) -> Floats:
    """Normals [F, 3] of triangles [F, 3] of vertices [V, 3], each as long as twice the area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a))


class Surface:
    """A mesh of vertices [V, 3] and faces [F, 3], prepared for repeated sampling."""

    def __init__(self, vertices: Floats, faces: NDArray[np.integer]) -> None:
        self.faces = faces
        self.normals = face_normals(vertices, faces)  # [F, 3]
        areas = np.linalg.norm(self.normals, axis=1)
        self._cumulative = np.cumsum(areas / areas.sum())

    def draw(self, count: int, rng: np.random.Generator) -> SurfacePoints:
        """`count` particles, uniformly by area."""
        chosen = np.searchsorted(self._cumulative / self._cumulative[-1], rng.random(count), side="right")
        # Reflecting half of the unit square at its diagonal keeps the density uniform.
        u, v = rng.random((2, count))
        u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
        return SurfacePoints(corners=self.faces[chosen], weights=np.stack([1 - u - v, u, v], axis=1))


def draw_surface_points(
    vertices: Floats, faces: NDArray[np.integer], count: int, rng: np.random.Generator
) -> SurfacePoints:
    """`count` particles, uniformly by area, on a mesh of vertices [V, 3] and faces [F, 3]."""
    return Surface(vertices, faces).draw(count, rng)
