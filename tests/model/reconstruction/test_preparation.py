"""Input that is unusual, or unusable, before anything is reconstructed from it."""

from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import InputError
from model.reconstruction import preparation
from model.reconstruction.checks import check_clouds
from model.reconstruction.preparation import prepare
from model.registration import room
from model.registration.floor import find_room
from tests.model.registration.solids import bend, draw, solid

Floats = NDArray[np.float64]


def clouds(count: int = 300, frames: int = 4) -> list[Floats]:
    rest, faces = solid()
    rng = np.random.default_rng(0)
    return [draw(bend(rest, t / 6), faces, count, rng) for t in range(frames)]


@pytest.mark.parametrize(
    "flatten",
    [lambda c: c * [1, 1, 0], lambda c: c * [0, 1, 0], lambda c: 1e6 + c @ np.outer([1, 2, 3], [1, 1, 2])],
)
@pytest.mark.parametrize("corresponding", [None, True])
def test_points_in_a_plane_or_on_a_line_are_refused(
    flatten: Callable[[Floats], Floats], corresponding: bool | None
) -> None:
    with pytest.raises(InputError, match="in one plane or on a line, which no surface encloses"):
        prepare([flatten(cloud) for cloud in clouds()], corresponding)


def test_things_too_far_apart_are_told_so() -> None:
    apart = [np.concatenate([cloud, cloud + np.array([0, 100, 0])]) for cloud in clouds()]
    with pytest.raises(InputError, match=r"at most 0\.00\d+ times as thick as wide.*far apart separately"):
        prepare(apart, None)


def test_one_flat_frame_is_no_reason_to_refuse() -> None:
    first, *others = clouds()
    assert len(prepare([first * [1, 1, 0], *others], None).clouds) == 4


def test_rows_that_are_taken_away_say_nothing_about_correspondence() -> None:
    """A floor that stays in the same rows does not make the rows of what moves on it correspond."""
    rng = np.random.default_rng(0)
    floor = [
        np.c_[rng.uniform(-2, 2, 1200), rng.normal(-0.2, 0.001, 1200), rng.uniform(-2, 2, 1200)]
        for _ in range(4)
    ]
    prepared = prepare([np.concatenate(pair) for pair in zip(clouds(), floor, strict=True)], None)
    assert prepared.removed.floor.min() > 1190
    assert not prepared.corresponding
    assert prepared.found.scatter > 0.5


