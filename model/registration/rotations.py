"""The rotation nearest to a matrix."""

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, compiled

STEPS = 20  # of an iteration that doubles the digits that are right
SINGULAR = 1e-6  # determinant over the cube of the Frobenius norm, under which a matrix is too near to one
SETTLED = 1e-20  # squared Frobenius norm of a step


def nearest_rotations(matrices: Floats) -> Floats:
    """The rotations nearest to matrices [..., 3, 3]."""
    flat = np.ascontiguousarray(matrices).reshape(-1, 3, 3)
    result, found = polar_rotations(flat)
    if not found.all():
        u, _, v = np.linalg.svd(flat[~found])
        u[..., -1] *= np.sign(np.linalg.det(u @ v))[..., None]
        result[~found] = u @ v
    return np.asarray(result.reshape(matrices.shape))


@compiled
def set_cofactors(result: Floats, matrix: Floats) -> None:
    """Set `result` [3, 3] to the cofactors of a matrix: its inverse, transposed, times its determinant."""
    for x in range(3):
        y, z = (x + 1) % 3, (x + 2) % 3
        for u in range(3):
            v, w = (u + 1) % 3, (u + 2) % 3
            result[x, u] = matrix[y, v] * matrix[z, w] - matrix[y, w] * matrix[z, v]


@compiled
def polar_rotations(matrices: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The rotations nearest to matrices [N, 3, 3], and which of them were found [N]: not near singular ones.

    By Newton's iteration for the polar factor, A ← (g A + A⁻ᵀ / g) / 2, with Higham's scale g, "Computing the
    polar decomposition, with applications" (1986).
    """
    found = np.zeros(len(matrices), np.bool_)
    result = np.empty_like(matrices)
    inverse = np.empty((3, 3))  # and transposed
    for n in range(len(matrices)):
        a = result[n]
        a[:] = matrices[n]
        for step in range(STEPS):
            square = 0.0
            set_cofactors(inverse, a)
            for x in range(3):
                for u in range(3):
                    square += a[x, u] ** 2
            volume = a[0, 0] * inverse[0, 0] + a[0, 1] * inverse[0, 1] + a[0, 2] * inverse[0, 2]
            if step == 0 and not volume > SINGULAR * square**1.5:
                break
            inverse /= volume
            scale = np.sqrt(np.sqrt((inverse**2).sum() / square))
            change = 0.0
            for x in range(3):
                for u in range(3):
                    value = 0.5 * (scale * a[x, u] + inverse[x, u] / scale)
                    change += (value - a[x, u]) ** 2
                    a[x, u] = value
            if change < SETTLED:
                found[n] = True
                break
    return result, found
