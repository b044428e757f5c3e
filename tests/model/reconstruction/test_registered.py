"""The surface that few points of known paths are given."""

import numpy as np
import pytest
import trimesh

from model.compiled import Floats, Ints
from model.errors import EmptySurfaceError
from model.reconstruction.registered import through_points

SPHERE = trimesh.creation.icosphere(subdivisions=3)
FACES = np.asarray(SPHERE.faces, np.int64)
POINTS = np.asarray(SPHERE.vertices)[::4]


def sphere(radius: float) -> tuple[Floats, Ints]:
    return np.asarray(SPHERE.vertices) * radius, FACES


@pytest.mark.parametrize(
    ("corrected", "plain", "chosen", "asked"),
    [
        (1.01, 1.0, 1.01, 1),  # it lies on the points: nothing else is looked at
        (0.6, 1.1, 1.1, 2),  # it was taken away from them
        (0.6, 0.3, 0.6, 2),  # and what the network says alone is further
        (None, 0.9, 0.9, 2),  # nothing was left
    ],
)
def test_a_correction_that_leaves_the_points_is_taken_back(
    corrected: float | None, plain: float, chosen: float, asked: int
) -> None:
    noises: list[float | None] = []

    def extract(noise: float | None) -> tuple[Floats, Ints]:
        noises.append(noise)
        if noise is None:
            return sphere(plain)
        if corrected is None:
            raise EmptySurfaceError("nothing")
        return sphere(corrected)

    vertices, faces = through_points(POINTS, extract, 0.01)
    np.testing.assert_array_equal(vertices, sphere(chosen)[0])
    assert faces is FACES
    assert noises == [0.01, None][:asked]
