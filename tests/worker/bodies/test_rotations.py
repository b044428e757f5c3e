"""Rotations of poses compared with scipy."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worker.bodies.rotations import about, euler, from_vector, inverse, shortest_turn, to_vector

RNG = np.random.default_rng(0)
ANGLES = RNG.uniform(-180, 180, (3, 17))  # degrees


@pytest.mark.parametrize("axes", ["YXZ", "ZXY", "ZY", "X"])
def test_euler_is_scipys_for_numbers_and_for_frames(axes: str) -> None:
    columns = ANGLES[: len(axes)]
    expected = Rotation.from_euler(axes, columns.T, degrees=True).as_matrix()
    np.testing.assert_allclose(euler(axes, *columns), expected, atol=1e-14)
    np.testing.assert_allclose(euler(axes, *columns[:, 4].tolist()), expected[4], atol=1e-14)
    if len(axes) > 1:
        mixed = euler(axes, 30.0, *columns[1:])
        columns = np.concatenate([np.full((1, 17), 30.0), columns[1:]])
        np.testing.assert_allclose(
            mixed, Rotation.from_euler(axes, columns.T, degrees=True).as_matrix(), atol=1e-14
        )


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 0.3, 3.1, np.pi, 5.0, 20.0])
def test_vectors_are_scipys_at_all_angles(size: float) -> None:
    directions = RNG.normal(size=(20, 3))
    vectors = size * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(vectors)
    np.testing.assert_allclose(from_vector(vectors), expected.as_matrix(), atol=1e-14)
    np.testing.assert_allclose(from_vector(vectors[7]), expected[7].as_matrix(), atol=1e-14)
    if size < np.pi:
        np.testing.assert_allclose(to_vector(expected.as_matrix()), vectors, atol=1e-9)


def test_about_a_unit_vector() -> None:
    axis = np.array([0.6, 0.0, -0.8])
    expected = Rotation.from_rotvec(np.radians(ANGLES[0])[:, None] * axis).as_matrix()
    np.testing.assert_allclose(about(axis, ANGLES[0]), expected, atol=1e-14)
    np.testing.assert_allclose(about(axis, 40.0) @ inverse(about(axis, 40.0)), np.eye(3), atol=1e-15)


def test_shortest_turn_takes_one_direction_to_the_other_within_their_plane() -> None:
    for start, end in RNG.normal(size=(20, 2, 3)):
        turn = shortest_turn(start, end)
        np.testing.assert_allclose(
            turn @ start / np.linalg.norm(start), end / np.linalg.norm(end), atol=1e-12
        )
        across = np.cross(start, end)
        np.testing.assert_allclose(turn @ across, across, atol=1e-12, err_msg="nothing turns about itself")
    np.testing.assert_array_equal(shortest_turn(np.array([0, 2.0, 0]), np.array([0, 1.0, 0])), np.eye(3))
