"""Normals of a mesh in motion, all frames at once: the faces around a vertex are the same in each."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

FRAMES = 16  # together: bounds the memory
UP = np.array([0.0, 1.0, 0.0], np.float32)


def vertex_normals(frames: NDArray[np.float32], faces: NDArray[np.integer]) -> NDArray[np.float32]:
    """Unit normals [T, V, 3] of frames [T, V, 3], the area-weighted mean of the faces [F, 3] around a vertex.

    +y where there is no face, or none with an area.
    """
    corner, count = faces.ravel(), frames.shape[1]  # [3 F]
    owner = np.arange(len(corner)) // 3
    around = csr_array((np.ones(len(corner), np.float32), (corner, owner)), (count, len(faces)))
    normals = np.empty(frames.shape, np.float32)
    for start in range(0, len(frames), FRAMES):
        places = np.ascontiguousarray(frames[start : start + FRAMES].transpose(1, 2, 0))  # [V, 3, T']
        first = places[faces[:, 0]]  # [F, 3, T']
        area = _cross(places[faces[:, 1]] - first, places[faces[:, 2]] - first)  # twice the area long
        sums = (around @ area.reshape(len(faces), -1)).reshape(places.shape)  # [V, 3, T']
        length = np.sqrt(np.einsum("vit,vit->vt", sums, sums))[:, None]  # [V, 1, T']
        usual = length > 0
        unit = np.where(usual, sums / np.where(usual, length, 1), UP[:, None])
        normals[start : start + FRAMES] = unit.transpose(2, 0, 1)
    return normals


def _cross(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cross products of [F, 3, T], along the middle axis."""
    product = np.empty_like(a)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        product[:, i] = a[:, j] * b[:, k] - a[:, k] * b[:, j]
    return product
