"""Topological properties of meshes."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def is_closed(faces: NDArray[np.integer]) -> bool:
    """Whether every edge of faces [F, 3] belongs to exactly two faces of consistent orientation."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)  # [3F, 2]
    count = int(faces.max()) + 1
    forward = np.sort(edges[:, 0] * count + edges[:, 1])
    backward = np.sort(edges[:, 1] * count + edges[:, 0])
    # No directed edge occurs twice, and each occurs in both directions.
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def connected_parts(linked: NDArray[np.integer], count: int) -> NDArray[np.integer]:
    """The number of the part that each of `count` vertices belongs to: [V].

    Vertices of a row of `linked`, faces [F, 3] or edges [E, 2], are in one part; a vertex that is in none
    is a part of its own.
    """
    ends = (linked[:, :-1].ravel(), linked[:, 1:].ravel())
    links = coo_array((np.ones(len(ends[0])), ends), shape=(count, count))
    part: NDArray[np.integer] = connected_components(links, directed=False)[1]
    return part
