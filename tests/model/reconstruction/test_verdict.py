"""Verdicts: what they are made of, what they say, and how far drawn things of known truth bear them out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from model.reconstruction.inspection import Inspection
from model.reconstruction.verdict import LIMITS, Measures, judge
from tests.model.registration.solids import bend, draw, solid

FINE = Measures(0.003, 0.004, 0.0, 0.0, 0.02, 0.1, 0.02, 0.95)
PHASES = np.linspace(0, 0.6, 4)
Array = NDArray[Any]


def seen(count: int = 600) -> tuple[list[Array], Array, Array]:
    rest, faces = solid()
    vertices = np.stack([bend(rest, phase) for phase in PHASES])
    rng = np.random.default_rng(0)
    return [draw(v, faces, count, rng) for v in vertices], vertices, faces


def measure(clouds: list[Array], vertices: Array, faces: Array, **known: Any) -> Measures:
    return Inspection(clouds, vertices, faces).measures(**known)


def test_the_truth_is_good() -> None:
    measures = measure(*seen())
    assert judge(measures).word == "good"
    assert judge(measures).reasons == []
    assert measures.fit < 0.005
    assert measures.off_surface == measures.unseen == 0
    assert measures.volume < 0.05


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_the_unit_does_not_matter(unit: float) -> None:
    clouds, vertices, faces = seen()
    there = measure([unit * cloud for cloud in clouds], unit * vertices, faces).to_dict()
    assert there == pytest.approx(measure(clouds, vertices, faces).to_dict())


@pytest.mark.parametrize("count", [32, 300])
def test_points_that_are_almost_copies_are_one(count: int) -> None:
    clouds, vertices, faces = seen(count)
    rng = np.random.default_rng(1)
    doubled = [np.concatenate([cloud, cloud + rng.normal(0, 1e-9, cloud.shape)]) for cloud in clouds]
    verdict, wanted = (judge(measure(some, vertices, faces)) for some in (doubled, clouds))
    assert verdict.word == wanted.word
    assert len(verdict.reasons) == len(wanted.reasons)


def test_a_surface_beside_the_points_is_poor() -> None:
    clouds, vertices, faces = seen()
    verdict = judge(measure(clouds, vertices + np.array([0, 0.4, 0]), faces))
    assert verdict.word == "poor"
    assert any("on average, points lie" in reason for reason in verdict.reasons)


def test_a_side_that_no_frame_shows_is_doubted() -> None:
    """Of a plate that falls, though its points are closer to both sides than to each other."""
    rng = np.random.default_rng(2)
    plate = trimesh.creation.box((1, 1, 0.02)).subdivide().subdivide().subdivide()
    vertices = np.stack([plate.vertices, plate.vertices - [0, 0, 0.5]])
    clouds = [draw(frame, plate.faces, 2000, rng) for frame in vertices]
    assert measure(clouds, vertices, plate.faces).guessed < 0.05
    above = [cloud[cloud[:, 2] > frame[:, 2].mean()] for cloud, frame in zip(clouds, vertices, strict=True)]
    measures = measure(above, vertices, plate.faces)
    assert measures.unseen == 0
    assert measures.guessed == pytest.approx(0.5, abs=0.03)
    assert judge(measures).reasons == ["no frame has points on 49% of the surface"]
    turned = [above[0], clouds[1][clouds[1][:, 2] < vertices[1, :, 2].mean()]]
    assert measure(turned, vertices, plate.faces).guessed < 0.05


def test_one_side_is_doubted() -> None:
    assert judge(measure(*seen(), one_sided=True)).word == "doubtful"


def test_noise_is_doubted_where_no_paths_show_it() -> None:
    clouds, vertices, faces = seen()
    rng = np.random.default_rng(2)
    noisy = [cloud + rng.normal(0, 0.02, cloud.shape) for cloud in clouds]
    assert judge(measure(clouds, vertices, faces, unordered=True)).word == "good"
    assert "the points are too noisy" in "".join(
        judge(measure(noisy, vertices, faces, unordered=True)).reasons
    )
    assert "scatter" not in "".join(judge(measure(noisy, vertices, faces)).reasons)


def test_a_surface_that_stands_still_does_not_follow() -> None:
    clouds, vertices, faces = seen()
    assert judge(measure(clouds, np.repeat(vertices[:1], 4, axis=0), faces)).word != "good"


def test_points_without_surface_and_surface_without_points_are_seen() -> None:
    clouds, vertices, faces = seen()
    without = [cloud[cloud[:, 0] < np.median(cloud[:, 0])] for cloud in clouds]
    assert measure(without, vertices, faces).unseen > 0.2
    more = [np.concatenate([cloud, cloud[:200] + np.array([0, 0, 0.5])]) for cloud in clouds]
    assert measure(more, vertices, faces).off_surface == pytest.approx(0.25, abs=0.01)
    small = [np.concatenate([cloud, cloud[:20] + np.array([0, 0, 0.18])]) for cloud in clouds]
    assert judge(measure(small, vertices, faces)).reasons == ["3% of the points have no surface near them"]


def test_frames_in_which_something_is_wrong_are_known() -> None:
    clouds, vertices, faces = seen()
    clouds[2] = np.concatenate([clouds[2], clouds[2][:200] + np.array([0, 0, 0.5])])
    inspection = Inspection(clouds, vertices, faces)
    measures = inspection.measures()
    limits = {limit.measure: limit for limit in LIMITS}
    assert inspection.beyond(limits["off_surface"]) == ([2], [0, 1, 2, 3])
    assert inspection.beyond(limits["folded"]) == ([], [0, 1, 2, 3])
    assert inspection.beyond(limits["one_sided"]) == ([], [])
    verdict = judge(measures, lambda limit: "frame 2" if inspection.beyond(limit)[0] else "")
    assert "6% of the points have no surface near them (frame 2)" in verdict.reasons


def test_growth_and_collapse_are_seen() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3)
    grown = np.stack([sphere.vertices * factor for factor in (1, 2, 0.5)])
    measures = measure([frame[::3] for frame in grown], grown, sphere.faces)
    assert measures.volume == pytest.approx(3 * np.log(2), abs=1e-6)
    assert measures.stretch == pytest.approx(np.log(2), abs=1e-6)
    far = measure([frame[::3] + 1e6 for frame in grown], grown + 1e6, sphere.faces)
    assert far.volume == pytest.approx(measures.volume, abs=1e-6)
    inside_out = np.stack([sphere.vertices, -sphere.vertices])
    turned = measure([f[::3] for f in inside_out], inside_out, sphere.faces)
    assert turned.volume > 10
    assert "the volume changes by a factor of over 100 over time" in judge(turned).reasons


def test_a_surface_that_is_pushed_into_itself_is_doubted() -> None:
    """As of legs that leave the view: volume, edges and fit tell little."""
    rod = trimesh.creation.capsule(height=4.0, radius=0.4, count=[24, 24]).subdivide().subdivide()
    vertices = np.stack([rod.vertices] * 5)
    cut = -1.2  # of 2.4
    folded = rod.vertices[:, 2] < cut
    vertices[3, folded, 2] = 2 * cut - rod.vertices[folded, 2]
    clouds = [draw(frame, np.asarray(rod.faces), 1500, np.random.default_rng(0)) for frame in vertices]
    measures = measure(clouds, vertices, np.asarray(rod.faces))
    assert 0.15 < measures.folded < 0.5  # the end and what it lies on are half of it
    assert [reason for reason in judge(measures).reasons if "is crumpled" in reason]
    assert measure(clouds[:3], vertices[:3], np.asarray(rod.faces)).folded == 0


def test_things_too_far_apart_for_the_grid_are_doubted() -> None:
    """Both balls are there, each of twelve vertices."""
    ball = trimesh.creation.icosphere(subdivisions=0)
    away = np.array([40.0, 0, 0])
    vertices = np.concatenate([ball.vertices, ball.vertices + away])
    faces = np.concatenate([ball.faces, ball.faces + len(ball.vertices)])
    rng = np.random.default_rng(0)
    points = trimesh.creation.icosphere(subdivisions=4).vertices[rng.permutation(2562)[:600]]
    cloud = np.concatenate([points, points + away])
    verdict = judge(measure([cloud, cloud], np.stack([vertices, vertices]), faces))
    assert verdict.word != "good"
    assert any("far apart" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.measure)
def test_each_limit_counts_and_says_why(limit: Any) -> None:
    assert judge(FINE).word == "good"
    for value, word in ((limit.doubtful * 1.01, "doubtful"), (limit.poor * 1.01, "poor")):
        verdict = judge(replace(FINE, **{limit.measure: value}))
        assert verdict.word == word
        assert len(verdict.reasons) == 1
    assert judge(replace(FINE, **{limit.measure: float("nan")})).word == "poor"


@pytest.mark.parametrize("measure", ["off_surface", "unseen", "guessed", "folded", "missing"])
@pytest.mark.parametrize(("value", "share"), [(0.994, "99%"), (0.998, "over 99%"), (1.0, "100%")])
def test_nearly_all_is_not_called_all(measure: str, value: float, share: str) -> None:
    (reason,) = judge(replace(FINE, **{measure: value})).reasons
    assert f" {share} of the " in f" {reason}"


def test_good_means_close_to_the_truth() -> None:
    """On the table of `worker.evaluation.verdicts`: 95 % of the good are within 0.01 of the size."""
    data = np.load(Path(__file__).parents[2] / "data" / "verdicts.npz")
    rows = [dict(zip(data["columns"], map(float, row), strict=True)) for row in data["table"]]
    close = [row.pop("chamfer") < 0.01 for row in rows]
    words = [judge(Measures(**row)).word for row in rows]
    good = [near for near, word in zip(close, words, strict=True) if word == "good"]
    assert np.mean(good) >= 0.95
    assert len(good) > 0.4 * sum(close)  # and most of what is close is called good, or nearly
    assert np.mean([word == "poor" for near, word in zip(close, words, strict=True) if near]) < 0.1
