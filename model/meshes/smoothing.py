"""Smoothing of a moving mesh that keeps its size (Taubin 1995)."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from model.canceling import cancelable

INWARD, OUTWARD = 0.5, -0.53  # shares of the way to the neighbors' mean, in turn


def smooth(vertices: NDArray[np.float64], faces: NDArray[np.integer], passes: int) -> NDArray[np.float64]:
    """Vertices [T, V, 3] after that many passes in each frame, each of which removes bumps of an edge or two.

    A pass moves vertices towards the mean of their neighbors and then back outwards, which leaves large
    forms as they are. Vertices on a boundary stay in place.
    """
    count = vertices.shape[1]
    sides = faces[:, [0, 1, 1, 2, 2, 0, 1, 0, 2, 1, 0, 2]].reshape(-1, 2)
    joined = csr_array((np.ones(len(sides)), (sides[:, 0], sides[:, 1])), (count, count))
    inner = np.ones(count, bool)
    inner[joined.nonzero()[0][joined.data == 1]] = False  # an edge of one face
    joined.data[:] = 1
    neighbors: NDArray[np.float64] = np.asarray(joined.sum(axis=1)).ravel()
    inner &= neighbors > 0
    weights = np.repeat(np.where(inner, 1 / np.maximum(neighbors, 1), 0), np.diff(joined.indptr))
    towards = csr_array((weights, joined.indices, joined.indptr), (count, count))
    towards = towards - csr_array(eye_array(count)) * inner  # [V, V]
    moved = vertices.transpose(1, 0, 2).reshape(count, -1)  # [V, 3 T]
    for share in cancelable((INWARD, OUTWARD) * passes):
        moved = moved + share * (towards @ moved)
    return np.ascontiguousarray(moved.reshape(count, len(vertices), 3).transpose(1, 0, 2))
