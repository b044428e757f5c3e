"""Compiled loops: farthest points, blended motions, normal equations; `reference` has plain twins."""

import numpy as np

from model.compiled import Floats, Ints, compiled


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
    blocks: Floats,
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
    for s in range(len(nodes)):
        m00, m01, m02 = metric[s, 0, 0], metric[s, 0, 1], metric[s, 0, 2]
        m11, m12, m22 = metric[s, 1, 1], metric[s, 1, 2], metric[s, 2, 2]
        if m00 + m11 + m22 <= 0.0:
            continue
        f0, f1, f2 = force[s, 0], force[s, 1], force[s, 2]
        for c in range(k):
            i, w = nodes[s, c], weights[s, c]
            a0, a1, a2 = w * arms[s, c, 0], w * arms[s, c, 1], w * arms[s, c, 2]
            right[i, 0] -= a1 * f2 - a2 * f1
            right[i, 1] -= a2 * f0 - a0 * f2
            right[i, 2] -= a0 * f1 - a1 * f0
            right[i, 3] -= w * f0
            right[i, 4] -= w * f1
            right[i, 5] -= w * f2
            # p = w [arm]× metric
            p00, p01, p02 = a1 * m02 - a2 * m01, a1 * m12 - a2 * m11, a1 * m22 - a2 * m12
            p10, p11, p12 = a2 * m00 - a0 * m02, a2 * m01 - a0 * m12, a2 * m02 - a0 * m22
            p20, p21, p22 = a0 * m01 - a1 * m00, a0 * m11 - a1 * m01, a0 * m12 - a1 * m02
            for d in range(k):
                j = nodes[s, d]
                if j > i:
                    continue
                v = weights[s, d]
                b0, b1, b2 = v * arms[s, d, 0], v * arms[s, d, 1], v * arms[s, d, 2]
                block = blocks[lookup[i, j]]
                block[0, 0] += p02 * b1 - p01 * b2
                block[0, 1] += p00 * b2 - p02 * b0
                block[0, 2] += p01 * b0 - p00 * b1
                block[1, 0] += p12 * b1 - p11 * b2
                block[1, 1] += p10 * b2 - p12 * b0
                block[1, 2] += p11 * b0 - p10 * b1
                block[2, 0] += p22 * b1 - p21 * b2
                block[2, 1] += p20 * b2 - p22 * b0
                block[2, 2] += p21 * b0 - p20 * b1
                block[0, 3] += v * p00
                block[0, 4] += v * p01
                block[0, 5] += v * p02
                block[1, 3] += v * p10
                block[1, 4] += v * p11
                block[1, 5] += v * p12
                block[2, 3] += v * p20
                block[2, 4] += v * p21
                block[2, 5] += v * p22
                # the transpose of v [arm]× metric of the other
                block[3, 0] += w * (b1 * m02 - b2 * m01)
                block[4, 0] += w * (b1 * m12 - b2 * m11)
                block[5, 0] += w * (b1 * m22 - b2 * m12)
                block[3, 1] += w * (b2 * m00 - b0 * m02)
                block[4, 1] += w * (b2 * m01 - b0 * m12)
                block[5, 1] += w * (b2 * m02 - b0 * m22)
                block[3, 2] += w * (b0 * m01 - b1 * m00)
                block[4, 2] += w * (b0 * m11 - b1 * m01)
                block[5, 2] += w * (b0 * m12 - b1 * m02)
                share = w * v
                block[3, 3] += share * m00
                block[3, 4] += share * m01
                block[3, 5] += share * m02
                block[4, 3] += share * m01
                block[4, 4] += share * m11
                block[4, 5] += share * m12
                block[5, 3] += share * m02
                block[5, 4] += share * m12
                block[5, 5] += share * m22


@compiled
def add_edges(
    blocks: Floats,
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
        pair = blocks[lookup[max(i, j), min(i, j)]]
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
                if i > j:
                    pair[x, 3 + y] -= stiff * cross[x, y]
                else:
                    pair[3 + y, x] -= stiff * cross[x, y]
