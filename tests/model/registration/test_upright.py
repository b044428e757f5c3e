"""Which way is up, guessed from the extent and the way of what was recorded."""

import numpy as np
import pytest

from model.compiled import Floats
from model.meshes.upright import AXES, upright_rotation
from model.registration.upright import guess_up

Z_UP = upright_rotation("z")


def cloud(*size: float, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(500, 3)) * size


@pytest.mark.parametrize("up", AXES)
def test_an_axis_is_brought_up(up: str) -> None:
    turn = upright_rotation(up)
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
    np.testing.assert_array_equal(turn @ axis, [0, 1, 0])
    assert np.linalg.det(turn) == 1


@pytest.mark.parametrize(
    ("size", "way"),
    [
        ((0.3, 1.0, 0.2), (0.0, 0.0, 0.0)),  # a person on the spot
        ((0.5, 1.0, 0.9), (0.0, 0.0, 0.0)),  # something about as deep as tall
        ((0.3, 1.0, 0.2), (0.0, 0.5, 0.1)),  # a jump
        ((0.2, 0.5, 1.0), (0.0, 0.0, 5.0)),  # a long animal, which walks
    ],
)
def test_tall_things_and_walking_ones(size: tuple[float, ...], way: tuple[float, ...]) -> None:
    clouds = [cloud(*size, seed=1), cloud(*size, seed=2) + way]
    assert guess_up(clouds) == guess_up([np.empty((0, 3)), *clouds, np.empty((0, 3))]) == "y"
    if size[1] > 1.25 * size[2] or way[2]:
        assert guess_up([frame @ Z_UP for frame in clouds]) == "z"


def test_points_before_a_camera_are_in_its_axes() -> None:
    deep = cloud(1.0, 0.3, 0.8)
    assert guess_up([deep, deep]) == "z"
    assert guess_up([deep - np.array([0.0, 0.0, 6.0])] * 2) == "y"


def test_copies_of_one_point_have_no_way_up() -> None:
    assert guess_up([np.ones((40, 3))] * 2) == "y"
