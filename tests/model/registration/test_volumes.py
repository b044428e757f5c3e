"""Points that fill a volume are told from those of a surface, and their outermost show it."""

import numpy as np
import pytest

from model.compiled import Floats
from model.registration.volumes import fill_volume, outermost
from tests.model.registration.solids import bend, draw, solid

RADII = np.array([0.2, 0.5, 0.15])


def ball(count: int, rng: np.random.Generator) -> Floats:
    """Random points all through a ball [count, 3]."""
    points: Floats = rng.normal(size=(count, 3))
    points *= rng.random((count, 1)) ** (1 / 3) / np.linalg.norm(points, axis=1, keepdims=True)
    return points


def lattice(side: int) -> Floats:
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    points: Floats = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    inside: Floats = points[np.linalg.norm(points / [0.6, 1, 0.6], axis=1) < 1]
    return inside


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_particles_and_voxels_fill_a_volume(unit: float) -> None:
    rng = np.random.default_rng(0)
    assert fill_volume([unit * RADII * ball(2000, rng) + 7 * unit for _ in range(3)])
    assert fill_volume([unit * (lattice(20) + 7)] * 2)


@pytest.mark.parametrize(("count", "noise"), [(300, 0.001), (8192, 0.008), (8192, 0.03)])
def test_a_surface_does_not_however_noisy(count: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    vertices, faces = solid()
    clouds = [draw(bend(vertices, phase), faces, count, rng) for phase in (0, 0.5, 1)]
    assert not fill_volume([cloud + rng.normal(0, noise, cloud.shape) for cloud in clouds])


def test_the_outermost_lie_along_the_surface_and_cover_it() -> None:
    rng = np.random.default_rng(0)
    points = ball(4000, rng)
    spacing = 0.1
    outer = points[outermost(points)]
    assert np.quantile(np.linalg.norm(outer, axis=1), 0.05) > 1 - 2 * spacing
    surface = rng.normal(size=(500, 3))
    surface /= np.linalg.norm(surface, axis=1, keepdims=True)
    gaps = np.linalg.norm(surface[:, None] - outer, axis=2).min(axis=1)
    assert gaps.max() < 2.5 * spacing
