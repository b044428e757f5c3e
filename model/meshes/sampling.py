"""Points on a moving surface: row j is the same particle in every frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfacePoints:
    """Particles fixed to the triangles of a mesh."""

    corners: NDArray[np.integer]  # [N, 3], vertex numbers of the triangle of each particle
    weights: Floats  # [N, 3], barycentric coordinates, rows sum to 1

    def on(self, vertices: Floats) -> Floats:
        """Where the particles are: vertices [..., V, 3] → points [..., N, 3]."""
        points: Floats = np.einsum("...nkx,nk->...nx", vertices[..., self.corners, :], self.weights)
        return points


class Surface:
    """A mesh of vertices [V, 3] and faces [F, 3] to draw particles from, more than once."""

    def __init__(self, vertices: Floats, faces: NDArray[np.integer]) -> None:
        self.faces = faces
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        self.normals = np.cross(b - a, c - a)  # [F, 3], as long as twice the area
        areas = np.linalg.norm(self.normals, axis=1)
        self._cumulative = np.cumsum(areas / areas.sum())

    def draw(self, count: int, rng: np.random.Generator) -> SurfacePoints:
        """`count` particles, uniform by area."""
        chosen = np.searchsorted(self._cumulative / self._cumulative[-1], rng.random(count), side="right")
        # Folding the unit square onto the triangle below its diagonal keeps the density uniform.
        u, v = rng.random((2, count))
        u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
        return SurfacePoints(corners=self.faces[chosen], weights=np.stack([1 - u - v, u, v], axis=1))


def draw_surface_points(
    vertices: Floats, faces: NDArray[np.integer], count: int, rng: np.random.Generator
) -> SurfacePoints:
    """`count` particles, uniform by area on the mesh of these vertices [V, 3] and faces [F, 3]."""
    return Surface(vertices, faces).draw(count, rng)
