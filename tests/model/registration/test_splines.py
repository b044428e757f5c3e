"""Motion between frames that follow each other evenly, unevenly, and almost at once."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from model.compiled import Floats
from model.registration.splines import interpolate

RNG = np.random.default_rng(0)


def circle(times: Floats) -> Floats:
    return np.stack([np.cos(times), np.sin(times), 0.1 * times], axis=-1)[:, None]  # [T, 1, 3]


@pytest.mark.parametrize("times", [np.linspace(0, 6, 17), np.cumsum(RNG.uniform(0.1, 0.5, 17))])
def test_it_is_a_natural_cubic_spline(times: Floats) -> None:
    wanted = np.linspace(times[0], times[-1], 100)
    found = interpolate(times, circle(times), wanted)
    np.testing.assert_allclose(
        found, CubicSpline(times, circle(times), bc_type="natural")(wanted), atol=1e-12
    )
    assert np.linalg.norm(found - circle(wanted), axis=-1).max() < 0.02


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-11])
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
def test_two_frames_at_almost_one_time_lead_nowhere(gap: float, scale: float) -> None:
    times = np.array([0.0, 1.0, 1.0 + gap, 2.0, 3.0, 4.0])
    noise = np.random.default_rng(1).normal(0, 0.01, (6, 1, 3))
    values = circle(times) + noise  # far above what moves within the gap
    wanted = np.linspace(0, 4, 81)
    found = interpolate(times * scale, values, wanted * scale)
    assert np.linalg.norm(found - circle(wanted), axis=-1).max() < 0.25  # of steps of 1
    np.testing.assert_allclose(interpolate(times * scale, values, times * scale), values, atol=1e-12)


def test_two_frames_are_joined_by_a_line() -> None:
    ends = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 4.0]])
    np.testing.assert_allclose(interpolate(np.array([5.0, 7.0]), ends, np.array([6.0])), [[1.0, 0.0, 2.0]])
