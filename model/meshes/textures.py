"""A texture of a moving mesh, baked from the colors of points, on an atlas by xatlas."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

PER_TEXEL = 2.0  # samples along a texel's side
GUTTER = 2  # texels between charts


@dataclass(frozen=True, eq=False)
class Texture:
    """An image and where it belongs. Vertices are split at seams: vertex i is `origin[i]` of the mesh."""

    image: NDArray[np.uint8]  # [S, S, 3], sRGB, the first row at v = 0
    uv: NDArray[np.float32]  # [U, 2], from 0 to 1
    origin: NDArray[np.int64]  # [U]
    faces: NDArray[np.int32]  # [F, 3], of split vertices


def bake(
    vertices: NDArray[np.float64],
    faces: NDArray[np.integer],
    size: int,
    color: Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.uint8]],
) -> Texture:
    """A texture of `size` texels a side for vertices [V, 3] and faces [F, 3].

    `color` maps places on the surface, as corners [P, 3] and barycentric weights [P, 3], to colors [P, 3].
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(np.asarray(vertices - vertices.mean(axis=0), np.float32), faces.astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.padding, packing.resolution = GUTTER, size
    packing.bruteForce = False
    atlas.generate(pack_options=packing)
    origin, split_faces, uv = atlas[0]
    texels, corners, weights = _samples(uv, split_faces, faces, size)
    image = np.zeros((size * size, 3), np.uint8)
    image[texels] = color(corners, weights)
    empty = np.ones(size * size, bool)
    empty[texels] = False
    nearest = distance_transform_edt(
        empty.reshape(size, size), return_distances=False, return_indices=True
    )  # [2, S, S]
    image = image.reshape(size, size, 3)[nearest[0], nearest[1]]
    return Texture(image, uv.astype(np.float32), origin.astype(np.int64), split_faces.astype(np.int32))


def _samples(
    uv: NDArray[np.floating], split_faces: NDArray[np.integer], faces: NDArray[np.integer], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Covered texels [P], and the place of each on the mesh: corners [P, 3] and weights [P, 3]."""
    corners_uv = uv[split_faces].astype(np.float64) * size  # [F, 3, 2], in texels
    longest = np.linalg.norm(corners_uv - np.roll(corners_uv, 1, axis=1), axis=2).max(axis=1)
    steps = np.maximum(1, np.ceil(PER_TEXEL * longest)).astype(int)  # [F]
    texels, owners, weights = [], [], []
    for count in np.unique(steps):
        rows = np.flatnonzero(steps == count)
        a, b = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
        inside = a + b <= count
        grid = np.stack([a[inside], b[inside], count - a[inside] - b[inside]], axis=1) / count  # [G, 3]
        places = np.einsum("gk,fkx->fgx", grid, corners_uv[rows])
        column, row = np.clip(places.astype(int), 0, size - 1).transpose(2, 0, 1)  # [f, G] each
        texels.append((row * size + column).ravel())
        owners.append(np.repeat(rows, len(grid)))
        weights.append(np.tile(grid, (len(rows), 1)))
    found, first = np.unique(np.concatenate(texels), return_index=True)
    return found, faces[np.concatenate(owners)[first]].astype(np.int64), np.concatenate(weights)[first]
