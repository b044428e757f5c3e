"""Pictures: the rasteriser compared with a slow reference, the camera, and what is on the sheet."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model.meshes.sequence import Findings, MeshSequence
from model.registration.orientation import TURNS, up_axis
from service.core.sequences.sequence import PointCloudSequence
from worker.rendering import previews
from worker.rendering.pictures import PAPER, Camera, contact_sheet, draw_mesh, draw_points
from worker.rendering.rasterizer import rasterise


def slow_rasterise(screen: NDArray[Any], faces: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Face at each pixel [H, W], -1 for none: one pixel and one face at a time."""
    width, height = size
    result = np.full((height, width), -1)
    for y in range(height):
        for x in range(width):
            nearest = 0.0
            for number, face in enumerate(faces):
                corner = screen[face]
                system = np.vstack([corner[:, :2].T, np.ones(3)])
                if abs(np.linalg.det(system)) < 1e-9:
                    continue
                weights = np.linalg.solve(system, [x + 0.5, y + 0.5, 1])
                closeness = weights @ (1 / corner[:, 2])
                if weights.min() >= 0 and closeness > nearest:
                    nearest, result[y, x] = closeness, number
    return result


def sphere(rings: int = 24, sectors: int = 48) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices and outward faces of a unit sphere."""
    latitude, longitude = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, sectors, endpoint=False), indexing="ij"
    )
    across = np.sin(latitude)
    vertices = np.stack([across * np.sin(longitude), np.cos(latitude), across * np.cos(longitude)], axis=-1)
    i, j = np.meshgrid(np.arange(rings), np.arange(sectors), indexing="ij")
    a, b = i * sectors + j, i * sectors + (j + 1) % sectors
    c, d = a + sectors, b + sectors
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)
    return vertices.reshape(-1, 3), faces


def drawn(image: NDArray[Any]) -> NDArray[Any]:
    """Where a picture differs clearly from paper: [H, W]. Shadows are grey and do not count."""
    colored = np.ptp(image.astype(int), axis=-1) > 12
    return colored & (np.abs(image.astype(int) - PAPER).max(axis=-1) > 20)


BLUE, RED = np.array([40, 90, 220], np.uint8), np.array([220, 60, 40], np.uint8)
FRONT = {"azimuth": 0.0, "elevation": 0.0}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rasteriser_agrees_with_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    screen = np.column_stack([rng.uniform(-4, 20, (18, 2)), rng.uniform(1, 5, 18)])
    faces = np.arange(18).reshape(6, 3)  # no corner in common: no ties
    pixels, face, weights = rasterise(screen, faces, (15, 11))
    fast = np.full(15 * 11, -1)
    fast[pixels] = face
    np.testing.assert_array_equal(fast.reshape(11, 15), slow_rasterise(screen, faces, (15, 11)))
    middle = np.stack([pixels % 15, pixels // 15], axis=1) + 0.5
    np.testing.assert_allclose(
        np.einsum("pkx,pk->px", screen[faces[face]][..., :2], weights), middle, atol=1e-6
    )


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = sphere()
    camera = Camera.framing(vertices)
    whole = draw_mesh(vertices, faces, None, camera, (80, 80))
    monkeypatch.setattr("worker.rendering.rasterizer.CANDIDATES", 500)
    np.testing.assert_array_equal(draw_mesh(vertices, faces, None, camera, (80, 80)), whole)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.floats(-180, 180), st.floats(-80, 80), st.sampled_from([None, 0.5, 1, 2])
)
def test_camera_holds_every_point_and_wastes_little(
    seed: int, azimuth: float, elevation: float, aspect: float
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3, 40, 3)) * rng.uniform(0.1, 50, 3) + rng.uniform(-100, 100, 3)
    camera = Camera.framing(points, azimuth, elevation, aspect)
    size = (round(300 * camera.aspect), 300)
    x, y, depth = camera.project(points.reshape(-1, 3), size).T
    assert depth.min() > 0
    assert x.min() >= 0
    assert x.max() <= size[0]
    assert y.min() >= 0
    assert y.max() <= size[1]
    used = max(np.abs(x - size[0] / 2).max() / size[0], np.abs(y - 150).max() / 300) * 2
    assert used > 0.85


def test_camera_stands_to_the_right_in_front_and_above() -> None:
    camera = Camera.framing([[-1, -1, -1], [1, 1, 1]])
    corners = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, -1.0]])
    (x0, y0, d0), up, forwards, left_hand, back = camera.project(corners, (200, 200))
    assert up[1] < y0
    assert up[0] == pytest.approx(x0, abs=2), "upright, but for the perspective"
    assert forwards[2] < d0 < back[2]
    assert forwards[0] < x0, "+z comes to the left of the picture, seen from the right"
    assert left_hand[0] > x0
    assert forwards[1] > y0, "seen from above, what is nearer lies lower"


def test_nearer_surface_hides_the_farther_in_any_order_and_winding() -> None:
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    vertices = np.concatenate([square, square * 0.5 + [0, 0, 0.5]])
    colors = np.repeat([BLUE, RED], 4, axis=0)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    camera = Camera.framing(vertices, **FRONT)
    image = draw_mesh(vertices, faces, colors, camera, (90, 90))
    assert image[45, 45, 0] > 150 > image[45, 45, 2], "red in the middle"
    assert image[45, 9, 2] > 150 > image[45, 9, 0], "blue around it"
    np.testing.assert_array_equal(draw_mesh(vertices, faces[::-1], colors, camera, (90, 90)), image)
    np.testing.assert_array_equal(draw_mesh(vertices, faces[:, ::-1], colors, camera, (90, 90)), image)


def test_sphere_is_round_smooth_and_lit_from_the_upper_left() -> None:
    vertices, faces = sphere()
    camera = Camera.framing(vertices, **FRONT)
    image = draw_mesh(vertices, faces, BLUE[None].repeat(len(vertices), 0) / 255, camera, (120, 120))
    covered = drawn(image)
    rows, columns = np.nonzero(covered)
    radius = np.ptp(rows) / 2
    assert covered.sum() == pytest.approx(np.pi * radius**2, rel=0.03)
    assert np.ptp(columns) == pytest.approx(2 * radius, abs=2)
    blue = image[..., 2].astype(int)
    assert blue[40, 40] > blue[60, 60] > blue[85, 85]
    inner = blue[35:85, 35:85]
    assert max(np.abs(np.diff(inner, axis=k)).max() for k in (0, 1)) <= 8, "no facets"
    edge = image[60, : columns.min() + 2, 2]
    assert len(set(edge.tolist())) > 1, "the outline is anti-aliased"


def test_colors_are_interpolated_and_bytes_equal_fractions() -> None:
    triangle = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0.0]])
    camera = Camera.framing(triangle, **FRONT)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    image = draw_mesh(triangle, np.array([[0, 1, 2]]), colors, camera, (100, 100))
    x, y, _ = camera.project(np.array([[0.1, 0.1, 0], [1.7, 0.1, 0], [0.1, 1.7, 0]]), (100, 100)).T.astype(
        int
    )
    np.testing.assert_array_equal(image[y, x].argmax(axis=1), [0, 1, 2])
    np.testing.assert_array_equal(
        draw_mesh(triangle, np.array([[0, 1, 2]]), colors / 255, camera, (100, 100)), image
    )


def test_faces_without_area_behind_the_viewer_or_none_draw_nothing() -> None:
    vertices, _ = sphere()
    camera = Camera.framing(vertices)
    behind = vertices + 20 * (camera.rotation.T @ [0, 0, 1])
    for mesh, faces in ((vertices, [[3, 3, 5]]), (behind, [[0, 60, 100]]), (vertices, np.zeros((0, 3)))):
        image = draw_mesh(mesh, np.array(faces, int), None, camera, (60, 60))
        assert not drawn(image).any()


def test_points_are_round_dots_where_they_belong_darker_when_nearer() -> None:
    points = np.array([[-1, 0, 1], [1, 0, -1], [0, 1, 0.0]])
    camera = Camera.framing(points, **FRONT)
    image = draw_points(points, camera, (240, 160))
    x, y, _ = camera.project(points, (240, 160)).T.astype(int)
    near, far, middle = image[y, x].astype(int).sum(axis=1)
    assert near < middle < far < 3 * 245
    dark = drawn(image[:, : x[2] - 20])
    rows, columns = np.nonzero(dark)
    assert rows.mean() == pytest.approx(y[0], abs=1)
    assert columns.mean() == pytest.approx(x[0], abs=1)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1, "round"


def test_sheet_shows_first_middle_and_last_frame_nearest_in_time() -> None:
    """Output frames are eight times as many as input frames, and each has a colour of its own height."""
    vertices, faces = sphere(6, 12)
    times, mesh_times = np.array([0.0, 0.1, 0.2]), np.linspace(0, 0.2, 17)
    up = np.array([0, 20, 0])  # metres a second
    moving = np.stack([vertices + t * up for t in mesh_times])
    points = [vertices + t * up for t in times]
    colors = np.repeat(RED[None], len(vertices), axis=0)
    sheet = contact_sheet(
        points, moving, faces, colors, times=times, mesh_times=mesh_times, title="Rising", caption="fit 1 mm"
    )
    image = np.asarray(sheet)
    red = (image[..., 0].astype(int) - image[..., 2]) > 60
    blue = (image[..., 2].astype(int) - image[..., 0]) > 40
    lower_half = image.shape[0] // 2
    assert not red[: lower_half - 40].any(), "the mesh is below"
    assert not blue[lower_half + 40 :].any(), "the points are above"
    for mask in (red, blue):
        heights = [np.nonzero(part)[0].mean() for part in np.array_split(mask, 3, axis=1)]
        assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], rel=0.15)
        assert heights[0] - heights[2] > 100
    bare = contact_sheet(points, moving, faces, colors)
    assert bare.height < sheet.height, "no title and no caption leave no gap"


def test_long_captions_wrap_inside_the_sheet() -> None:
    vertices, faces = sphere(6, 12)
    caption = "a word and another " * 20
    sheet = contact_sheet([vertices] * 2, vertices[None], faces, caption=caption, height=120)
    margin = np.asarray(sheet)[-140:, -30:]
    assert (margin == PAPER).all()


def test_sheet_of_nothing_is_an_error() -> None:
    vertices, faces = sphere(6, 12)
    with pytest.raises(ValueError, match="0 input and 1 output frames"):
        contact_sheet([], vertices[None], faces)


def test_points_around_the_camera_hide_nothing() -> None:
    """As those of a room, in which the camera that frames a thing is."""
    rng = np.random.default_rng(0)
    thing = rng.uniform(-1, 1, (400, 3))
    camera = Camera.framing(thing, aspect=1.0)
    eye = camera.centre + camera.distance * camera.rotation[2]
    behind, near = (eye + step * camera.rotation[2] + rng.normal(0, 0.1, (50, 3)) for step in (3, -0.2))
    image = draw_points(np.concatenate([thing, behind, near]), camera, (80, 80))
    np.testing.assert_array_equal(image, draw_points(thing, camera, (80, 80)))
    assert draw_points(behind, camera, (80, 80)).shape == (80, 80, 3)
    below = thing - [0, 100, 0]
    with np.errstate(all="raise", under="ignore"):
        assert draw_points(np.concatenate([thing, below]), camera, (80, 80)).min(axis=2).mean() > 200


def test_a_turntable_turns_once_beside_the_points() -> None:
    vertices, faces = sphere(12, 24)
    moving = np.stack([vertices * [1, 1, 0.2], vertices * [1, 1, 0.2] + [0.5, 0, 0]])  # a disc
    times = np.array([0.0, 1.0])
    cloud = tuple(frame[:100].astype(np.float32) for frame in moving)
    content = previews.write_turntable(
        MeshSequence(moving, faces, times), PointCloudSequence(cloud, times, True)
    )
    film = Image.open(io.BytesIO(content))
    assert film.size == (2 * previews.PANEL, previews.PANEL)
    widths = []
    for picture in range(film.n_frames):  # type: ignore[attr-defined]
        film.seek(picture)
        pixels = np.asarray(film.convert("RGB")).astype(int)
        drawn = np.abs(pixels - pixels[0, 0]).max(axis=2) > 40
        assert drawn[:, : previews.PANEL].any()
        widths.append(int(drawn[:, previews.PANEL :].any(axis=0).sum()))
    assert film.n_frames == previews.PICTURES  # type: ignore[attr-defined]
    assert max(widths) > 1.6 * min(widths)  # seen from its edge and from its face


def test_a_turntable_shows_all_of_a_motion() -> None:
    """A flat plate, and a bar that swings from it and stands upright at the end."""
    side = np.linspace(-1, 1, 9)
    plate = np.stack(np.meshgrid(side, [0.0], side), axis=-1).reshape(-1, 3)
    bar = np.linspace(0, 2, 9)[:, None]
    swing = [bar * [0, np.sin(angle), np.cos(angle)] - [0, 0, 1] for angle in np.linspace(0, np.pi / 2, 10)]
    moving = np.stack([np.concatenate([plate, pose]) for pose in swing])  # [T, V, 3]
    for camera in previews._turning(moving):
        pixels = camera.project(moving.reshape(-1, 3), (240, 240))[:, :2]
        assert pixels.min() > 11  # a twentieth stays free
        assert pixels.max() < 229


@pytest.mark.parametrize("up", ["z", "-x"])
def test_previews_stand_upright(up: str) -> None:
    vertices, faces = sphere(12, 24)
    upright = vertices * [0.3, 1, 0.3] + [0, 0, 1]  # tall
    turn = next(turn for turn in TURNS if up_axis(turn) == up)
    times = np.array([0.0, 1.0])
    meshes = MeshSequence(np.stack([upright, upright]), faces, times)
    lying = replace(
        meshes,
        vertices=meshes.vertices @ turn,
        findings=Findings("good", [], [], {"up": up}, {}),
    )
    assert previews.thumbnail(lying) == previews.thumbnail(meshes)
    clouds = PointCloudSequence((upright.astype(np.float32),) * 2, times, True)
    turned = PointCloudSequence(((upright @ turn).astype(np.float32),) * 2, times, True)
    assert previews.write_turntable(lying, turned) == previews.write_turntable(meshes, clouds)
