"""Rotations that make things stand upright, for formats and pictures in which y is up."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

AXES = ("x", "y", "z", "-x", "-y", "-z")


def upright_rotation(up: str) -> NDArray[np.float64]:
    """The rotation [3, 3] that brings one of `AXES` to y and turns nothing further than it must.

    -y is brought there about x, as between the axes of OpenCV and of glTF.
    """
    axis, sign = "xyz".index(up[-1]), -1.0 if up.startswith("-") else 1.0
    if axis == 1:
        return np.diag([1.0, sign, sign])
    rotation = np.zeros((3, 3))
    rotation[1, axis], rotation[axis, 1], rotation[2 - axis, 2 - axis] = sign, -sign, 1.0
    return rotation


def upright_quaternion(up: str) -> list[float]:
    """`upright_rotation` as x, y, z, w."""
    return [float(part) for part in Rotation.from_matrix(upright_rotation(up)).as_quat()]
