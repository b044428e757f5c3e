"""The compiled loops of registration in plain numpy, slow and easy to read.

Tests compare what is used with it. Matrices are [6 M, 6 M] for M nodes, right sides [6 M].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from model.compiled import Floats, Ints
from model.registration.cholesky import SLACK, Structure
from model.registration.clouds import nearest
from model.registration.descent import AVERAGED, BACK, BACKWARDS, CONVERGED, DAMPING, POINT, Pull, Surface
from model.registration.graph import APART, Motion, edge_lengths
from model.registration.products import SIZE


def cross_matrices(vectors: Floats) -> Floats:
    """[v]× [N, 3, 3] of vectors [N, 3]: [v]× w = v × w."""
    result = np.zeros((len(vectors), 3, 3))
    result[:, [2, 0, 1], [1, 2, 0]] = vectors
    result[:, [1, 2, 0], [2, 0, 1]] = -vectors
    return result


def rotation_matrices(vectors: Floats) -> Floats:
    """Rotations [..., 3, 3] about vectors [..., 3] by their lengths in radians (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None] + 1e-12
    turn = np.zeros((*vectors.shape, 3))
    turn[..., [2, 0, 1], [1, 2, 0]] = vectors
    turn[..., [1, 2, 0], [2, 0, 1]] = -vectors
    result: Floats = np.eye(3) + np.sin(angle) / angle * turn + (1 - np.cos(angle)) / angle**2 * (turn @ turn)
    return result


def pulls(
    count: int, chosen: Ints, residuals: Floats, directions: Floats, plane: Floats, point: Floats
) -> tuple[Floats, Floats]:
    """Metric [S, 3, 3] and force [S, 3] of Σ_o rᵀ (plane nnᵀ + point I) r on S = `count` samples.

    Observation o says that the sample chosen[o] is off by residuals[o] [3], across n = directions[o].
    """
    metric, force = np.zeros((count, 3, 3)), np.zeros((count, 3))
    each = plane[:, None, None] * directions[:, :, None] * directions[:, None] + point[
        :, None, None
    ] * np.eye(3)
    np.add.at(metric, chosen, each)
    np.add.at(force, chosen, np.einsum("oxy,oy->ox", each, residuals))
    return metric, force


def samples(
    count: int, nodes: Ints, weights: Floats, arms: Floats, metric: Floats, force: Floats
) -> tuple[Floats, Floats]:
    """H and minus the gradient of Σ_s rᵀ metric r, M = `count` nodes."""
    jacobian = np.zeros((len(nodes), 3, 6 * count))
    for s in range(len(nodes)):
        for n, w, turn in zip(nodes[s], weights[s], cross_matrices(arms[s]), strict=True):
            jacobian[s, :, 6 * n : 6 * n + 3] += -w * turn
            jacobian[s, :, 6 * n + 3 : 6 * n + 6] += w * np.eye(3)
    return np.einsum("sxi,sxj->ij", jacobian, metric @ jacobian), -np.einsum("sxi,sx->i", jacobian, force)


def edges(
    pairs: Ints, rest: Floats, rotations: Floats, positions: Floats, stiffness: Floats
) -> tuple[Floats, Floats]:
    """H and minus the gradient of Σ_e stiffness |R_i (g_j - g_i) + p_i - p_j|²."""
    i, j = pairs.T
    arms = np.einsum("exy,ey->ex", rotations[i], rest[j] - rest[i])
    residuals = arms + positions[i] - positions[j]
    jacobian = np.zeros((len(pairs), 3, 6 * len(rest)))
    for e, turn in enumerate(cross_matrices(arms)):
        jacobian[e, :, 6 * i[e] : 6 * i[e] + 3] = -turn
        jacobian[e, :, 6 * i[e] + 3 : 6 * i[e] + 6] = np.eye(3)
        jacobian[e, :, 6 * j[e] + 3 : 6 * j[e] + 6] = -np.eye(3)
    weighted = stiffness[:, None, None] * jacobian
    return np.einsum("exi,exj->ij", jacobian, weighted), -np.einsum("exi,ex->i", weighted, residuals)


