"""Embedded deformation: few nodes, each with a rotation and a position, carry a surface with them.

After Sumner, Schmid and Pauly, "Embedded Deformation for Shape Manipulation" (SIGGRAPH 2007), with weights by
distance along the surface, so that parts that only come close stay apart.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial.distance import cdist

from model.compiled import Floats, Ints
from model.meshes import normals
from model.registration import kernels
from model.registration.cholesky import Structure, elimination_order, structure
from model.registration.geodesics import nearest_sources

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


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals [V, 3] of one mesh."""
    result: Floats = normals.vertex_normals(vertices[None].astype(np.float32), faces)[0].astype(np.float64)
    return result


def build_graph(vertices: Floats, faces: Ints, chosen: Ints) -> Graph:
    """A graph on a mesh of vertices [V, 3] and faces [F, 3] whose nodes are the vertices `chosen` [M]."""
    nodes = len(chosen)
    distance, nearest = nearest_nodes(vertices, faces, chosen)  # [V, K] each
    skin_nodes, weights = blend_weights(distance, nearest)
    pairs = node_edges(nearest[chosen])
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


def nearest_nodes(vertices: Floats, faces: Ints, chosen: Ints) -> tuple[Floats, Ints]:
    """Distances along the edges of a mesh, and numbers, of the nodes nearest to each vertex: [V, K] each.

    The nodes are the vertices `chosen` [M]. Where few are near, others that are not joined, or far, count as
    `APART` more than in a straight line.
    """
    links = edge_lengths(vertices, faces)
    spacing = np.sqrt(_area(vertices, faces) / len(chosen))
    wanted = min(max(BLENDED, NEIGHBORS) + 1, len(chosen))
    distance, nearest = nearest_sources(
        links.indptr.astype(np.int64), links.indices.astype(np.int64), links.data, chosen, wanted, 4 * spacing
    )
    needed = np.full(len(vertices), min(BLENDED + 1, wanted))
    needed[chosen] = wanted
    few = np.flatnonzero(np.isfinite(distance).sum(axis=1) < needed)
    every = APART + cdist(vertices[few], vertices[chosen])  # [F, M]
    row, place = np.nonzero(np.isfinite(distance[few]))
    every[row, nearest[few[row], place]] = distance[few[row], place]
    nearest[few] = np.argsort(every, axis=1, kind="stable")[:, :wanted]
    distance[few] = np.take_along_axis(every, nearest[few], axis=1)
    return distance, nearest


def edge_lengths(vertices: Floats, faces: Ints) -> csr_array:
    """Lengths [V, V] of the edges of a mesh, both directions."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    length = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
    shape = (len(vertices), len(vertices))
    links = coo_array((length, (ends[:, 0], ends[:, 1])), shape=shape).tocsr()
    count = np.maximum(coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape).tocsr().data, 1)
    links.data /= count
    return links.maximum(links.T).tocsr()


def _area(vertices: Floats, faces: Ints) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def blend_weights(distance: Floats, nearest: Ints) -> tuple[Ints, Floats]:
    """Nodes and weights [V, K] from those of `nearest_nodes`; a weight is zero at the first node left out."""
    k = min(BLENDED, distance.shape[1])
    reach = distance[:, [min(k, distance.shape[1] - 1)]]  # [V, 1]
    weights = (1 - distance[:, :k] / (reach + 1e-9)) ** 2 + 1e-6
    return np.ascontiguousarray(nearest[:, :k]), weights / weights.sum(axis=1, keepdims=True)


def node_edges(nearest: Ints) -> Ints:
    """Pairs [E, 2], both directions, of every node and those nearest to it [M, K], itself the first."""
    others = nearest[:, 1 : NEIGHBORS + 1]
    i, j = np.repeat(np.arange(len(others)), others.shape[1]), others.ravel()
    both = np.concatenate([np.stack([i, j], 1), np.stack([j, i], 1)])
    return np.unique(both, axis=0)
