"""The normal equations of `kernels` in plain numpy: one dense Jacobian, slow and easy to read.

Tests compare the compiled kernels with it.
"""

import numpy as np

from model.registration.kernels import Floats, Ints


def cross_matrices(vectors: Floats) -> Floats:
    """[v]× [N, 3, 3] of vectors [N, 3]: [v]× w = v × w."""
    result = np.zeros((len(vectors), 3, 3))
    result[:, [2, 0, 1], [1, 2, 0]] = vectors
    result[:, [1, 2, 0], [2, 0, 1]] = -vectors
    return result


def observations(
    count: int,
    nodes: Ints,
    weights: Floats,
    arms: Floats,
    chosen: Ints,
    residuals: Floats,
    directions: Floats,
    plane: Floats,
    point: Floats,
) -> tuple[Floats, Floats]:
    """H [6 M, 6 M] and minus the gradient [6 M] of Σ_o rᵀ (plane nnᵀ + point I) r, M = `count` nodes."""
    jacobian = np.zeros((len(chosen), 3, 6 * count))
    for o, s in enumerate(chosen):
        for n, w, turn in zip(nodes[s], weights[s], cross_matrices(arms[s]), strict=True):
            jacobian[o, :, 6 * n : 6 * n + 3] += -w * turn
            jacobian[o, :, 6 * n + 3 : 6 * n + 6] += w * np.eye(3)
    metric = plane[:, None, None] * directions[:, :, None] * directions[:, None, :] + point[
        :, None, None
    ] * np.eye(3)
    weighted = metric @ jacobian  # [O, 3, 6 M]
    return np.einsum("oxi,oxj->ij", jacobian, weighted), -np.einsum("oxi,ox->i", weighted, residuals)


def edges(
    pairs: Ints, rest: Floats, rotations: Floats, positions: Floats, stiffness: Floats
) -> tuple[Floats, Floats]:
    """H [6 M, 6 M] and minus the gradient [6 M] of Σ_e stiffness |R_i (g_j - g_i) + p_i - p_j|²."""
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


def dense(band: Floats) -> Floats:
    """The symmetric matrix [n, n] whose lower half is stored as band[j, i - j]."""
    n, width = band.shape
    result = np.zeros((n, n))
    for offset in range(width):
        i = np.arange(offset, n)
        result[i, i - offset] = result[i - offset, i] = band[: n - offset, offset]
    return result