def dense(blocks: Floats, of: Structure) -> Floats:
    """The symmetric matrix whose upper half is stored in blocks."""
    count = len(of.starts) - 1
    rows, columns = np.nonzero(of.lookup >= 0)
    table = np.zeros((count, SIZE, count, SIZE))
    table[rows, :, columns] = blocks[of.lookup[rows, columns], :, :SIZE]
    upper = np.triu(table.reshape(SIZE * count, SIZE * count))
    return np.asarray(upper + np.triu(upper, 1).T)


def descend(surface: Surface, points: Floats, pull: Pull, motion: Motion) -> Motion:
    """The same as `descent.descend`."""
    rotations, positions = motion
    count, few = len(surface.rest), len(pull.goals)
    for _ in range(pull.rounds):
        turns, weights = rotations[surface.nodes], surface.weights[..., None]  # [S, K, 3, 3], [S, K, 1]
        arms = np.einsum("skxy,sky->skx", turns, surface.points[:, None] - surface.rest[surface.nodes])
        moved = (weights * (arms + positions[surface.nodes])).sum(1)  # [S, 3]
        normals = (weights * np.einsum("skxy,sy->skx", turns, surface.normals)).sum(1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        i, j = surface.edges.T
        way = np.einsum("exy,ey->ex", rotations[i], surface.rest[j] - surface.rest[i])
        bent = ((way + positions[i] - positions[j]) ** 2).sum(1)
        stiffness = surface.rigidity * surface.yielding / np.sqrt(bent + surface.yielding**2)
        stiffness *= pull.stiffness / len(surface.edges)
        matrix, right = edges(surface.edges, surface.rest, rotations, positions, stiffness)
        found: list[tuple[Any, ...]] = []  # observations, as for `pulls`
        if pull.reach:
            distance, chosen = nearest(cKDTree(moved), points)
            gap, normal = moved[chosen] - points, normals[chosen]
            plane = (distance < pull.reach) / np.maximum(1, np.abs((gap * normal).sum(1)) / pull.scale)
            found.append((chosen, gap, normal, plane / len(points), POINT * plane / len(points)))
        if pull.reach and pull.seen.any():
            distance, chosen = nearest(cKDTree(points), moved[:BACK], AVERAGED)
            gap, normal = moved[:BACK] - points[chosen].mean(1), normals[:BACK]
            plane = (distance[:, 0] < pull.reach) / np.maximum(1, np.abs((gap * normal).sum(1)) / pull.scale)
            plane *= pull.seen[:BACK] * BACKWARDS / len(gap)
            found.append((np.arange(len(gap)), gap, normal, plane, np.zeros(len(gap))))
        found.append((np.arange(few), moved[:few] - pull.goals, normals[:few], np.zeros(few), pull.weights))
        metric, force = pulls(len(moved), *(np.concatenate(parts) for parts in zip(*found, strict=True)))
        of_samples = samples(count, surface.nodes, surface.weights, arms, metric, force)
        matrix, right = matrix + of_samples[0], right + of_samples[1]
        off = ((positions - pull.expected) ** 2).sum(1) / pull.slack**2  # [M]
        held = np.repeat(pull.hold / (1 + off), SIZE) * np.tile([0.0] * 3 + [1.0] * 3, count)
        toward = np.concatenate([np.zeros_like(positions), pull.expected - positions], axis=1)
        matrix += np.diag(held + DAMPING)
        step = np.linalg.solve(matrix, right + held * toward.ravel()).reshape(count, SIZE)
        rotations = rotation_matrices(step[:, :3]) @ rotations
        positions = positions + step[:, 3:]
        if np.abs(step[:, 3:]).max() < CONVERGED * pull.reach:
            break
    return Motion(rotations, positions)


def transport_targets(
    source: Floats,
    source_masses: Floats,
    target: Floats,
    target_masses: Floats,
    blur: float,
    reach: tuple[float, float],
    rounds: int,
) -> tuple[Floats, Floats]:
    """The same as `transport.transport_targets`, in double precision."""
    squared = ((source[:, None] - target[None]) ** 2).sum(-1)  # [A, B]
    kernel = np.exp(-squared / (2 * blur**2)) + 1e-200
    give, take = (r**2 / (r**2 + blur**2) for r in reach)
    left, right = np.ones(len(source)), np.ones(len(target))
    for _ in range(rounds):
        right = (target_masses / (kernel.T @ left)) ** take
        left = (source_masses / (kernel @ right)) ** give
    plan = left[:, None] * kernel * right
    mass = plan.sum(1)
    return plan @ target / mass[:, None], np.minimum(mass / source_masses, 1.0)


def nearest_nodes(
    vertices: Floats, faces: Ints, chosen: Ints, count: int, limit: float
) -> tuple[Floats, Ints]:
    """Distances and numbers [V, count] of the nodes nearest to each vertex, by shortest paths from each node.

    Those more than `limit` away count as `APART` more than in a straight line.
    """
    links = edge_lengths(vertices, faces)
    along = dijkstra(links, indices=chosen, limit=limit).T  # [V, M]
    every = np.where(np.isinf(along), APART + cdist(vertices, vertices[chosen]), along)
    nearest = np.argsort(every, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(every, nearest, axis=1), nearest


def elimination_order(linked: NDArray[np.bool_]) -> Ints:
    """An order of nodes with a symmetric structure [M, M] in which each leaves few new entries: [M]."""
    left = linked.copy()
    np.fill_diagonal(left, False)
    alive = np.ones(len(left), bool)
    order = np.empty(len(left), np.int64)
    for number in range(len(left)):
        degree = left.sum(axis=1)
        few = np.flatnonzero(alive & (degree <= degree[alive].min() + SLACK))
        beside = [np.flatnonzero(left[node]) for node in few]
        fills = [len(near) * (len(near) - 1) - left[np.ix_(near, near)].sum() for near in beside]
        best = int(np.argmin(fills))
        node, near = few[best], beside[best]
        left[np.ix_(near, near)] = True
        left[near, near] = False
        left[node] = left[:, node] = alive[node] = False
        order[number] = node
    return order


def structure(linked: NDArray[np.bool_]) -> Structure:
    """The factor of matrices with entries where `linked` [M, M] is true, nodes in elimination order."""
    filled = linked | np.eye(len(linked), dtype=bool)
    beside: list[Ints] = []
    for row in range(len(linked)):
        columns = row + np.flatnonzero(filled[row, row:])
        filled[np.ix_(columns, columns)] = True
        beside.append(columns)
    lengths = [len(columns) for columns in beside]
    lookup = np.full(linked.shape, -1)
    columns = np.concatenate(beside)
    lookup[np.repeat(np.arange(len(linked)), lengths), columns] = np.arange(len(columns))
    pairs = [lookup[np.ix_(c[1:], c[1:])].T[np.tril_indices(len(c) - 1)] for c in beside]
    return Structure(np.cumsum([0, *lengths]), columns, np.concatenate(pairs), lookup)


def laid(points: Floats, cloud: Floats, rounds: int, trimmed: float) -> tuple[float, Floats]:
    """Points [N, 3] moved onto a cloud [M, 3] as one: mean distance of the nearest share; where (SVD)."""
    tree, kept = cKDTree(cloud), int(trimmed * len(points))
    for _ in range(rounds):
        distance, index = nearest(tree, points)
        near = np.argsort(distance)[:kept]
        before, after = points[near], cloud[index[near]]
        u, _, v = np.linalg.svd((after - after.mean(axis=0)).T @ (before - before.mean(axis=0)))
        turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        points = (points - before.mean(axis=0)) @ turn.T + after.mean(axis=0)
    return float(np.sort(nearest(tree, points)[0])[:kept].mean()), points
