"""Vertex normals of a mesh sequence, vectorized over frames."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

CHUNK_SIZE = 16  # frames processed together; bounds the memory
UP = np.array([0.0, 1.0, 0.0], np.float32)


def vertex_normals(frames: NDArray[np.float32], faces: NDArray[np.integer]) -> NDArray[np.float32]:
    """Unit normals [T, V, 3] of frames [T, V, 3]: the area-weighted mean over adjacent faces [F, 3].

    +y for vertices without adjacent faces of nonzero area.
    """
    corner, count = faces.ravel(), frames.shape[1]  # [3 F]
    owner = np.arange(len(corner)) // 3
    around = csr_array((np.ones(len(corner), np.float32), (corner, owner)), (count, len(faces)))
    normals = np.empty(frames.shape, np.float32)
    for start in range(0, len(frames), CHUNK_SIZE):
        places = np.ascontiguousarray(frames[start : start + CHUNK_SIZE].transpose(1, 2, 0))  # [V, 3, T']
        first = places[faces[:, 0]]  # [F, 3, T']
        area = _cross(places[faces[:, 1]] - first, places[faces[:, 2]] - first)  # of length twice the area
        sums = (around @ area.reshape(len(faces), -1)).reshape(places.shape)  # [V, 3, T']
        length = np.sqrt(np.einsum("vit,vit->vt", sums, sums))[:, None]  # [V, 1, T']
        valid = length > 0
        unit = np.where(valid, sums / np.where(valid, length, 1), UP[:, None])
        normals[start : start + CHUNK_SIZE] = unit.transpose(2, 0, 1)
    return normals


def _cross(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cross products of [F, 3, T], along the middle axis."""
    product = np.empty_like(a)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        product[:, i] = a[:, j] * b[:, k] - a[:, k] * b[:, j]
    return product
