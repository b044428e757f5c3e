"""The way up, by a model that knows one cone: wide below, and leaning to +z."""

import numpy as np
import pytest

from model.compiled import Floats
from model.errors import InputError
from model.registration.orientation import TURNS, UPS, orient, up_axis


def cone() -> Floats:
    rng = np.random.default_rng(0)
    height, angle = rng.random(500), rng.uniform(0, 2 * np.pi, 500)
    wide = 0.4 * (1 - height)
    return np.stack([wide * np.cos(angle), height - 0.5, wide * np.sin(angle) + 0.3 * height], 1)


def misfit(points: Floats) -> float:
    known = cone()
    apart = np.linalg.norm(points[:, None] - known[None], axis=2)
    return float(apart.min(axis=1).mean() + apart.min(axis=0).mean() + 0.01)


@pytest.mark.parametrize("turn", TURNS[::3])
def test_any_turn_is_undone(turn: Floats) -> None:
    turned = cone() @ turn  # the inverse of the turn
    found = orient(turned, "auto", misfit)
    assert found.certain
    assert found.up == up_axis(turn)
    np.testing.assert_allclose(turned @ found.rotation.T, cone(), atol=1e-12)


@pytest.mark.parametrize("up", [axis for axis in UPS if axis != "auto"])
def test_a_given_axis_is_kept(up: str) -> None:
    found = orient(cone(), up, misfit)
    assert found.up == up == up_axis(found.rotation)
    assert found.certain
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_what_looks_the_same_from_all_sides_stays_as_it_is() -> None:
    found = orient(cone(), "auto", lambda _: 0.5)
    assert (found.up, found.certain) == ("y", False)
    np.testing.assert_array_equal(found.rotation, np.eye(3))


def test_an_unknown_axis_is_refused() -> None:
    with pytest.raises(InputError, match="up is 'north'; wanted x, y, z"):
        orient(cone(), "north", misfit)
