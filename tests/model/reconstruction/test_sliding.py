"""Vertices that may not keep to their place on the surface: a warning says so."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model import Reconstructor
from model.reconstruction.findings import slid

FRAMES, POINTS = 5, 700


@pytest.fixture(scope="module")
def local() -> Reconstructor:
    return Reconstructor.from_config("local_oflow")


def egg(longer: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points [N, 3] of an egg, drawn anew, that is longer by a factor."""
    direction = rng.normal(size=(POINTS, 3))
    return direction / np.linalg.norm(direction, axis=1, keepdims=True) * [0.3 * longer, 0.2, 0.15]


@pytest.mark.parametrize(("longest", "told"), [(1.3, False), (3.0, True)])
def test_a_surface_that_stretches_far_is_told(local: Reconstructor, longest: float, told: bool) -> None:
    rng = np.random.default_rng(0)
    frames = [egg(longer, rng) for longer in np.geomspace(1, longest, FRAMES)]
    findings = local(frames, corresponding=False, resolution=48).findings
    assert findings is not None
    assert any("slid along it" in warning for warning in findings.warnings) == told
    along = [egg(longer, np.random.default_rng(0)) for longer in np.geomspace(1, longest, FRAMES)]
    known = local(along, corresponding=True, resolution=48).findings  # which is how far it stretches
    assert known is not None
    assert not any("slid along it" in warning for warning in known.warnings)


def test_the_factor_is_told() -> None:
    assert slid(0.75) == []
    assert "by a factor of 2.2 over time" in slid(0.8)[0]
    assert "by a factor of over 100 over time" in slid(20.0)[0]
