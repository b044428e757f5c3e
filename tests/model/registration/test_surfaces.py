"""Surfaces on noisy points, of one frame and of all."""

import numpy as np

from model.compiled import Floats
from model.registration import reference
from model.registration.pull import offsets, pull
from model.registration.transport import transport_targets
from tests.model.registration.solids import bend, draw, solid

NOISE = 0.006


def off(vertices: Floats, truth: Floats) -> float:
    return float(np.linalg.norm(vertices - truth, axis=1).mean())


def test_a_surface_is_pulled_onto_points_and_not_onto_their_noise() -> None:
    truth, faces = solid()
    rng = np.random.default_rng(0)
    points = draw(truth, faces, 4000, rng) + rng.normal(0, NOISE, (4000, 3))
    thinner = truth * [1.0, 0.9, 0.85]
    pulled = pull(thinner, faces, points, 0.05)
    assert off(pulled, truth) < 0.6 * off(thinner, truth)
    assert off(pulled, truth) < NOISE


def test_all_frames_together_know_the_surface_better_than_one() -> None:
    truth, faces = solid()
    rng = np.random.default_rng(1)
    thinner = truth * [1.0, 0.95, 0.95]
    phases = np.linspace(0, 1, 8)
    moved = [bend(thinner, phase) for phase in phases]
    clouds = [draw(bend(truth, p), faces, 1000, rng) + rng.normal(0, NOISE, (1000, 3)) for p in phases]
    one = thinner + offsets(thinner, faces, moved[:1], clouds[:1], 0.05)
    every = thinner + offsets(thinner, faces, moved, clouds, 0.05)
    assert off(every, truth) < 0.9 * off(one, truth)


def test_transport_follows_what_moves_further_than_its_width() -> None:
    rng = np.random.default_rng(2)
    body, limb = rng.random((200, 3)) * [0.4, 0.2, 0.2], rng.random((40, 3)) * [0.02, 0.02, 0.2]
    along = np.array([1.0, 0.0, 0.0])
    source, target = (np.concatenate([body, limb + x * along]) for x in (0.5, 0.6))
    masses = np.full(240, 1 / 240)
    goals, placed = transport_targets(source, masses, target, masses, 0.03, (0.2, 0.2), 60)
    assert np.linalg.norm(goals[200:] - target[200:], axis=1).mean() < 0.04
    assert np.linalg.norm(goals[:200] - target[:200], axis=1).mean() < 0.04
    assert placed.min() > 0.5


def test_transport_in_single_precision_agrees_with_the_reference() -> None:
    rng = np.random.default_rng(3)
    source = rng.normal(size=(100, 3)) * [0.3, 0.1, 0.05]
    target = rng.normal(size=(120, 3)) * [0.3, 0.1, 0.05] + [0.02, 0.0, 0.0]
    target[-1] = 5.0  # beyond all reach
    given = source, np.full(100, 1 / 100), target, np.full(120, 1 / 120), 0.03, (0.08, 0.05), 30
    for found, expected in zip(transport_targets(*given), reference.transport_targets(*given), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
