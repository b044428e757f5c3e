"""Sequences of any kind through a model of bodies: what comes out, and what is said about it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import Reconstructor
from model.errors import Canceled, InputError, PoorFitError
from model.meshes.sequence import MeshSequence
from tests.model.registration.solids import sequence

Array = NDArray[Any]


@pytest.fixture(scope="module")
def plain(rec: Reconstructor, cloud: Array) -> MeshSequence:
    return rec(cloud, resolution=32)


def share(meshes: MeshSequence) -> float:
    """Mean distance of the points as a share of their size."""
    assert meshes.findings is not None
    return meshes.findings.measures["fit"]


def test_the_surface_lies_on_the_points(rec: Reconstructor, cloud: Array, plain: MeshSequence) -> None:
    unrefined = rec(cloud, resolution=32, refine="off")
    assert share(plain) < 0.9 * share(unrefined)
    assert plain.vertices.shape[0] == 17
    assert plain.watertight
    assert set(plain.timings) == {"prepare", "register", "fit"}
    findings = plain.findings
    assert findings is not None
    assert findings.decisions["corresponding"] is True
    assert findings.decisions["removed"] == {}
    assert findings.warnings == []
    assert findings.confidence is not None
    assert findings.confidence.shape == plain.vertices.shape[1:2]


def test_coordinates_do_not_matter(rec: Reconstructor, cloud: Array, plain: MeshSequence) -> None:
    offset = np.array([1e6, -2e6, 3e5])
    there = rec(1000 * cloud + offset, resolution=32)
    assert np.abs((there.vertices - offset) / 1000 - plain.vertices).max() < 1e-3


def test_one_wild_point_changes_nothing(rec: Reconstructor, cloud: Array, plain: MeshSequence) -> None:
    wild = cloud.copy()
    wild[0, 0] += [30, 0, 0]
    meshes = rec(wild, resolution=32)
    assert meshes.findings is not None
    assert meshes.findings.decisions["removed"] == {"outliers": [1] + 16 * [0]}
    assert share(meshes) < 1.1 * share(plain)
    blind = rec(wild, resolution=32, refine="off")
    assert blind.findings is not None
    assert blind.findings.verdict == "poor"
    assert blind.findings.reasons


@pytest.mark.parametrize("up", ["auto", "z"])
def test_z_up_is_turned_and_turned_back(
    rec: Reconstructor, cloud: Array, plain: MeshSequence, up: str
) -> None:
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    meshes = rec(cloud @ turn.T, resolution=32, up=up)
    assert meshes.findings is not None
    assert meshes.findings.decisions["up"] == "z"
    assert np.abs(meshes.vertices - plain.vertices @ turn.T).max() < 1e-6


def test_a_long_way_is_walked(rec: Reconstructor, cloud: Array, plain: MeshSequence) -> None:
    walked = np.linspace(0, 8, 17)[:, None, None] * [1.0, 0, 0]
    meshes = rec(cloud + walked, resolution=32)
    assert np.abs(meshes.vertices - walked - plain.vertices).mean() < 0.01


def test_five_frames_at_uneven_times(rec: Reconstructor, cloud: Array) -> None:
    times = np.array([0.0, 0.1, 0.35, 0.5, 1.0])
    meshes = rec(cloud[[0, 2, 6, 8, 16]], times=times, frames=9, resolution=32)
    assert meshes.vertices.shape[0] == 9
    assert meshes.fit is not None
    assert np.array_equal(meshes.fit.times, times)
    assert share(meshes) < 0.02


def test_unordered_frames_of_different_size(rec: Reconstructor, cloud: Array) -> None:
    rng = np.random.default_rng(0)
    ragged = [rng.permutation(frame)[: 280 + 10 * number] for number, frame in enumerate(cloud[:3])]
    meshes = rec(ragged, resolution=32)
    assert meshes.findings is not None
    assert meshes.findings.decisions["corresponding"] is False
    assert share(meshes) < 0.02
    network_alone = rec(ragged, resolution=32, refine="off")
    assert network_alone.vertices.shape[0] == 3
    assert share(network_alone) < 0.05


def test_few_points_are_not_said_to_show_one_side(rec: Reconstructor, cloud: Array) -> None:
    """Few points hide each other too little to tell, so that all of them would be called one-sided."""
    few = [frame[np.random.default_rng(t).permutation(len(frame))[:60]] for t, frame in enumerate(cloud[:4])]
    meshes = rec(few, np.linspace(0, 1, 4), corresponding=False, resolution=32)
    assert meshes.findings is not None
    assert meshes.findings.decisions["one_sided"] is False
    assert not any("one side" in warning for warning in meshes.findings.warnings)


def test_rows_said_to_correspond_that_do_not_are_warned_of(rec: Reconstructor, cloud: Array) -> None:
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(frame) for frame in cloud]
    meshes = rec(shuffled, resolution=32, corresponding=True, refine="off")
    assert meshes.findings is not None
    assert "neighbors do not stay neighbors" in meshes.findings.warnings[0]


def test_a_pose_that_does_not_move_is_warned_of(rec: Reconstructor, cloud: Array) -> None:
    meshes = rec([cloud[0]] * 3, resolution=32)
    assert meshes.findings is not None
    assert meshes.findings.warnings == ["nothing moves: all frames show the same pose"]


def test_what_is_no_body_at_all_is_refused_with_advice(rec: Reconstructor) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, (3, 400, 3))
    with pytest.raises(PoorFitError, match=r"bodies found no surface that fits.*Try another model") as caught:
        rec(noise, resolution=32, corresponding=True)
    assert caught.value.code == "poor_fit"


def test_another_thing_after_a_cut_is_refused_with_its_frame(rec: Reconstructor, cloud: Array) -> None:
    other = np.where(np.arange(17)[:, None, None] < 8, cloud, cloud * np.array([3, 0.5, 2]))
    with pytest.raises(PoorFitError, match="cut before frame 8, and a different object follows"):
        rec(other, resolution=32)


@pytest.mark.parametrize("stage", ["prepare", "register", "fit"])
def test_cancel_in_every_stage(rec: Reconstructor, cloud: Array, stage: str) -> None:
    reached: list[str] = []
    with pytest.raises(Canceled):
        rec(
            cloud,
            resolution=32,
            progress=lambda name, _: reached.append(name),
            is_canceled=lambda: stage in reached,
        )
    assert reached.count(stage) == 1


def test_progress_never_falls(rec: Reconstructor, cloud: Array) -> None:
    told: list[float] = []
    rec(cloud, resolution=32, progress=lambda _, fraction: told.append(fraction))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)


@pytest.fixture(scope="module")
def local() -> Reconstructor:
    return Reconstructor.from_config("local_oflow")


@pytest.fixture(scope="module")
def drawn() -> list[Array]:
    return sequence(4, 300, last=0.5)[0]


@pytest.fixture(scope="module")
def tracked(local: Reconstructor, drawn: list[Array]) -> MeshSequence:
    return local(drawn, resolution=32, quality="draft")


HOLES = np.full((40, 3), np.nan)
SAME: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "in millimetres, far away": (lambda c: 1000 * c + 1e6, lambda v: (v - 1e6) / 1000),
    "in a tiny unit": (lambda c: 1e-25 * c, lambda v: 1e25 * v),
    "in another order": (lambda c: np.random.default_rng(len(c)).permutation(c), lambda v: v),
    "twice": (lambda c: np.concatenate([c, c]), lambda v: v),
    "among points without coordinates": (lambda c: np.concatenate([HOLES, c, HOLES]), lambda v: v),
    "as lists": (lambda c: c.tolist(), lambda v: v),
}


@pytest.mark.parametrize("how", SAME)
def test_the_same_points_have_the_same_surface(
    local: Reconstructor, drawn: list[Array], tracked: MeshSequence, how: str
) -> None:
    change, back = SAME[how]
    meshes = local([change(cloud) for cloud in drawn], resolution=32, quality="draft")
    np.testing.assert_array_equal(meshes.faces, tracked.faces)
    np.testing.assert_allclose(back(meshes.vertices), tracked.vertices, rtol=0, atol=1e-7)


def test_a_model_of_any_thing_in_any_orientation(
    cloud: Array, plain: MeshSequence, local: Reconstructor
) -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    meshes = local(cloud @ turn, resolution=64)
    assert meshes.findings is not None
    assert meshes.findings.verdict == "good"
    assert meshes.findings.decisions["up"] in ("y", "z")
    assert meshes.up == "y", "files are turned by what was said, not by a guess"
    assert share(meshes) < 0.7 * share(plain)
    with pytest.raises(InputError, match="local_oflow has no motion of its own"):
        local(cloud, refine="off")
