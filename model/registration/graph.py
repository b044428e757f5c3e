"""Embedded deformation: few nodes, each with a rotation and a position, carry a surface with them.

After Sumner, Schmid and Pauly, "Embedded Deformation for Shape Manipulation" (SIGGRAPH 2007), with weights by
distance along the surface, so that parts that only come close stay apart.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from model.compiled import Floats, Ints
from model.meshes import normals
from model.registration import kernels
from model.registration.cholesky import Structure, elimination_order, structure

BLENDED = 4  # nodes that carry a point
NEIGHBORS = 8  # nodes that a node is held to
APART = 1e3  # added to distances between parts that no edge joins


class Motion(NamedTuple):
    """Where the nodes are: x ↦ R (x - g) + p around each node of rest position g."""

    rotations: Floats  # [M, 3, 3]
    positions: Floats  # [M, 3]


class Moved(NamedTuple):
    """Points of a skin after a motion."""

    points: Floats  # [S, 3]
    normals: Floats  # [S, 3]
    arms: Floats  # [S, K, 3], R_k (x - g_k)


@dataclass(frozen=True)
class Skin:
    """Points and normals [S, 3] of the resting surface, and the nodes and weights [S, K] that carry them."""

    points: Floats
    normals: Floats
    nodes: Ints
    weights: Floats

    def __getitem__(self, chosen: Ints) -> "Skin":
        return Skin(self.points[chosen], self.normals[chosen], self.nodes[chosen], self.weights[chosen])


@dataclass(frozen=True)
class Graph:
    """Nodes on a resting surface, in the order in which they are eliminated from the normal equations."""

    rest: Floats  # [M, 3]
    edges: Ints  # [E, 2], both directions
    skin: Skin  # the vertices of the surface
    structure: Structure  # of the normal equations
    vertices: Ints  # [M], the vertices that the nodes are

    def still(self) -> Motion:
        return Motion(np.tile(np.eye(3), (len(self.rest), 1, 1)), self.rest.copy())

    def move(self, skin: Skin, motion: Motion) -> Moved:
        return Moved(*kernels.blend(skin.nodes, skin.weights, skin.points, skin.normals, self.rest, *motion))

    def stretch(self, motion: Motion) -> Floats:
        """Residuals [E, 3] of the edges: where the node at i expects the node at j, less where it is."""
        result: Floats = kernels.stretch(self.edges, self.rest, *motion)
        return result


def nearest_rotations(matrices: Floats) -> Floats:
    """The rotations nearest to matrices [..., 3, 3]."""
    u, _, v = np.linalg.svd(matrices)
    u[..., -1] *= np.sign(np.linalg.det(u @ v))[..., None]
    result: Floats = u @ v
    return result


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals [V, 3] of one mesh."""
    result: Floats = normals.vertex_normals(vertices[None].astype(np.float32), faces)[0].astype(np.float64)
    return result


def build_graph(vertices: Floats, faces: Ints, chosen: Ints) -> Graph:
    """A graph on a mesh of vertices [V, 3] and faces [F, 3] whose nodes are the vertices `chosen` [M]."""
    nodes = len(chosen)
    distance = surface_distances(vertices, faces, chosen)  # [M, V]
    skin_nodes, weights = blend_weights(distance)
    pairs = node_edges(distance[:, chosen])
    linked = np.zeros((nodes, nodes), dtype=bool)
    linked[pairs[:, 0], pairs[:, 1]] = True
    for column in skin_nodes.T:  # nodes that carry a point together
        linked[skin_nodes, column[:, None]] = True
    order = elimination_order(linked)
    rank = np.argsort(order)  # old number → new number
    skin = Skin(vertices, vertex_normals(vertices, faces), np.ascontiguousarray(rank[skin_nodes]), weights)
    return Graph(
        vertices[chosen[order]],
        np.ascontiguousarray(rank[pairs]),
        skin,
        structure(linked[np.ix_(order, order)]),
        chosen[order],
    )


def surface_distances(vertices: Floats, faces: Ints, sources: Ints) -> Floats:
    """Distances [M, V] along the edges of the mesh; what is not joined, or far, is `APART` or more away."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    length = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
    shape = (len(vertices), len(vertices))
    links = coo_array((length, (ends[:, 0], ends[:, 1])), shape=shape).tocsr()
    count = np.maximum(coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape).tocsr().data, 1)
    links.data /= count
    spacing = np.sqrt(_area(vertices, faces) / len(sources))
    result: Floats = dijkstra(links, directed=False, indices=sources, limit=4 * spacing)
    # Where enough nodes are near, it does not matter how far the others are.
    far = np.isinf(result)
    scarce = far.sum(axis=0) >= len(sources) - BLENDED
    scarce[sources] = True
    few = np.flatnonzero(scarce)
    result[:, few] = np.where(far[:, few], APART + cdist(vertices[sources], vertices[few]), result[:, few])
    return result


def _area(vertices: Floats, faces: Ints) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def blend_weights(distance: Floats) -> tuple[Ints, Floats]:
    """Nodes and weights [V, K] from distances [M, V]; the weight falls to zero at the first node left out."""
    k = min(BLENDED, len(distance))
    reach = min(k, len(distance) - 1)
    nearest = np.argpartition(distance, reach, axis=0)[: reach + 1]
    near = np.take_along_axis(distance, nearest, 0)
    sort = np.argsort(near, axis=0, kind="stable")
    nearest, near = np.take_along_axis(nearest, sort, 0), np.take_along_axis(near, sort, 0)
    weights = (1 - near[:k] / (near[-1] + 1e-9)) ** 2 + 1e-6
    return np.ascontiguousarray(nearest[:k].T), np.ascontiguousarray((weights / weights.sum(0)).T)


def node_edges(distance: Floats) -> Ints:
    """Pairs [E, 2], both directions, of every node and its nearest ones by distances [M, M]."""
    m = len(distance)
    apart = distance + np.where(np.eye(m, dtype=bool), np.inf, 0.0)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, : min(NEIGHBORS, m - 1)]
    i, j = np.repeat(np.arange(m), nearest.shape[1]), nearest.ravel()
    both = np.concatenate([np.stack([i, j], 1), np.stack([j, i], 1)])
    return np.unique(both, axis=0)
