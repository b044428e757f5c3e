"""Sequences that are cut: where, and what goes on across the cut."""

import numpy as np
import pytest

from model.compiled import Floats
from model.registration import Options, track
from model.registration.clouds import canonical, make_cloud
from model.registration.correspondence import find_correspondence
from model.registration.keyframes import jumps, jumps_along
from model.registration.motions import take
from tests.model.registration.solids import bend, draw, exact, sequence, solid


@pytest.mark.parametrize("away", [0.0, 5.0], ids=["in place", "far away"])
def test_a_cut_is_named_and_the_surface_goes_on_after_it(away: float) -> None:
    clouds, vertices, faces = sequence(12, 400, last=0.8)
    kept = [0, 1, 2, 3, 8, 9, 10, 11]
    shifts = away * (np.arange(8) >= 4)[:, None, None] * np.ones(3)
    cut = [clouds[frame] + shift for frame, shift in zip(kept, shifts, strict=True)]
    moved = vertices[kept] + shifts
    result = track(cut, None, exact(cut, moved, faces), options=Options(keyframes=1, sweeps=1))
    assert result.jumps == [4]
    assert np.linalg.norm(result.vertices - moved, axis=2).mean(1).max() < 0.02
    before, after = result.at(np.array([3.49, 3.51]))  # each like the nearer frame, not something between
    np.testing.assert_allclose([before, after], result.vertices[3:5])


def clouds_at(phases: Floats, count: int = 300) -> list[Floats]:
    rng = np.random.default_rng(0)
    rest, _ = solid()
    return [bend(rest[rng.integers(len(rest), size=count)], phase) for phase in phases]


@pytest.mark.parametrize(
    ("phases", "cuts"),
    [
        (np.linspace(0, 1, 9), []),
        (np.linspace(0, 1, 9) ** 3, []),  # faster and faster
        (np.sin(np.linspace(0, 12, 30)), []),
        (np.repeat(np.linspace(0, 1, 6), 2), []),  # every frame twice
        (np.r_[np.linspace(0, 0.2, 5), np.linspace(0.9, 1.1, 5)], [5]),
        (np.r_[np.linspace(0, 0.1, 4), np.linspace(0.8, 0.9, 4), np.linspace(0, 0.1, 4)], [4, 8]),
        (np.array([0.0, 1.0, 0.0]), []),  # too few to tell
    ],
)
def test_only_cuts_are_cuts(phases: Floats, cuts: list[int]) -> None:
    assert jumps([make_cloud(canonical(cloud)) for cloud in clouds_at(phases)]) == cuts


@pytest.mark.parametrize("count", [32, 64])
def test_a_few_random_points_are_no_cut(count: int) -> None:
    rng = np.random.default_rng(0)
    rest, faces = solid()
    for _ in range(20):
        frames = [bend(rest, phase) for phase in np.linspace(0, 0.5, 12)]
        clouds = [make_cloud(canonical(draw(frame, faces, count, rng))) for frame in frames]
        assert jumps(clouds) == jumps(clouds[:1]) == []
        away = [*clouds[:6], *(make_cloud(cloud.points + np.array([0, 1, 0])) for cloud in clouds[6:])]
        assert jumps(away) == [6]


def test_particles_of_a_lattice_that_go_along_make_no_cut() -> None:
    """Steps shorter than the pitch of the lattice do not show in clouds: a longer one would be a cut."""
    axis = np.arange(24.0)
    plate = np.stack(np.meshgrid(axis, axis, [0.0]), axis=-1).reshape(-1, 3)  # [N, 3]
    paths = plate + np.cumsum([0, 1.5, 0.9, 0.9, 0.8, 0.9])[:, None, None] * [0.0, 0.0, 1.0]
    assert jumps([make_cloud(canonical(cloud)) for cloud in paths]) == [1]
    assert jumps_along(paths) == []
    assert jumps_along(paths[[0, 0, 0, 0, 5, 5, 5]]) == [4]


def test_rows_that_change_places_make_no_cut() -> None:
    rest, _ = solid(3)
    paths = np.stack([bend(rest, phase) for phase in np.linspace(0, 0.3, 8)])
    paths[4:, :40] = paths[4:, 40:0:-1]
    assert jumps_along(paths) == []


def test_takes_lie_between_cuts() -> None:
    assert [take(frame, 9, [3, 7]) for frame in (0, 2, 3, 6, 7, 8)] == [(0, 3)] * 2 + [(3, 7)] * 2 + [
        (7, 9)
    ] * 2
    assert take(4, 9, []) == (0, 9)


def test_rows_that_become_other_particles_at_a_cut_do_not_correspond() -> None:
    rest, _ = solid(2)
    points = [bend(rest, phase) for phase in np.linspace(0, 1, 9)]
    assert find_correspondence(points).holds
    order = np.random.default_rng(0).permutation(len(rest))
    found = find_correspondence([cloud if t < 7 else cloud[order] for t, cloud in enumerate(points)])
    assert not found.holds
    assert found.broken == (7,)
