"""Loops that numpy cannot express well, compiled: farthest points, blended motions, normal equations.

Every kernel takes contiguous float64 and int64 arrays, so that each is compiled once; `reference` has plain
twins.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on the first call; keep the machine code on disk where there is a place to write it."""
    relaxed = {"contract", "reassoc", "arcp", "nsz"}
    try:
        return numba.njit(cache=True, nogil=True, fastmath=relaxed)(function)
    except RuntimeError:  # a read-only installation without a home: compiled anew in each process
        return numba.njit(nogil=True, fastmath=relaxed)(function)


@compiled
def farthest_points(points: Floats, count: int, first: int) -> Ints:
    """Indices [count] of points [N, 3], each the farthest from those before it; `first` is the first one."""
    chosen = np.empty(count, np.int64)
    distance = np.full(len(points), np.inf)
    current = first
    for c in range(count):
        chosen[c] = current
        farthest, best = current, -1.0
        for i in range(len(points)):
            d = 0.0
            for x in range(3):
                d += (points[i, x] - points[current, x]) ** 2
            if d < distance[i]:
                distance[i] = d
            if distance[i] > best:
                best, farthest = distance[i], i
        current = farthest
    return chosen


@compiled
def blend(
    nodes: Ints,
    weights: Floats,
    points: Floats,
    normals: Floats,
    rest: Floats,
    rotations: Floats,
    positions: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Points and normals [S, 3] moved by their nodes [S, K]; and the arms R_k (x - g_k), [S, K, 3]."""
    samples, k = nodes.shape
    moved = np.zeros((samples, 3))
    turned = np.zeros((samples, 3))
    arms = np.empty((samples, k, 3))
    for s in range(samples):
        for c in range(k):
            n, w = nodes[s, c], weights[s, c]
            for x in range(3):
                arm, normal = 0.0, 0.0
                for y in range(3):
                    arm += rotations[n, x, y] * (points[s, y] - rest[n, y])
                    normal += rotations[n, x, y] * normals[s, y]
                arms[s, c, x] = arm
                moved[s, x] += w * (arm + positions[n, x])
                turned[s, x] += w * normal
        length = np.sqrt(turned[s, 0] ** 2 + turned[s, 1] ** 2 + turned[s, 2] ** 2) + 1e-12
        for x in range(3):
            turned[s, x] /= length
    return moved, turned, arms


@compiled
def add_observations(
    band: Floats,
    right: Floats,
    nodes: Ints,
    weights: Floats,
    arms: Floats,
    chosen: Ints,
    residuals: Floats,
    directions: Floats,
    plane: Floats,
    point: Floats,
) -> None:
    """Add Σ_o rᵀ (plane nnᵀ + point I) r to the normal equations, r the residual [3] of the sample chosen[o].

    `band` [6 M, B + 1] holds the lower half, band[j, i - j] = H[i, j]; `right` [6 M] is minus the gradient.
    The six unknowns of a node are a rotation vector, applied from the left, and a translation.
    """
    k = nodes.shape[1]
    jacobian = np.zeros((k, 3, 6))
    scaled = np.zeros((k, 3, 6))
    metric = np.zeros((3, 3))
    for o in range(len(chosen)):
        if plane[o] <= 0.0 and point[o] <= 0.0:
            continue
        s = chosen[o]
        for x in range(3):
            for y in range(3):
                metric[x, y] = plane[o] * directions[o, x] * directions[o, y]
            metric[x, x] += point[o]
        for c in range(k):
            w = weights[s, c]
            a0, a1, a2 = w * arms[s, c, 0], w * arms[s, c, 1], w * arms[s, c, 2]
            jacobian[c, 0, 1], jacobian[c, 0, 2] = a2, -a1
            jacobian[c, 1, 0], jacobian[c, 1, 2] = -a2, a0
            jacobian[c, 2, 0], jacobian[c, 2, 1] = a1, -a0
            for x in range(3):
                jacobian[c, x, 3 + x] = w
            for x in range(3):
                for u in range(6):
                    scaled[c, x, u] = (
                        metric[x, 0] * jacobian[c, 0, u]
                        + metric[x, 1] * jacobian[c, 1, u]
                        + metric[x, 2] * jacobian[c, 2, u]
                    )
        for c in range(k):
            i = 6 * nodes[s, c]
            for u in range(6):
                right[i + u] -= (
                    scaled[c, 0, u] * residuals[o, 0]
                    + scaled[c, 1, u] * residuals[o, 1]
                    + scaled[c, 2, u] * residuals[o, 2]
                )
            for d in range(k):
                j = 6 * nodes[s, d]
                if j > i:
                    continue
                for u in range(6):
                    for v in range(6 if j < i else u + 1):
                        band[j + v, i + u - j - v] += (
                            jacobian[c, 0, u] * scaled[d, 0, v]
                            + jacobian[c, 1, u] * scaled[d, 1, v]
                            + jacobian[c, 2, u] * scaled[d, 2, v]
                        )


@compiled
def add_edges(
    band: Floats,
    right: Floats,
    edges: Ints,
    rest: Floats,
    rotations: Floats,
    positions: Floats,
    stiffness: Floats,
) -> None:
    """Add Σ_e stiffness |R_i (g_j - g_i) + p_i - p_j|² over the edges [E, 2] from i to j."""
    jacobian = np.zeros((3, 12))
    arm = np.empty(3)
    residual = np.empty(3)
    for x in range(3):
        jacobian[x, 3 + x] = 1.0
        jacobian[x, 9 + x] = -1.0
    at = np.empty(12, np.int64)
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        for x in range(3):
            arm[x] = 0.0
            for y in range(3):
                arm[x] += rotations[i, x, y] * (rest[j, y] - rest[i, y])
            residual[x] = arm[x] + positions[i, x] - positions[j, x]
        jacobian[0, 1], jacobian[0, 2] = arm[2], -arm[1]
        jacobian[1, 0], jacobian[1, 2] = -arm[2], arm[0]
        jacobian[2, 0], jacobian[2, 1] = arm[1], -arm[0]
        for u in range(6):
            at[u], at[6 + u] = 6 * i + u, 6 * j + u
        for u in range(12):
            for x in range(3):
                right[at[u]] -= stiffness[e] * jacobian[x, u] * residual[x]
            for v in range(12):
                if at[v] <= at[u]:
                    value = 0.0
                    for x in range(3):
                        value += jacobian[x, u] * jacobian[x, v]
                    band[at[v], at[u] - at[v]] += stiffness[e] * value
