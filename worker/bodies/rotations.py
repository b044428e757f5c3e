"""Rotations as matrices, for the thousand small ones of a pose: an angle is a number, or one a frame [T].

The same as scipy's `Rotation`, against which they are tested; with arrays this small, most of its time goes
into calls, and posing was half of the cost of training on bodies.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]
Angle = float | Floats


def euler(axes: str, *degrees: Angle) -> Floats:
    """Turns about axes that move along, such as "YXZ", first one first: [3, 3] or [T, 3, 3]."""
    matrix = _about_axis(axes[0], degrees[0])
    for axis, angle in zip(axes[1:], degrees[1:], strict=True):
        matrix = matrix @ _about_axis(axis, angle)
    return matrix


def about(axis: Floats, degrees: Angle) -> Floats:
    """A turn about a unit vector [3]: [3, 3] or [T, 3, 3]."""
    return from_vector(np.radians(degrees)[..., None] * axis)


def from_vector(vector: Floats) -> Floats:
    """Rotation vectors [..., 3], the axis times the angle in radians, to matrices [..., 3, 3]."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    angle = np.sqrt(x * x + y * y + z * z)
    # Rodrigues: 1 + sin a / a K + (1 - cos a) / a² K². np.sinc keeps both factors finite at 0.
    linear, square = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    cross = np.zeros((*vector.shape, 3))
    cross[..., 0, 1], cross[..., 1, 0] = -z, z
    cross[..., 0, 2], cross[..., 2, 0] = y, -y
    cross[..., 1, 2], cross[..., 2, 1] = -x, x
    matrix: Floats = np.eye(3) + linear[..., None, None] * cross + square[..., None, None] * (cross @ cross)
    return matrix


def to_vector(matrix: Floats) -> Floats:
    """Rotation vectors [..., 3] of matrices [..., 3, 3], the shorter way round."""
    flat = Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_rotvec()
    vector: Floats = flat.reshape(matrix.shape[:-1])
    return vector


def inverse(matrix: Floats) -> Floats:
    return np.swapaxes(matrix, -1, -2)


def shortest_turn(start: Floats, end: Floats) -> Floats:
    """The smallest rotation [3, 3] that takes one direction [3] to the other (which is not its opposite)."""
    (a, b, c), (d, e, f) = start, end
    axis = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    sine = np.sqrt(axis @ axis)
    if sine < 1e-12:
        return np.eye(3)
    return from_vector(axis / sine * np.arctan2(sine, start @ end))


def _about_axis(axis: str, degrees: Angle) -> Floats:
    """A turn about x, y or z."""
    radians = np.radians(degrees)
    cosine, sine = np.cos(radians), np.sin(radians)
    i = "XYZ".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix = np.zeros((*np.shape(radians), 3, 3))
    matrix[..., i, i] = 1
    matrix[..., j, j] = matrix[..., k, k] = cosine
    matrix[..., k, j], matrix[..., j, k] = sine, -sine
    return matrix
