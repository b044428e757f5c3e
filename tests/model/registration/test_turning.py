"""A head that looks aside in one frame, or back over three, and a sequence in which nothing is lost."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from model.canceling import canceled_by
from model.cells import sort_into_cells
from model.compiled import Floats, Ints
from model.registration import reference, tracking, turning
from model.registration.clouds import Cloud, canonical, make_cloud
from model.registration.fitting import fit
from model.registration.graph import Motion
from model.registration.registering import NEAR, energies_of
from model.registration.template import Template, make_template
from model.registration.turning import Laid, laid_anew, lost_frames, turn_parts
from tests.model.registration.solids import draw, exact, solid

FRAMES, ASIDE = 6, 3  # frames, and the one in which the head has turned
ABOUT_Z = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def truth() -> tuple[Floats, Ints]:
    """A trunk and a head above it that touches nothing: vertices [T, V, 3] and faces."""
    one, faces = solid(3)
    trunk, head = one - [0.0, 0.0, 0.3], 0.6 * one
    head[:, 1:] *= 1.5 + 2.0 * head[:, :1]  # thick at one end, so that no turn takes it to itself
    vertices = np.tile(np.concatenate([trunk, head]), (FRAMES, 1, 1))
    vertices[ASIDE, len(trunk) :] = head @ ABOUT_Z.T
    return vertices, np.concatenate([faces, faces + len(trunk)])


@pytest.fixture(scope="module")
def points(truth: tuple[Floats, Ints]) -> list[Floats]:
    rng = np.random.default_rng(4)
    return [draw(vertices, truth[1], 900, rng) for vertices in truth[0]]


@pytest.fixture(scope="module")
def clouds(points: list[Floats]) -> list[Cloud]:
    return [make_cloud(cloud) for cloud in points]


@pytest.fixture(scope="module")
def template(truth: tuple[Floats, Ints]) -> Template:
    return make_template(truth[0][0], truth[1])


@pytest.fixture(scope="module")
def lost(template: Template, clouds: list[Cloud]) -> list[Motion]:
    """Every frame fitted from rest, the head in vain where it has turned."""
    still = template.level.graph.still()
    return [fit(template.level, cloud, still, NEAR, True) for cloud in clouds]


def ignored(fraction: float) -> None:
    pass


def turned(
    template: Template,
    clouds: list[Cloud],
    motions: list[Motion],
    report: Callable[[float], None] = ignored,
) -> list[Motion]:
    return turn_parts(template, clouds, motions, energies_of(template.level, clouds, motions, True), report)


def errors(template: Template, motions: list[Motion], truth: Floats) -> list[float]:
    moved = [template.move(m) for m in motions]
    return [float(np.linalg.norm(m - t, axis=1).mean()) for m, t in zip(moved, truth, strict=True)]


def test_a_part_that_turned_far_is_found(
    template: Template, clouds: list[Cloud], lost: list[Motion], truth: tuple[Floats, Ints]
) -> None:
    found = turned(template, clouds, lost)
    assert errors(template, lost, truth[0])[ASIDE] > 0.1
    assert max(errors(template, found, truth[0])) < 0.02
    others = [t for t in range(FRAMES) if t != ASIDE]
    assert all(found[t] is lost[t] for t in others)


def test_frames_that_fit_alike_are_left_alone(
    template: Template, clouds: list[Cloud], lost: list[Motion]
) -> None:
    same = [lost[0]] * 4
    assert all(m is lost[0] for m in turned(template, clouds[:1] * 4, same))


def test_looking_for_lost_parts_can_be_canceled_at_each_part(
    template: Template, clouds: list[Cloud], lost: list[Motion], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [0]
    seen: list[int] = []

    def ask() -> None:
        asked[0] += 1

    def noted(*arguments: Any) -> Laid | None:
        seen.append(asked[0])
        return laid_anew(*arguments)

    monkeypatch.setattr(turning, "laid_anew", noted)
    with canceled_by(ask):
        turned(template, clouds, lost)
    assert len(seen) == len(set(seen)) > 1


def test_a_turn_is_found_in_tracking(points: list[Floats], truth: tuple[Floats, Ints]) -> None:
    vertices, faces = truth
    found = tracking.track(points, None, exact(points, vertices, faces))
    off = np.linalg.norm(found.vertices - vertices, axis=2).mean(axis=1)
    assert found.keyframe != ASIDE
    assert off.max() < 0.02


@pytest.mark.parametrize(
    "turns",
    [
        {4: 80, 5: 170, 6: 80},
        {4: 90, **dict.fromkeys(range(5, 11), 180)},
        dict.fromkeys(range(5, 11), 180),
        dict.fromkeys(range(3), 180),
    ],
    ids=["there-and-back", "to-the-end", "at-once-to-the-end", "from-the-start"],
)
def test_a_turn_through_several_frames_is_found(
    template: Template, truth: tuple[Floats, Ints], turns: dict[int, int]
) -> None:
    """Back again, and to an end of the sequence, where what is lost in most frames does not stand out."""
    head = slice(len(truth[0][0]) // 2, None)
    vertices = np.tile(truth[0][0], (11, 1, 1))
    for t, angle in turns.items():
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        vertices[t, head] @= np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    rng = np.random.default_rng(5)
    clouds = [make_cloud(draw(frame, truth[1], 900, rng)) for frame in vertices]
    still = template.level.graph.still()
    lost = [fit(template.level, cloud, still, NEAR, True) for cloud in clouds]
    assert min(errors(template, lost, vertices)[t] for t in turns) > 0.1
    told: list[float] = []
    assert max(errors(template, turned(template, clouds, lost, told.append), vertices)) < 0.02
    assert len(told) >= len(turns)
    assert all(0 <= fraction < 1 for fraction in told)
    assert max(told) >= 0.75


@pytest.mark.parametrize(
    ("energies", "lost"),
    [
        ([1.0], []),
        ([0.0, 0.0, 0.0], []),
        ([1.0, 1.12, 1.0, 1.12, 1.0, 1.35, 1.5, 1.35, 1.5, 1.35], []),  # steps are large here
        ([1.0, 1.1, 1.0, 1.3, 1.0, 1.1], [3]),
        ([1.0, 1.02, 1.0, 1.5, 1.5, 1.48, 1.5, 1.52, 1.5], [3]),  # the first of those beyond the step
        ([1.5, 1.48, 1.5, 1.52, 1.5, 1.0, 1.02, 1.0], [4]),
        ([1.0, 1.08, 1.17, 1.26, 1.36, 1.47, 1.59], []),
    ],
)
def test_which_frames_stand_out(energies: list[float], lost: list[int]) -> None:
    assert lost_frames(np.array(energies)) == lost


@pytest.mark.parametrize("flat", [False, True])
def test_parts_are_laid_as_the_reference_lays_them(flat: bool) -> None:
    rng = np.random.default_rng(0)
    cloud = canonical(rng.normal(size=(300, 3)) * [1.0, 0.6, 0.0 if flat else 0.3])
    turns = [Rotation.from_rotvec(by).as_matrix() for by in rng.normal(0, 0.2, (4, 3))]
    parts = np.stack([cloud[:80] @ turn.T + 0.05 for turn in turns])
    distances, places = turning._laid(parts, sort_into_cells(cloud), cloud, 12)
    for part, distance, place in zip(parts, distances, places, strict=True):
        wanted, where = reference.laid(part, cloud, 12, turning.TRIMMED)
        assert distance == pytest.approx(wanted, abs=1e-7)
        assert place == pytest.approx(where, abs=1e-7)


def test_points_on_a_line_stay_where_they_are() -> None:
    line = np.linspace(0, 1, 30)[:, None] * np.array([1.0, 0.0, 0.0])
    distances, places = turning._laid(line[None], sort_into_cells(line + 0.01), line + 0.01, 5)
    assert places[0] == pytest.approx(line)
    assert np.isfinite(distances).all()
