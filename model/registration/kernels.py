"""Compiled loops: farthest points, blended motions, normal equations; `reference` has plain twins."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, Ints, compiled
from model.registration.products import PADDED, SIZE, add_product


@compiled
def farthest_points(points: Floats, count: int, first: int) -> Ints:
    """Indices [count] of points [N, 3], each the farthest from those before it; `first` is the first one."""
    chosen = np.empty(count, np.int64)
    x, y, z = points[:, 0].copy(), points[:, 1].copy(), points[:, 2].copy()
    distance = np.full(len(points), np.inf)
    bits = distance.view(np.int64)  # in the same order, and their maximum takes vector instructions
    current = first
    for c in range(count):
        chosen[c] = current
        a, b, d = x[current], y[current], z[current]
        for i in range(len(points)):
            distance[i] = min(distance[i], (x[i] - a) ** 2 + (y[i] - b) ** 2 + (z[i] - d) ** 2)
        most = np.int64(0)
        for i in range(len(points)):
            most = max(most, bits[i])
        current = 0
        while bits[current] != most:
            current += 1
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
def stretch(edges: Ints, rest: Floats, rotations: Floats, positions: Floats) -> Floats:
    """Residuals [E, 3] of the edges [E, 2]: where the node at i expects the node at j, less where it is."""
    residuals = np.empty((len(edges), 3))
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        for x in range(3):
            residuals[e, x] = positions[i, x] - positions[j, x]
            for y in range(3):
                residuals[e, x] += rotations[i, x, y] * (rest[j, y] - rest[i, y])
    return residuals


@compiled
def turned(rotations: Floats, vectors: Floats) -> Floats:
    """Rotations [M, 3, 3] after another about vectors [M, 3] by their lengths in radians (Rodrigues)."""
    result = np.empty_like(rotations)
    for n in range(len(vectors)):
        x, y, z = vectors[n, 0], vectors[n, 1], vectors[n, 2]
        angle = np.sqrt(x * x + y * y + z * z) + 1e-12
        s, c = np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle**2
        for k in range(3):
            a, b, d = rotations[n, 0, k], rotations[n, 1, k], rotations[n, 2, k]
            # v × r and v × (v × r) of each column
            e, f, g = y * d - z * b, z * a - x * d, x * b - y * a
            result[n, 0, k] = a + s * e + c * (y * g - z * f)
            result[n, 1, k] = b + s * f + c * (z * e - x * g)
            result[n, 2, k] = d + s * g + c * (x * f - y * e)
    return result


@compiled
def pull_to_points(
    metric: Floats,
    force: Floats,
    moved: Floats,
    normals: Floats,
    points: Floats,
    found: Ints,
    distance: Floats,
    reach: float,
    scale: float,
    along: float,
) -> None:
    """Each of the points [N, 3] nearer than `reach` pulls the sample `found` [N]: see `add_samples`.

    By Huber's loss of the distance across the surface, with `scale`; the weight along the surface is `along`.
    """
    for i in range(len(points)):
        if distance[i] < reach:
            s = found[i]
            across = 0.0
            for x in range(3):
                across += (moved[s, x] - points[i, x]) * normals[s, x]
            weight = 1.0 / max(1.0, abs(across) / scale) / len(points)
            for x in range(3):
                direction = weight * normals[s, x]
                force[s, x] += direction * across + along * weight * (moved[s, x] - points[i, x])
                metric[s, x, x] += along * weight
                for y in range(3):
                    metric[s, x, y] += direction * normals[s, y]


@compiled
def pull_samples(
    metric: Floats,
    force: Floats,
    moved: Floats,
    normals: Floats,
    points: Floats,
    found: Ints,
    distance: Floats,
    reach: float,
    scale: float,
    share: float,
) -> None:
    """The first samples [B] go to the mean of their nearest points `found` [B, K], across the surface.

    As `pull_to_points` the other way round, with a `share` of its weight.
    """
    count, k = found.shape
    for s in range(count):
        if distance[s, 0] < reach:
            across = 0.0
            for x in range(3):
                mean = 0.0
                for c in range(k):
                    mean += points[found[s, c], x] / k
                across += (moved[s, x] - mean) * normals[s, x]
            weight = share / max(1.0, abs(across) / scale) / count
            for x in range(3):
                direction = weight * normals[s, x]
                force[s, x] += direction * across
                for y in range(3):
                    metric[s, x, y] += direction * normals[s, y]


@compiled
def add_samples(
    blocks: NDArray[Any],
    right: Floats,
    lookup: Ints,
    nodes: Ints,
    weights: Floats,
    arms: Floats,
    metric: Floats,
    force: Floats,
) -> None:
    """Add Σ_s rᵀ metric r to the normal equations, r the residual [3] of sample s and `force` = metric r.

    The six unknowns of a node are a rotation vector v, applied from the left, and a translation t: a sample
    carried with weight w moves by w (v × arm + t). `blocks` and `lookup` are those of `cholesky`, `right` is
    minus the gradient [M, 6].
    """
    k = nodes.shape[1]
    jacobians = np.zeros((k, SIZE, PADDED), blocks.dtype)  # [3, 6] of each node, in three rows
    products = np.zeros((k, SIZE, PADDED), blocks.dtype)  # of metric and Jacobian
    for s in range(len(nodes)):
        m = metric[s]
        if m[0, 0] + m[1, 1] + m[2, 2] <= 0.0:
            continue
        f0, f1, f2 = force[s, 0], force[s, 1], force[s, 2]
        for c in range(k):
            i, w, jacobian, product = nodes[s, c], weights[s, c], jacobians[c], products[c]
            a0, a1, a2 = w * arms[s, c, 0], w * arms[s, c, 1], w * arms[s, c, 2]
            jacobian[1, 0], jacobian[2, 0], jacobian[2, 1] = -a2, a1, -a0
            jacobian[0, 1], jacobian[0, 2], jacobian[1, 2] = a2, -a1, a0
            for x in range(3):
                jacobian[x, 3 + x] = w
                product[x, 0] = m[x, 2] * a1 - m[x, 1] * a2
                product[x, 1] = m[x, 0] * a2 - m[x, 2] * a0
                product[x, 2] = m[x, 1] * a0 - m[x, 0] * a1
                product[x, 3], product[x, 4], product[x, 5] = w * m[x, 0], w * m[x, 1], w * m[x, 2]
            right[i, 0] -= a1 * f2 - a2 * f1
            right[i, 1] -= a2 * f0 - a0 * f2
            right[i, 2] -= a0 * f1 - a1 * f0
            right[i, 3] -= w * f0
            right[i, 4] -= w * f1
            right[i, 5] -= w * f2
        for c in range(k):
            for d in range(k):
                i, j = nodes[s, c], nodes[s, d]
                if i <= j:
                    add_product(blocks, lookup[i, j], jacobians, c, products, d)


@compiled
def add_edges(
    blocks: NDArray[Any],
    right: Floats,
    lookup: Ints,
    edges: Ints,
    rest: Floats,
    rotations: Floats,
    residuals: Floats,
    stiffness: Floats,
) -> None:
    """Add Σ_e stiffness |R_i (g_j - g_i) + p_i - p_j|² over the edges [E, 2] from i to j.

    `residuals` [E, 3] are those of `stretch`.
    """
    arm = np.empty(3)
    cross = np.zeros((3, 3))
    for e in range(len(edges)):
        i, j, stiff = edges[e, 0], edges[e, 1], stiffness[e]
        for x in range(3):
            arm[x] = 0.0
            for y in range(3):
                arm[x] += rotations[i, x, y] * (rest[j, y] - rest[i, y])
        cross[0, 1], cross[0, 2], cross[1, 2] = -arm[2], arm[1], -arm[0]
        cross[1, 0], cross[2, 0], cross[2, 1] = arm[2], -arm[1], arm[0]
        square = arm[0] ** 2 + arm[1] ** 2 + arm[2] ** 2
        own, other = blocks[lookup[i, i]], blocks[lookup[j, j]]
        pair = blocks[lookup[min(i, j), max(i, j)]]
        for x in range(3):
            pull = stiff * residuals[e, x]
            right[i, 3 + x] -= pull
            right[j, 3 + x] += pull
            own[x, x] += stiff * square
            own[3 + x, 3 + x] += stiff
            other[3 + x, 3 + x] += stiff
            pair[3 + x, 3 + x] -= stiff
            for y in range(3):
                right[i, x] -= stiff * cross[x, y] * residuals[e, y]
                own[x, y] -= stiff * arm[x] * arm[y]
                own[x, 3 + y] += stiff * cross[x, y]
                own[3 + y, x] += stiff * cross[x, y]
                if i < j:
                    pair[x, 3 + y] -= stiff * cross[x, y]
                else:
                    pair[3 + y, x] -= stiff * cross[x, y]
