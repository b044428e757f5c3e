"""Topological properties of meshes."""

import numpy as np
from numpy.typing import NDArray


def is_closed(faces: NDArray[np.integer]) -> bool:
    """Whether every edge of faces [F, 3] belongs to exactly two faces of consistent orientation."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)  # [3F, 2]
    count = int(faces.max()) + 1
    forward = np.sort(edges[:, 0] * count + edges[:, 1])
    backward = np.sort(edges[:, 1] * count + edges[:, 0])
    # No directed edge occurs twice, and each occurs in both directions.
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))