def test_what_stands_in_a_large_room_keeps_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A floor goes before points are left out for being too many, and is looked for in all frames once."""
    looked = Mock(side_effect=find_room)
    monkeypatch.setattr(room, "find_room", looked)
    rng, most = np.random.default_rng(0), preparation.MOST_POINTS
    floor = np.c_[
        rng.uniform(-3, 3, 2 * most), rng.normal(-0.2, 0.001, 2 * most), rng.uniform(-3, 3, 2 * most)
    ]
    prepared = prepare([np.concatenate([floor, cloud]) for cloud in clouds(1000)], False)
    assert min(map(len, prepared.clouds)) > 950
    assert prepared.removed.floor.min() > 2 * most - 10
    assert [len(call.args[0]) for call in looked.call_args_list].count(len(prepared.clouds)) == 1


def test_rows_missing_in_a_frame_do_not_hide_correspondence() -> None:
    rest, _ = solid(3)
    points = [bend(rest, t / 6) for t in range(4)]
    points[2][:500] = np.nan  # of 642
    prepared = prepare(points, None)
    assert prepared.corresponding
    assert prepared.valid.sum(axis=1).tolist() == [642, 642, 142, 642]


def test_rows_that_no_frame_shares_with_the_next_have_no_paths() -> None:
    """Half of the rows is seen in the first two frames, the other half in the last two."""
    rest, _ = solid(3)
    points = [bend(rest, t / 6) for t in range(4)]  # [642, 3]
    for t, cloud in enumerate(points):
        cloud[:321] = cloud[:321] if t < 2 else np.nan
        cloud[321:] = cloud[321:] if t >= 2 else np.nan
    prepared = prepare(points, None)
    assert not prepared.corresponding
    assert [len(cloud) for cloud in prepared.clouds] == [321] * 4
    with pytest.raises(InputError, match="hardly a row has valid points both in frame 2 and"):
        prepare(points, True)


def test_markers_may_be_hidden_in_some_frames() -> None:
    rest, _ = solid(3)
    points = [bend(rest[::16], t / 6) for t in range(4)]  # [41, 3]
    points[1][:25] = points[3][10:22] = np.nan
    prepared = prepare(points, None)
    assert prepared.corresponding
    assert prepared.valid.sum(axis=1).tolist() == [41, 16, 41, 29]
    assert prepare(points, False).shown.tolist() == [0, 2]
    points[1][25] = np.nan
    assert prepare(points, True).shown.tolist() == [0, 2, 3]


def test_of_many_points_those_that_are_finite_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "MOST_POINTS", 200)
    rest, _ = solid(3)
    particles = [bend(rest, t / 6) for t in range(4)]  # [642, 3]
    particles[2][:300] = particles[3][100:200] = np.nan
    followed = prepare(particles, None, remove=False)
    assert followed.corresponding
    assert followed.removed.not_finite.tolist() == [0, 0, 300, 100]
    assert followed.valid.sum(axis=1).tolist() == [200] * 4  # rows that all frames have
    drawn = clouds(642)
    for frame, cloud in enumerate(drawn):  # other points are missing in each frame
        cloud[frame * 150 : frame * 150 + 400] = np.nan
    others = prepare(drawn, None, remove=False)
    assert not others.corresponding
    assert [len(cloud) for cloud in others.clouds] == [200, 200, 200, 200]
    assert all(np.isfinite(cloud).all() for cloud in others.clouds)


@pytest.mark.parametrize("same", [True, False])
def test_of_points_that_fill_a_volume_the_outermost_are_used(
    same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "MOST_POINTS", 1500)
    rng = np.random.default_rng(0)
    particles = rng.uniform(-1, 1, (9000, 3))
    particles = particles[np.linalg.norm(particles, axis=1) < 1]  # 4,700
    frames = [(rng.permutation(particles)[:4600], particles)[same] * [1, 1, 1 + t / 8] for t in range(3)]
    prepared = prepare(frames, None)
    assert prepared.corresponding is same
    assert "fill a volume" in prepared.warnings[0]
    assert prepared.removed.inside.min() > 2000
    assert prepared.removed.to_dict()["inside"] == prepared.removed.inside.tolist()
    for t, cloud in enumerate(prepared.clouds):
        radius = np.linalg.norm(cloud / [1, 1, 1 + t / 8], axis=1)
        assert 500 < len(cloud) <= 1500
        assert np.quantile(radius, 0.1) > 0.75
    if same:
        np.testing.assert_allclose(prepared.clouds[2], prepared.clouds[0] * [1, 1, 1.25])
    untouched = prepare(frames, None, remove=False)
    assert not untouched.removed.inside.any()
    assert not untouched.warnings


def test_coordinates_that_lost_their_digits_are_refused() -> None:
    there = [cloud * 1.7 + [450_000.0, 5_400_000.0, 100.0] for cloud in clouds()]
    assert len(check_clouds(there)) == len(there)
    with pytest.raises(InputError, match=r"5\.4e\+06 from the origin, where float32 has steps of 0\.5"):
        check_clouds([cloud.astype(np.float32) for cloud in there])
    with pytest.raises(InputError, match="float16 has steps of 1,"):
        check_clouds([(cloud + 1500).astype(np.float16) for cloud in clouds()])
    with pytest.raises(InputError, match=r"float64 has steps of 0\.12.* before they become float64$"):
        check_clouds([cloud + 1e15 for cloud in clouds()])
    near = [(cloud + np.array([450.0, -5400.0, 1.0])).astype(np.float32) for cloud in clouds()]
    assert len(check_clouds(near)) == len(near)


def test_the_order_of_points_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    given = prepare(clouds(), None).clouds
    mixed = prepare([rng.permutation(cloud) for cloud in clouds()], None).clouds
    assert all(np.array_equal(a, b) for a, b in zip(given, mixed, strict=True))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (clouds()[1] * 1e40, r"frame 1 are up to \de\+\d\d; wanted another unit"),
        (clouds()[1] * 1e-40, r"frame 1 are up to \de-\d\d; wanted another unit"),
        (clouds()[1] + 0j, "frame 1 is an array of complex128; wanted real numbers"),
        ([["a", "b", "c"]] * 40, "frame 1 is an array of <U1; wanted real numbers"),
        ([[0.0, 1.0], [0.0]] * 20, "frame 1 is a list of lists of different lengths"),
        ([None] * 40, "frame 1 is an array of object"),
        (np.zeros((0, 2)), r"frame 1 is an array \[0, 2\]; wanted"),
    ],
)
def test_what_is_no_cloud_is_refused_by_its_frame(frame: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_clouds([clouds()[0], frame])  # type: ignore[list-item]
