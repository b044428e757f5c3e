"""Holes of meshes, closed by a fan around their middle."""

import numpy as np
from numpy.typing import NDArray


def fill_holes(
    vertices: NDArray[np.float64], faces: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Vertices [T, V + H, 3] and faces of a mesh whose H holes are closed, and H.

    The boundary of a hole is joined to a new vertex, the mean of its vertices in each frame. Boundaries that
    meet themselves in a vertex are left open.
    """
    holes = boundaries(faces)
    if not holes:
        return vertices, np.asarray(faces, np.int64), 0
    middles = np.stack([vertices[:, hole].mean(axis=1) for hole in holes], axis=1)  # [T, H, 3]
    fans = [
        np.stack([np.roll(hole, -1), hole, np.full(len(hole), vertices.shape[1] + number)], axis=1)
        for number, hole in enumerate(holes)
    ]
    closed = np.concatenate([np.asarray(faces, np.int64), *fans])
    return np.concatenate([vertices, middles], axis=1), closed, len(holes)


def boundaries(faces: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Closed loops of edges that belong to one face only, in the direction of that face, as vertices."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)  # [3 F, 2]
    count = int(faces.max()) + 1
    open_edges = edges[~np.isin(edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0])]
    starts, times = np.unique(open_edges[:, 0], return_counts=True)
    pinched = set(starts[times > 1].tolist())
    following = {start: end for start, end in open_edges.tolist() if start not in pinched}
    loops = []
    while following:
        first, at = following.popitem()
        loop = [first]
        while at in following:
            loop.append(at)
            at = following.pop(at)
        if at == first and len(loop) > 2:
            loops.append(np.array(loop))
    return loops
