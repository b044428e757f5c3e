"""Registration of a solid whose every particle is known by a formula."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from model.compiled import Floats, Ints
from model.errors import Canceled, InputError
from model.registration import Options, following, reference, track
from model.registration.clouds import Cloud, make_cloud
from model.registration.following import follow
from model.registration.graph import Motion
from model.registration.registering import Fitted, Start, register
from model.registration.template import Template, make_template
from model.registration.tracking import Tracking
from tests.model.registration.solids import bend, draw, exact, sequence, solid

ONE = Options(keyframes=1)


@pytest.fixture(scope="module")
def bending() -> tuple[list[Floats], Floats, Ints]:
    return sequence(7, 1000)


@pytest.fixture(scope="module")
def tracked(bending: tuple[list[Floats], Floats, Ints]) -> Tracking:
    return track(bending[0], None, exact(*bending), options=ONE)


def box(vertices: Floats) -> float:
    return float((vertices.max(0) - vertices.min(0)).max())


def test_vertices_end_where_the_formula_says(
    bending: tuple[list[Floats], Floats, Ints], tracked: Tracking
) -> None:
    _, vertices, faces = bending
    error = np.linalg.norm(tracked.vertices - vertices, axis=2).mean(1) / box(vertices[0])
    assert error.max() < 0.01
    assert np.array_equal(tracked.faces, faces)
    assert tracked.residuals.max() < 0.02 * box(vertices[0])
    assert tracked.confidence.shape == vertices.shape[:2]
    assert tracked.confidence.min() > 0.3
    assert tracked.jumps == []


def test_between_frames_the_motion_is_smooth(
    bending: tuple[list[Floats], Floats, Ints], tracked: Tracking
) -> None:
    rest, _ = solid()
    halves = np.arange(6) + 0.5
    error = np.linalg.norm(
        tracked.at(halves.astype(float)) - np.stack([bend(rest, t / 6) for t in halves]), axis=2
    )
    assert error.mean(1).max() < 0.01 * box(rest)
    np.testing.assert_allclose(tracked.at(np.arange(7.0)), tracked.vertices, atol=1e-12)


def test_the_order_of_points_and_copies_of_them_do_not_matter(
    bending: tuple[list[Floats], Floats, Ints], tracked: Tracking
) -> None:
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(np.concatenate([c, c])) for c in bending[0]]
    again = track(shuffled, None, exact(*bending), options=ONE)
    assert np.array_equal(again.vertices, tracked.vertices)


def test_turned_scaled_and_shifted_input_gives_the_same_motion(
    bending: tuple[list[Floats], Floats, Ints], tracked: Tracking
) -> None:
    clouds, vertices, faces = bending
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)

    def place(points: Floats) -> Floats:
        return 40 * points @ turn.T + [300.0, -20.0, 7.0]

    placed = [place(c) for c in clouds]
    again = track(placed, None, exact(placed, place(vertices), faces), options=ONE)
    apart = np.linalg.norm(again.vertices - place(tracked.vertices), axis=2) / 40
    assert apart.mean() < 5e-4  # of the length of the solid
    assert apart.max() < 0.01


@pytest.mark.parametrize(("count", "noise"), [(300, 0.004), (800, 0.002), (2000, 0.001)])
def test_what_stands_still_stays_though_points_differ(count: int, noise: float) -> None:
    vertices, faces = solid()
    rng = np.random.default_rng(2)
    clouds = [draw(vertices, faces, count, rng) + rng.normal(0, noise, (count, 3)) for _ in range(4)]
    result = track(clouds, None, exact(clouds, np.stack([vertices] * 4), faces), options=ONE)
    assert np.array_equal(result.vertices, np.stack([result.vertices[0]] * 4))


def test_a_slow_motion_is_no_standstill() -> None:
    clouds, vertices, faces = sequence(3, 800, last=0.03)
    result = track(clouds, None, exact(clouds, vertices, faces), options=ONE)
    error = np.linalg.norm(result.vertices - vertices, axis=2).mean(1)
    assert error.max() < 0.5 * np.linalg.norm(vertices[2] - vertices[0], axis=1).mean()


def test_a_template_that_misfits_its_own_frame_does_not_stand_still() -> None:
    """Its distances to other frames are no longer than those to its own."""
    clouds, vertices, faces = sequence(4, 800, last=0.3)
    beside = np.array([0.0, 0.4, 0.0])  # what the template leaves out
    clouds = [np.concatenate([cloud, cloud[::10] + beside]) for cloud in clouds]
    result = track(clouds, None, exact(clouds, vertices, faces), options=ONE)
    assert (
        np.linalg.norm(result.vertices - vertices, axis=2).mean()
        < 0.2 * np.linalg.norm(vertices[-1] - vertices[0], axis=1).mean()
    )


def test_a_long_sequence_costs_in_proportion_and_does_not_drift() -> None:
    seconds = []
    for frames in (8, 24):
        clouds, vertices, faces = sequence(frames, 500, last=frames / 48)
        began = time.process_time()
        result = track(clouds, None, exact(clouds, vertices, faces), options=ONE)
        seconds.append(time.process_time() - began)
    error = np.linalg.norm(result.vertices - vertices, axis=2).mean(1)
    assert error.max() < 0.02 * box(vertices[0])
    assert seconds[1] < 2 * 3 * seconds[0]


def test_progress_rises_to_one_and_canceling_stops(bending: tuple[list[Floats], Floats, Ints]) -> None:
    seen: list[float] = []
    track(bending[0][:3], None, exact(*bending), progress=seen.append, options=ONE)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(Canceled):
        track(bending[0], None, exact(*bending), is_canceled=lambda: True, options=ONE)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(InputError, match="16 different points"):
        track([np.zeros((3, 3))], None, lambda p: (p, np.zeros((0, 3), np.int64)))


def test_a_template_that_can_only_lose_is_given_up(bending: tuple[list[Floats], Floats, Ints]) -> None:
    clouds, vertices, faces = bending
    frames = [make_cloud(c) for c in clouds]
    template = make_template(vertices[3], faces)
    asked: list[float] = []

    def is_lost(energy: float) -> bool:
        asked.append(energy)
        return len(asked) > 2

    followed = follow(template, frames, 3, True, None, lambda _: None)
    given_up = follow(template, frames, 3, True, None, lambda _: None, is_lost=is_lost)
    assert given_up.energy == np.inf
    assert len(asked) < len(clouds) - 1
    assert 0 < max(asked) < followed.energy < np.inf


def turn(angle: float) -> Floats:
    return reference.rotation_matrices(np.array([0.0, 0.0, angle]))


def test_a_match_is_asked_for_where_the_motion_does_not_go_on() -> None:
    rest, faces = solid()
    rng = np.random.default_rng(0)
    frames = [
        make_cloud(draw(rest @ turn(angle), faces, 1000, rng)) for angle in (0, 0.1, 0.2, 0.3, 1.8, 1.9)
    ]
    asked: list[tuple[int, int]] = []

    def match(i: int, j: int, queries: Floats) -> tuple[Floats, Floats]:
        asked.append((i, j))
        return queries, np.full(len(queries), 1.0)

    follow(make_template(rest, faces), frames, 0, True, match, lambda _: None)
    assert asked[0] == (3, 4)


def test_no_match_is_asked_for_where_hardly_anything_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the motion is expected to go on wildly."""
    rest, faces = solid()
    rng = np.random.default_rng(0)
    frames = [make_cloud(draw(rest @ turn(0.01 * n), faces, 1000, rng)) for n in range(4)]
    asked: list[tuple[int, int]] = []

    def match(i: int, j: int, queries: Floats) -> tuple[Floats, Floats]:
        asked.append((i, j))
        return queries, np.full(len(queries), 1.0)

    def wild(now: Motion, before: Motion) -> Motion:
        return Motion(turn(1.5).T @ now.rotations, now.positions @ turn(1.5))

    monkeypatch.setattr(following, "extrapolate", wild)
    monkeypatch.setattr(following, "stands_still", lambda *_: False)
    followed = follow(make_template(rest, faces), frames, 0, True, match, lambda _: None)
    assert asked == []
    usual = followed.energy / len(frames)
    assert usual < 0.001


def test_without_a_match_only_the_likelier_guess_of_a_small_step_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What noise moved is not to go on."""
    rest, faces = solid()
    rng = np.random.default_rng(0)
    frames = [make_cloud(draw(rest @ turn(0.01 * n), faces, 1000, rng)) for n in range(4)]
    tried: list[Motion] = []

    def noisy(now: Motion, before: Motion) -> Motion:
        return now._replace(positions=now.positions + rng.normal(0, 0.02, now.positions.shape))

    def counted(template: Template, cloud: Cloud, starts: Iterable[Start], *others: Any) -> Fitted:
        def counting() -> Iterator[Start]:
            for start in starts:
                tried.append(start.motion)
                yield start

        return register(template, cloud, counting(), *others)

    monkeypatch.setattr(following, "extrapolate", noisy)
    monkeypatch.setattr(following, "stands_still", lambda *_: False)
    monkeypatch.setattr(following, "register", counted)
    followed = follow(make_template(rest, faces), frames, 0, True, None, lambda _: None)
    assert tried == followed.motions[:-1]
