"""What comes of several templates, and which of them is kept."""

from dataclasses import replace

import numpy as np
import pytest

from model.compiled import Floats, Ints
from model.registration import Options, attempts, track
from model.registration.attempts import Result, Scene, unlikelihood
from model.registration.clouds import canonical, make_cloud
from model.registration.graph import Motion
from model.registration.template import make_template
from tests.model.registration.solids import exact, sequence


def scene(frames: int, cuts: tuple[int, ...] = ()) -> tuple[Scene, Result]:
    """A solid that stands still, and motions of it that say so."""
    clouds, vertices, faces = sequence(2, 400)
    template = make_template(vertices[0], faces)
    motions = [template.level.graph.still() for _ in range(frames)]
    cloud = make_cloud(canonical(clouds[0]))
    return Scene([cloud] * frames, cuts, np.ones(frames - 1, int), True, None, Options()), Result(
        template, motions
    )


def shifted(motion: Motion, x: float, y: float = 0.0) -> Motion:
    return motion._replace(positions=motion.positions + np.array([x, y, 0.0]))


def shaken(motions: list[Motion], by: float) -> list[Motion]:
    """Motions that are off to one side in every other frame."""
    return [shifted(motion, by * (t % 2)) for t, motion in enumerate(motions)]


def test_of_motions_that_fit_alike_the_smoother_one_is_likelier() -> None:
    where, result = scene(6)
    slightly, more = (
        unlikelihood(where, result._replace(motions=shaken(result.motions, by))) for by in (1e-5, 1e-4)
    )
    # Both are as far from the points as makes no difference; accelerations differ by a factor of ten.
    assert more / slightly == pytest.approx(10**0.35, rel=0.02)


def test_what_lies_off_the_points_is_less_likely() -> None:
    where, result = scene(6)
    near, far = ([shifted(motion, 0.0, by) for motion in shaken(result.motions, 1e-4)] for by in (0.0, 0.1))
    assert unlikelihood(where, result._replace(motions=far)) > 2 * unlikelihood(
        where, result._replace(motions=near)
    )


def test_a_step_over_a_cut_is_not_rough() -> None:
    whole, result = scene(6)
    cut, _ = scene(6, (3,))
    smooth = shaken(result.motions, 1e-5)
    apart = [*smooth[:3], *(shifted(motion, 1e-3) for motion in smooth[3:])]
    jumping = result._replace(motions=apart)
    assert unlikelihood(cut, jumping) == pytest.approx(
        unlikelihood(cut, result._replace(motions=smooth)), rel=0.02
    )
    assert unlikelihood(whole, jumping) > 2 * unlikelihood(cut, jumping)


def test_a_long_step_across_a_gap_is_not_rough() -> None:
    where, result = scene(5)
    along = [shifted(motion, 1e-4 * t) for motion, t in zip(result.motions, (0, 1, 2, 6, 7), strict=True)]
    steady = result._replace(motions=along)
    gap = replace(where, lapses=np.array([1, 1, 4, 1]))
    assert unlikelihood(gap, steady) < 0.1 * unlikelihood(where, steady)


@pytest.mark.parametrize("frames", [1, 2])
def test_two_frames_are_neither_smooth_nor_rough(frames: int) -> None:
    where, result = scene(frames)
    assert np.isfinite(unlikelihood(where, result))
    assert unlikelihood(where, result) > 0


@pytest.mark.parametrize(
    ("frames", "count", "tried", "swept"), [(6, 300, 4, 4), (6, 900, 2, 1), (33, 100, 2, 1)]
)
def test_of_few_points_in_few_frames_more_is_tried(
    frames: int, count: int, tried: int, swept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds, vertices, faces = sequence(frames, count)
    right = exact(clouds, vertices, faces)
    asked: list[int] = []
    improved: list[Result] = []

    def extract(points: Floats) -> tuple[Floats, Ints]:
        asked.append(len(points))
        return right(points)

    def improve(*arguments: object) -> Result:
        improved.append(attempts.improve(*arguments))  # type: ignore[arg-type]
        return improved[-1]

    monkeypatch.setattr("model.registration.tracking.improve", improve)
    result = track(clouds, None, extract, options=Options(sweeps=1))
    assert (len(asked), len(improved)) == (tried, swept)
    assert np.linalg.norm(result.vertices - vertices, axis=2).mean() < 0.02
