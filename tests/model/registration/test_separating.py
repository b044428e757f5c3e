"""Two balls that touch in one frame are two things once another frame shows them apart; skin stays whole."""

import numpy as np
import pytest
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.compiled import Floats, Ints
from model.meshes.topology import is_closed
from model.registration import Options, track
from model.registration.clouds import Cloud, make_cloud
from model.registration.corresponding import track_corresponding
from model.registration.separating import any_longer, lengths, separate
from tests.model.registration.solids import draw

WAY = 1.2  # that the balls move apart
TIMES = np.linspace(0, 1, 5)


@pytest.fixture(scope="module")
def joined() -> tuple[Floats, Ints]:
    """Two balls about x = ±0.5, joined by a thin neck: one closed surface."""
    sphere = trimesh.creation.icosphere(subdivisions=4)
    x, y, z = np.asarray(sphere.vertices, float).T
    thick = 0.15 + 0.6 * np.abs(x)
    return np.stack([x, thick * y, thick * z], 1), np.asarray(sphere.faces, np.int64)


def apart(vertices: Floats, share: float) -> Floats:
    """Both sides moved rigidly, the neck drawn out between them."""
    moved = vertices.copy()
    moved[:, 0] += WAY * share * np.clip(vertices[:, 0] / 0.1, -1, 1) / 2
    return moved


def balls(times: Floats) -> list[Cloud]:
    """Points of both sides, and none of the neck, as they move apart."""
    x, y, z = trimesh.creation.icosphere(subdivisions=3, radius=0.35).vertices.T
    rest = np.concatenate([np.stack([x + side, y, z], 1) for side in (-0.5, 0.5)])
    return [make_cloud(apart(rest, t)) for t in times]


def parts(faces: Ints, count: int) -> int:
    ends = (faces.ravel(), np.roll(faces, -1, axis=1).ravel())
    graph = coo_array((np.ones(faces.size), ends), shape=(count, count))
    return int(connected_components(graph, directed=False)[0])


def test_a_neck_that_is_drawn_out_goes_and_both_sides_are_closed(joined: tuple[Floats, Ints]) -> None:
    vertices, faces = joined
    found = separate(vertices, faces, [apart(vertices, t) for t in TIMES], balls(TIMES))
    assert found is not None
    assert parts(found[1], len(found[0])) == 2
    assert is_closed(found[1])
    assert np.abs(found[0][:, 0]).min() > 0.05
    assert len(found[0]) > 0.8 * len(vertices)


def test_skin_that_stretches_by_half_and_two_frames_that_fail_take_nothing_apart(
    joined: tuple[Floats, Ints],
) -> None:
    vertices, faces = joined
    seen = balls(TIMES)
    assert separate(vertices, faces, [vertices * [1 + 0.5 * t, 1, 1] for t in TIMES], seen) is None
    assert separate(vertices, faces, [*[apart(vertices, 1.0)] * 2, *[vertices] * 3], seen) is None


def test_what_grows_stays_where_points_show_it(joined: tuple[Floats, Ints]) -> None:
    vertices, faces = joined
    grown = [apart(vertices, t) for t in TIMES]
    points = [draw(frame, faces, 1000, np.random.default_rng(0)) for frame in grown]
    assert separate(vertices, faces, grown, [make_cloud(p) for p in points]) is None


def test_faces_that_meet_in_one_vertex_are_closed_each_for_itself() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = np.asarray(sphere.vertices, float), np.asarray(sphere.faces, np.int64)
    torn = vertices.copy()
    rng = np.random.default_rng(0)
    torn[rng.permutation(len(vertices))[:12]] *= 2  # spikes here and there
    found = separate(vertices, faces, [vertices, torn, torn, torn], [make_cloud(vertices)] * 4)
    assert found is not None
    assert is_closed(found[1])
    np.testing.assert_allclose(np.linalg.norm(found[0], axis=1), 1.0, atol=0.08)


def test_corresponding_points_that_move_apart_make_two_things(joined: tuple[Floats, Ints]) -> None:
    vertices, faces = joined
    points = draw(vertices, faces, 800, np.random.default_rng(0))
    points = points[np.abs(points[:, 0]) > 0.12]
    # Where they touch they are larger, so that the template is taken there.
    paths = np.stack([(1.1 - 0.1 * t) * apart(points, t) for t in TIMES])[::-1]

    def extract(cloud: Floats, _: float) -> tuple[Floats, Ints]:
        size = np.ptp(cloud, axis=0)[1] / np.ptp(points, axis=0)[1]
        return cloud.mean(0) + size * (vertices - points.mean(0)), faces

    result = track_corresponding(paths, TIMES, extract)
    assert result.keyframe == len(TIMES) - 1
    assert parts(result.faces, result.vertices.shape[1]) == 2
    assert is_closed(result.faces)
    touching, away = result.vertices[-1, :, 0] / 1.1, result.vertices[0, :, 0]
    balls = np.abs(touching) > 0.15
    np.testing.assert_allclose((away - touching)[balls], WAY / 2 * np.sign(touching[balls]), atol=0.03)


def test_unordered_points_that_move_apart_make_two_things(joined: tuple[Floats, Ints]) -> None:
    vertices, faces = joined
    clouds = []
    for frame, t in enumerate(TIMES):
        points = draw(vertices, faces, 600, np.random.default_rng(frame))
        clouds.append((1.06 - 0.06 * t) * apart(points[np.abs(points[:, 0]) > 0.12], t))

    def extract(cloud: Floats) -> tuple[Floats, Ints]:
        size = np.ptp(cloud, axis=0)[1] / np.ptp(vertices, axis=0)[1]
        return np.ptp(cloud, axis=0) / 2 + cloud.min(0) + size * vertices, faces

    result = track(clouds, None, extract, options=Options(keyframes=1, sweeps=2))
    assert result.keyframe == 0
    assert parts(result.faces, result.vertices.shape[1]) == 2
    touching, away = result.vertices[0, :, 0] / 1.06, result.vertices[-1, :, 0]
    balls = np.abs(touching) > 0.2
    np.testing.assert_allclose((away - touching)[balls], WAY / 2 * np.sign(touching[balls]), atol=0.1)


def test_the_faces_with_a_longer_side_are_those_of_the_reference() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=2)
    vertices, faces = np.array(sphere.vertices, np.float64), np.array(sphere.faces, np.int64)
    rng = np.random.default_rng(0)
    moved = vertices + rng.normal(0, 0.1, vertices.shape)
    most = 1.2 * lengths(vertices, faces)
    found = any_longer(moved, faces, most)
    np.testing.assert_array_equal(found, (lengths(moved, faces) > most).any(axis=1))
    assert 0 < found.sum() < len(faces)
