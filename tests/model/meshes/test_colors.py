from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from model.meshes.colors import correspondence_colors


def ellipsoid(
    sides: tuple[float, float, float] = (0.4, 1.0, 0.2), offset: float = 0.0
) -> tuple[NDArray[Any], NDArray[Any]]:
    sphere = trimesh.creation.icosphere(subdivisions=4)
    return sphere.vertices * sides + offset, sphere.edges_unique


def test_neighbours_have_like_colours_and_far_parts_do_not() -> None:
    vertices, edges = ellipsoid()
    colors = correspondence_colors(vertices)
    assert (colors.dtype, colors.shape) == (np.dtype(np.uint8), vertices.shape)
    steps = np.abs(np.diff(colors[edges].astype(int), axis=1)).max()
    assert steps < 25
    ends = colors[[vertices[:, 1].argmin(), vertices[:, 1].argmax()]].astype(int)
    sides = colors[[vertices[:, 0].argmin(), vertices[:, 0].argmax()]].astype(int)
    assert np.abs(np.diff(ends, axis=0)).max() > 50
    assert np.abs(np.diff(sides, axis=0)).max() > 20


def test_colours_are_bright_and_not_garish() -> None:
    colors = correspondence_colors(ellipsoid()[0]) / 255
    assert colors.max(axis=1).min() > 0.5
    assert (colors.max(axis=1) - colors.min(axis=1)).max() < 0.7


@pytest.mark.parametrize("offset", [1e6, -40.0])
def test_place_and_unit_do_not_matter(offset: float) -> None:
    vertices, _ = ellipsoid()
    moved = correspondence_colors(1000 * vertices + offset)
    assert np.abs(moved.astype(int) - correspondence_colors(vertices)).max() <= 1


def test_a_single_point_has_a_colour() -> None:
    assert correspondence_colors(np.zeros((3, 3))).shape == (3, 3)
