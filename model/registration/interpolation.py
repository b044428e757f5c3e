"""A surface carried along by points with known paths: each place by the points next to it on the surface."""

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from model.canceling import cancelable
from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats, Ints
from model.registration.clouds import subset
from model.registration.geodesics import nearest_sources
from model.registration.neighbors import path_neighbors
from model.registration.rotations import nearest_rotations

NODES = 800  # paths that carry the surface; of more, an even selection
PATCH = 16  # neighbours whose motion a node takes its turn and stretch from
BLENDED = 8  # nodes that carry a vertex
ENTRIES = 3  # vertices through which a point reaches the surface
REACH = 4.0  # node spacings along the surface; beyond it straight distances count, as further away
STIFF = 0.1  # weight of the rotation in a patch's affine map: decides where the points leave it open
TOGETHER = 16  # frames that a surface is carried to by one product
CORE = 0.3  # node spacings within which a node's weight grows no more


class Carrier:
    """Paths [T, N, 3] of the points of one `frame`, that carry surfaces of it along.

    A point moves with its neighbours' affine map, regularised towards a rotation; neighbours are those that
    stay near in all frames. A vertex follows the points nearest along the surface, so an arm that touches
    the torso does not drag it.
    """

    def __init__(self, paths: Floats, frame: int) -> None:
        paths = np.asarray(paths, np.float64)
        nodes = subset(paths[frame], NODES)
        self._rest = paths[frame][nodes]  # [n, 3]
        maps = _affine_maps(paths, nodes, frame).transpose(0, 1, 3, 2)
        self._rows = np.concatenate([maps, paths[:, nodes, None]], axis=2)  # [T, n, 4, 3]

    def carry(self, vertices: Floats, faces: Ints) -> Floats:
        """Vertices [V, 3] of a surface in the frame, in all frames: [T, V, 3]."""
        index, weight = _blend(np.asarray(vertices, np.float64), faces, self._rest)  # [V, K]
        # x' = Σ w (A (x - p) + p') is linear in maps and places: one sparse matrix serves all frames.
        offset = vertices[:, None] - self._rest[index]  # [V, K, 3]
        values = weight[..., None] * np.concatenate([offset, np.ones((*index.shape, 1))], axis=2)  # [V, K, 4]
        columns = 4 * index[..., None] + np.arange(4)
        starts = np.arange(len(vertices) + 1) * values[0].size
        size = len(vertices), 4 * len(self._rest)
        blend = csr_matrix((values.ravel(), columns.ravel(), starts), shape=size)
        carried = np.empty((len(self._rows), len(vertices), 3))
        for first in cancelable(range(0, len(self._rows), TOGETHER)):
            rows = self._rows[first : first + TOGETHER]  # [t, n, 4, 3]
            columns = rows.transpose(1, 2, 0, 3).reshape(size[1], -1)  # [4 n, 3 t]
            moved = (blend @ columns).reshape(len(vertices), -1, 3)  # [V, t, 3]
            carried[first : first + TOGETHER] = moved.transpose(1, 0, 2)
        return carried


def carry_along(vertices: Floats, faces: Ints, paths: Floats, frame: int) -> Floats:
    """Vertices [V, 3] of a surface in one `frame`, carried along paths [T, N, 3] of its points: [T, V, 3]."""
    return Carrier(paths, frame).carry(vertices, faces)


def _affine_maps(paths: Floats, nodes: Ints, frame: int) -> Floats:
    """How the neighbourhood of each node turns and stretches from `frame` to all: [T, n, 3, 3]."""
    near = path_neighbors(paths, PATCH, nodes)
    weight = 1 / (near.distance**2 + (CORE * near.distance[:, :1]) ** 2 + 1e-30)  # [n, K]
    weight /= weight.sum(axis=1, keepdims=True)
    before = paths[frame][near.index] - paths[frame][nodes][:, None]  # [n, K, 3]
    moments = np.einsum("nk,nki,nkj->nij", weight, before, before)
    trace = np.trace(moments, axis1=1, axis2=2)[:, None, None]
    stiff = STIFF * trace / 3 * np.eye(3) + 1e-30 * np.eye(3)  # [n, 3, 3]
    inverse = np.linalg.inv(moments + stiff)
    maps = np.empty((len(paths), len(nodes), 3, 3))
    for number, cloud in enumerate(cancelable(paths)):
        after = cloud[near.index] - cloud[nodes][:, None]
        mixed = np.einsum("nk,nki,nkj->nij", weight, after, before)
        maps[number] = (mixed + nearest_rotations(mixed) @ stiff) @ inverse
    return maps


def _blend(vertices: Floats, faces: Ints, nodes: Floats) -> tuple[Ints, Floats]:
    """The nodes that carry each vertex, and their weights: [V, K] each."""
    count = min(BLENDED, len(nodes) - 1) + 1
    cells = sort_into_cells(nodes)
    straight, spaced = nearest_in_cells(cells, vertices, count, np.inf)  # [V, K + 1]
    spacing = float(np.median(nearest_in_cells(cells, nodes, 2, np.inf)[0][:, 1]))
    graph = _surface_graph(vertices, faces, nodes)
    reach = REACH * spacing
    along, surfaced = nearest_sources(
        graph.indptr.astype(np.int64), graph.indices.astype(np.int64), graph.data,
        len(vertices) + np.arange(len(nodes)), count, reach,
    )  # fmt: skip
    # Beyond reach on the surface the straight distance stands in, as further away.
    lengths = np.concatenate([straight + reach, along[: len(vertices)]], axis=1)  # [V, 2 (K + 1)]
    places = np.concatenate([spaced, surfaced[: len(vertices)]], axis=1)
    order = np.argsort(lengths, axis=1, kind="stable")[:, :count]
    distance, index = (np.take_along_axis(of, order, axis=1) for of in (lengths, places))  # [V, K + 1]
    weight = (1 - distance[:, :-1] / (distance[:, -1:] + 1e-30)) ** 2 + 1e-9
    weight /= distance[:, :-1] ** 2 + (CORE * spacing) ** 2
    index = index[:, :-1]
    return index, weight / weight.sum(axis=1, keepdims=True)


def _surface_graph(vertices: Floats, faces: Ints, nodes: Floats) -> csr_matrix:
    """Edges of the surface with their lengths, and of nodes (numbered after the vertices) to the nearest."""
    faces = np.asarray(faces, np.int64)
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    start, end = np.divmod(np.unique(sides.min(axis=1) * len(vertices) + sides.max(axis=1)), len(vertices))
    length = np.linalg.norm(vertices[start] - vertices[end], axis=1)
    near, entry = nearest_in_cells(sort_into_cells(vertices), nodes, ENTRIES, np.inf)  # [n, 3]
    node = len(vertices) + np.repeat(np.arange(len(nodes)), ENTRIES)
    size = len(vertices) + len(nodes)
    values = np.concatenate([length, length, near.ravel()]) + 1e-12  # a length of 0 would be no edge
    rows, columns = np.concatenate([start, end, node]), np.concatenate([end, start, entry.ravel()])
    return coo_matrix((values, (rows, columns)), shape=(size, size)).tocsr()
