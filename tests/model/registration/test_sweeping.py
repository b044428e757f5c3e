"""Sweeps over frames whose motions are right, held back by their neighbors, or turned round."""

import numpy as np
import pytest

from model.compiled import Floats
from model.registration.clouds import Cloud, make_cloud
from model.registration.fitting import Prior, fit
from model.registration.graph import Motion
from model.registration.registering import energy
from model.registration.sweeping import (
    LAST,
    SLACK,
    STEADY,
    SUSPECT,
    expect,
    lagrange,
    stages,
    sweep,
    weight_of_bends,
)
from model.registration.template import Template, make_template
from tests.model.registration.solids import bend, draw, solid

FRAMES = 8


@pytest.fixture(scope="module")
def template() -> Template:
    rest, faces = solid(3)
    bent = bend(rest, 1.0)
    return make_template(bent - bent.mean(axis=0), faces)


@pytest.fixture(scope="module")
def clouds(template: Template) -> list[Cloud]:
    """The thing at rest, sampled anew in every frame."""
    rng = np.random.default_rng(2)
    return [make_cloud(draw(template.vertices, template.faces, 800, rng)) for _ in range(FRAMES)]


def moved_as_a_whole(template: Template, turn: Floats, shift: float = 0.0) -> Motion:
    rest = template.level.graph.rest
    return Motion(np.tile(turn, (len(rest), 1, 1)), rest @ turn.T + [shift, 0.0, 0.0])


def error(template: Template, motion: Motion) -> float:
    return float(np.linalg.norm(template.move(motion) - template.vertices, axis=1).mean())


@pytest.mark.parametrize(("slack", "off"), [(SLACK, (0.0, 0.01)), (1e3, (0.03, 1.0))])
def test_a_step_that_points_show_is_no_noise(
    template: Template, clouds: list[Cloud], slack: float, off: tuple[float, float]
) -> None:
    """By least squares, which a large slack is, points would not win against what is expected."""
    expected = moved_as_a_whole(template, np.eye(3), 0.15)
    prior = Prior(expected, STEADY / len(expected.positions), slack)
    found = fit(template.level, clouds[0], template.level.graph.still(), LAST * 4, True, prior=prior)
    assert off[0] <= error(template, found) < off[1]


def test_small_steps_are_smoothed(template: Template) -> None:
    here, near = (moved_as_a_whole(template, np.eye(3), shift) for shift in (0.0, SLACK / 10))
    prior = Prior(here, 2.0, SLACK)
    assert prior.cost(here) == 0.0
    count = len(here.positions)
    assert prior.cost(near) == pytest.approx(2.0 * count * (SLACK / 10) ** 2, rel=0.01)


def test_few_points_leave_a_surface_stiffer(template: Template) -> None:
    rng = np.random.default_rng(3)
    few, many = (make_cloud(draw(template.vertices, template.faces, n, rng)) for n in (100, 6000))
    assert stages(many) == list(LAST)
    assert stages(few)[0].stiffness > 1.5 * LAST[0].stiffness
    assert weight_of_bends(few) > 8 * weight_of_bends(many)


def test_what_was_turned_round_is_found_again_from_the_frame_before(
    template: Template, clouds: list[Cloud]
) -> None:
    right, turned = (moved_as_a_whole(template, turn) for turn in (np.eye(3), np.diag([1.0, -1.0, -1.0])))
    wrong = fit(template.level, clouds[3], turned, LAST * 3, True)
    usual = energy(template.level, clouds[3], right, True)
    assert energy(template.level, clouds[3], wrong, True) < SUSPECT * usual  # it looks nearly as good
    motions = [right] * 3 + [wrong] + [right] * (FRAMES - 4)
    found = sweep(template, clouds, motions, True, False, lambda _: None)
    assert error(template, wrong) > 0.1
    assert max(error(template, motion) for motion in found) < 0.02


@pytest.mark.parametrize("places", [[-2, -1, 1, 2], [-5, -1, 1, 2], [-1, 3], [-1, 1, 4, 9]])
def test_neighbors_tell_what_a_polynomial_through_them_says(places: list[int]) -> None:
    at = np.array(places)
    powers = at[:, None] ** np.arange(len(at))  # [P, P], of 0 all but the first are 0
    assert np.asarray(lagrange(at)) @ powers == pytest.approx(np.eye(len(at))[0], abs=1e-12)


def test_frames_are_expected_at_equal_distances_to_lie_where_a_cubic_says() -> None:
    assert lagrange(np.array([-2, -1, 1, 2])) == pytest.approx([-1 / 6, 4 / 6, 4 / 6, -1 / 6])
    assert lagrange(np.array([-1, 1])) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("frame", [1, 2, 3, 4])
def test_a_steady_motion_is_expected_to_go_on_across_a_gap(template: Template, frame: int) -> None:
    places = np.array([0, 1, 2, 6, 7, 8])
    motions = [moved_as_a_whole(template, np.eye(3), 0.1 * place) for place in places]
    expected = expect(motions, frame, places)
    assert expected is not None
    assert expected.positions == pytest.approx(motions[frame].positions)
