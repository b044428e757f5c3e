"""Whether clouds show a thing from all around, also where noise hides which points are in front."""

import numpy as np
import pytest

from model.compiled import Floats
from model.registration.coverage import is_one_sided, roughness
from tests.model.registration.solids import bend, draw, seen_from_above, solid


def seen(noise: float, front: bool, count: int = 1500) -> list[Floats]:
    """Points of the solid in three frames, of all of it or of what is seen from above (+z)."""
    rest, faces = solid()
    rng = np.random.default_rng(3)
    clouds = []
    for phase in (0.0, 0.3, 0.6):
        vertices = bend(rest, phase)
        points = draw(vertices, seen_from_above(vertices, faces) if front else faces, count, rng)
        clouds.append(points + rng.normal(0, noise, points.shape))
    return clouds


@pytest.mark.parametrize("noise", [0.001, 0.006, 0.012, 0.018])
def test_one_side_is_known_whatever_the_noise(noise: float) -> None:
    assert is_one_sided(seen(noise, front=True))
    assert not is_one_sided(seen(noise, front=False))


@pytest.mark.parametrize("count", [300, 600, 8000])
def test_noise_all_around_hides_no_side(count: int) -> None:
    assert not is_one_sided(seen(0.006, False, count))


def test_roughness_is_that_of_the_noise() -> None:
    rough = [roughness(seen(noise, True)[0]) for noise in (0.001, 0.006, 0.018)]
    assert rough[0] < 0.25
    assert rough[0] < rough[1] < rough[2]
    assert roughness(seen(0.001, True, 8000)[0]) == pytest.approx(rough[0], abs=0.05)  # of as many points
