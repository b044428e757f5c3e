"""Frames that do not show the object: the motion is interpolated across them, and people are told."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model import Reconstructor
from model.errors import InputError
from model.frames import named
from model.meshes.sequence import Findings, MeshSequence
from model.reconstruction.gaps import Gaps
from model.reconstruction.preparation import prepare
from tests.model.registration.solids import bend, draw, solid

Floats = NDArray[np.float64]
FRAMES, GONE = 17, (7, 8, 9)
PHASES = np.linspace(0, 1, FRAMES)


@pytest.fixture(scope="module")
def local() -> Reconstructor:
    return Reconstructor.from_config("local_oflow")


def clouds(count: int = 600) -> list[Floats]:
    """Points of a solid that bends, drawn anew in each frame."""
    rest, faces = solid()
    rng = np.random.default_rng(5)
    return [draw(bend(rest, p), faces, count, rng) + rng.normal(0, 0.001, (count, 3)) for p in PHASES]


def paths() -> list[Floats]:
    """The same points in each frame."""
    rest, _ = solid()
    return [bend(rest[::4], p) for p in PHASES]


def without(frames: list[Floats], gone: Any, filler: Floats | None = None) -> list[Floats]:
    nothing = np.empty((0, 3)) if filler is None else filler
    return [nothing if t in gone else cloud for t, cloud in enumerate(frames)]


def findings_of(meshes: MeshSequence) -> Findings:
    assert meshes.findings is not None
    return meshes.findings


def errors(meshes: MeshSequence) -> Floats:
    """Mean distance [T] of the vertices from where the formula moves what they are nearest to at first."""
    rest, faces = solid()
    key = findings_of(meshes).decisions["keyframe"]
    near = draw(rest, faces, 60_000, np.random.default_rng(0))
    at = cKDTree(bend(near, PHASES[key])).query(meshes.vertices[key])[1]
    truth = np.stack([bend(near[at], phase) for phase in PHASES])
    return np.asarray(np.linalg.norm(meshes.vertices - truth, axis=2).mean(axis=1))


@pytest.mark.parametrize(
    "filler", [np.empty((0, 3)), np.full((600, 3), np.nan), clouds()[0][:31], np.ones((40, 3))]
)
def test_motion_is_interpolated_across_frames_without_points(local: Reconstructor, filler: Floats) -> None:
    whole, some = local(clouds(), resolution=48), local(without(clouds(), GONE, filler), resolution=48)
    assert some.vertices.shape[0] == FRAMES
    assert errors(some)[list(GONE)].max() < 0.015
    measured = np.setdiff1d(np.arange(FRAMES), GONE)
    # Errors grow with the distance to the keyframe, which may be another one.
    assert errors(some)[measured].mean() < 1.1 * errors(whole)[measured].mean()
    assert errors(some)[measured].max() < 0.01
    findings = findings_of(some)
    assert findings.verdict == findings_of(whole).verdict == "good"
    assert findings.decisions["missing"] == list(GONE)
    assert findings.decisions["jumps"] == []
    assert findings.warnings == [
        "no points of the object, or too few, in frames 7 to 9: the motion is interpolated there"
    ]
    assert some.fit is not None
    assert np.flatnonzero(np.isnan(some.fit.mean)).tolist() == list(GONE)
    assert some.fit.to_dict()["p95"][8] is None
    assert findings.confidence is not None
    assert findings.confidence.max() <= 14 / 17


@pytest.mark.parametrize("corresponding", [None, True])
def test_paths_lead_across_frames_in_which_every_row_is_missing(
    local: Reconstructor, corresponding: bool | None
) -> None:
    whole = local(paths(), corresponding=corresponding, resolution=48)
    for filler in (np.full_like(paths()[0], np.nan), np.empty((0, 3))):
        some = local(without(paths(), GONE, filler), corresponding=corresponding, resolution=48)
        findings = findings_of(some)
        assert findings.decisions["corresponding"]
        assert findings.decisions["missing"] == list(GONE)
        assert errors(some).max() < errors(whole).max() + 0.003
        assert "frames 7 to 9: the motion is interpolated" in findings.warnings[0]


def test_before_the_first_and_after_the_last_frame_the_pose_is_held(local: Reconstructor) -> None:
    meshes = local(without(clouds(), (0, 1, 5, 16)), resolution=48)
    assert np.array_equal(meshes.vertices[0], meshes.vertices[2])
    assert np.array_equal(meshes.vertices[16], meshes.vertices[15])
    assert findings_of(meshes).warnings == [
        "no points of the object, or too few, in frames 0, 1, 5, 16: the motion is interpolated there, and "
        "the nearest pose held in frames 0, 1, 16"
    ]
    assert findings_of(meshes).decisions["keyframe"] in range(2, 16)


def test_nothing_is_interpolated_over_a_cut(local: Reconstructor) -> None:
    """What has gone far while nobody looked may have gone any way."""
    frames = [cloud + ([3.0, 0, 0] if t > 9 else [0, 0, 0]) for t, cloud in enumerate(clouds())]
    meshes = local(without(frames, GONE), resolution=48)
    assert findings_of(meshes).decisions["jumps"] == [10]
    assert "no points of the object, or too few, in frames 7 to 9: the nearest pose is held there" in (
        findings_of(meshes).warnings
    )
    assert np.array_equal(meshes.vertices[7], meshes.vertices[6])


def test_poses_that_are_hard_to_tell_are_doubted(local: Reconstructor) -> None:
    """Of what swings, nobody knows where it has been for longer than half a swing."""
    rest, faces = solid()
    rng = np.random.default_rng(0)
    frames = [draw(bend(rest, 0.5 + 0.4 * np.sin(t / 2)), faces, 600, rng) for t in range(40)]
    measured, reasons = [], []
    for gone in (range(20, 22), range(20, 26)):
        findings = findings_of(local(without(frames, gone), resolution=48, quality="draft"))
        measured.append(findings.measures["bridged"])
        reasons.append(findings.reasons)
    assert measured[0] < 0.02 < 0.05 < measured[1]
    assert reasons[0] == []
    assert reasons[1] == [
        f"where frames do not show the object, poses may be off by {measured[1]:.1%} of its size "
        "(frames 20 to 25)"
    ]


def test_what_a_gap_costs_is_told_from_frames_beside_it() -> None:
    times = np.arange(30.0)
    there = np.stack([times**3 / 30**3, np.sin(times / 2), 0 * times], axis=1)
    vertices = there[:, None] + np.eye(3)  # [T, 3, 3]
    shown = np.array([t for t in range(30) if t not in (0, 10, 11, 12, 13, 20)])
    for cuts, held in ((), [0]), ([14], [0, 10, 11, 12, 13]):
        gaps = Gaps(30, shown, np.array(cuts, int))
        assert gaps.missing[gaps.held].tolist() == held
        first, *middle, last = gaps.errors(vertices[shown], times)[0]
        step = np.linalg.norm(np.diff(there, axis=0), axis=1)
        assert step.min() < first < step.max()
        assert last < 0.02
        assert len(set(middle)) == 1
        assert middle[0] > (0.5 if cuts else 0.2)


@pytest.mark.parametrize("gone", [0, 12, 29])
def test_a_gap_costs_what_its_time_does(gone: int) -> None:
    """A frame that is missing for as long as six others is missing as they would be."""
    even = np.arange(35.0)
    there = np.stack([np.sin(even / 2), 0 * even, 0 * even], axis=1)
    vertices = there[:, None] + np.eye(3)  # [T, 3, 3]
    many = np.arange(gone, gone + 6)
    shown = np.setdiff1d(np.arange(35), many)
    costs = Gaps(35, shown, np.array([], int)).errors(vertices[shown], even)[0]
    at = {0: 0, 12: 14, 29: 34}[gone]  # of the one frame: an end is as far from the rest as the six are
    times = np.sort(np.append(even[shown], at))
    shown = np.setdiff1d(np.arange(30), gone)
    one = Gaps(30, shown, np.array([], int)).errors(vertices[np.setdiff1d(np.arange(35), many)], times)[0]
    assert one == pytest.approx(costs[:1])
    assert one > 0.2


def test_time_without_frames_costs_what_missing_frames_do() -> None:
    even = np.arange(35.0)
    there = np.stack([np.sin(even / 2), 0 * even, 0 * even], axis=1)
    vertices = there[:, None] + np.eye(3)  # [T, 3, 3]
    shown = np.setdiff1d(even, np.arange(12, 18)).astype(int)
    missing = Gaps(35, shown, np.array([], int))
    assert missing.pauses(even).size == 0
    paused = Gaps(29, np.arange(29), np.array([], int))
    assert paused.pauses(even[shown]).tolist() == [12]
    of_frames, of_pause = paused.errors(vertices[shown], even[shown])
    assert of_frames.size == 0
    assert of_pause[0] == pytest.approx(missing.errors(vertices[shown], even)[0][0])
    assert Gaps(29, np.arange(29), np.array([12])).pauses(even[shown]).size == 0  # a cut is there


def test_of_many_pauses_the_longest_are_looked_at() -> None:
    steps = np.where(np.arange(299) % 3 == 0, 3 + np.arange(299) / 1000, 1.0)
    pauses = Gaps(300, np.arange(300), np.array([], int)).pauses(np.cumsum([0, *steps]))
    assert pauses.tolist() == list(range(229, 299, 3))


@pytest.mark.parametrize(("gone", "told"), [(range(20, 22), False), (range(20, 26), True)])
def test_time_in_which_poses_are_hard_to_tell_is_named(local: Reconstructor, gone: range, told: bool) -> None:
    """Frames have no points, or are not there: what comes of it is said either way."""
    rest, faces = solid()
    rng = np.random.default_rng(0)
    frames = [draw(bend(rest, 0.5 + 0.4 * np.sin(t / 2)), faces, 600, rng) for t in range(40)]
    kept = [t for t in range(40) if t not in gone]
    findings = findings_of(
        local([frames[t] for t in kept], np.array(kept) / 39, resolution=48, quality="draft")
    )
    assert findings.verdict == "good"
    beginnings = ["time passes without frames before frame 20: the motion is interpolated there"] * told
    assert [warning.split(", ")[0] for warning in findings.warnings] == beginnings


def test_what_is_done_is_told_of_the_frames_it_is_done_in() -> None:
    gaps = Gaps(9, np.array([1, 2, 4, 6, 7]), np.array([], int))  # 0, 3, 5 and 8 are missing
    cleared = np.isin(np.arange(9), [3, 8])
    assert gaps.describe(cleared) == [
        "no points of the object, or too few, in frames 0, 5: the motion is interpolated there, and the "
        "nearest pose held in frame 0",
        "nothing but floor, walls and what stands still in frames 3, 8: the motion is interpolated there, "
        "and the nearest pose held in frame 8; `cleanup=off` keeps all points",
    ]
    cleared = np.isin(np.arange(9), [3, 5])
    assert [warning.split(": ")[1] for warning in gaps.describe(cleared)] == [
        "the nearest pose is held there",
        "the motion is interpolated there; `cleanup=off` keeps all points",
    ]


def test_frames_that_show_a_room_alone_are_left_out() -> None:
    rng = np.random.default_rng(2)
    floor = [np.c_[rng.uniform(-2, 2, (900, 2)), rng.normal(-0.2, 0.001, 900)][:, [0, 2, 1]] for _ in PHASES]
    frames = [np.concatenate(pair) for pair in zip(without(clouds(), GONE), floor, strict=True)]
    prepared = prepare(frames, None)
    assert prepared.shown.tolist() == [t for t in range(FRAMES) if t not in GONE]
    assert min(map(len, prepared.clouds)) > 590
    assert prepared.removed.floor.min() > 890
    assert len(prepare(frames, None, remove=False).clouds) == FRAMES


def test_colors_come_from_frames_that_show_the_object(local: Reconstructor) -> None:
    gone = without(clouds(), GONE, np.full((30, 3), 0.1))
    colors = [np.full(cloud.shape, 200 if len(cloud) == 30 else 50, np.uint8) for cloud in gone]
    meshes = local(gone, resolution=48, color="input", colors=colors)
    assert meshes.colors is not None
    assert (meshes.colors == 50).all()


def test_one_frame_with_points_is_no_motion(local: Reconstructor) -> None:
    with pytest.raises(InputError, match=r"1 of 17 frames have 16 usable points; wanted 2: frame 0 has 0"):
        local(without(clouds(), range(16)))


@pytest.mark.parametrize("copies", [1, 20])
def test_too_few_points_are_not_blamed_on_a_room(copies: int) -> None:
    with pytest.raises(InputError, match=r"0 of 17 frames have 32 points that are finite and in d"):
        prepare([np.tile(cloud, (copies, 1)) for cloud in clouds(31)], None)


def test_too_little_beside_a_room_is_told_as_such() -> None:
    rng = np.random.default_rng(2)
    floor = [np.c_[rng.uniform(-2, 2, (900, 2)), rng.normal(-0.2, 0.001, 900)][:, [0, 2, 1]] for _ in PHASES]
    gone = without(clouds(), range(1, FRAMES))
    with pytest.raises(InputError, match=r"^1 of 17 frames show 32 points beside floor.*`cleanup=off` keeps"):
        prepare([np.concatenate(pair) for pair in zip(gone, floor, strict=True)], None)


@pytest.mark.parametrize(
    ("frames", "name"),
    [([3], "frame 3"), ([4, 3], "frames 3, 4"), ([1, 7, 8, 9, 12], "frames 1, 7 to 9, 12")],
)
def test_frames_are_named_in_short(frames: list[int], name: str) -> None:
    assert named(frames) == name
    assert named(range(0, 40, 2)) == "frames 0, 2, 4, 6, 8, 10 and 14 more"
