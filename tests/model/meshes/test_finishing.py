"""Colors, textures, smoothing and closed holes of meshes."""

import io

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from model.meshes.glb import write_glb
from model.meshes.holes import boundaries, fill_holes
from model.meshes.png import png_bytes
from model.meshes.point_colors import sample_colors
from model.meshes.sequence import MeshSequence
from model.meshes.smoothing import smooth
from model.meshes.textures import Texture, bake
from model.meshes.topology import is_closed

BALL = trimesh.creation.icosphere(subdivisions=3)


def hues(points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A color that varies smoothly with the place on the unit ball."""
    return np.rint(127.5 * (1 + points / np.linalg.norm(points, axis=-1, keepdims=True))).astype(np.uint8)


def colored_clouds(frames: int) -> tuple[list[NDArray[np.float64]], list[NDArray[np.uint8]]]:
    """Points of a ball that moves along x; one half of it is seen in each frame."""
    rng = np.random.default_rng(0)
    clouds, colors = [], []
    for frame in range(frames):
        points = rng.normal(size=(4000, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        points = points[(points[:, 0] > 0) == (frame % 2 == 0)]
        clouds.append(points + np.array([frame, 0, 0]))
        colors.append(hues(points))
    return clouds, colors


def test_vertices_get_the_colors_of_points_in_the_frames_that_show_them() -> None:
    clouds, colors = colored_clouds(6)
    found = sample_colors(lambda frame: BALL.vertices + np.array([frame, 0, 0]), clouds, colors)
    assert np.abs(found.astype(int) - hues(BALL.vertices)).max() < 20
    assert np.abs(found.astype(int) - hues(BALL.vertices)).mean() < 3


def test_points_that_are_not_finite_color_nothing() -> None:
    clouds, colors = colored_clouds(2)
    holes = [np.concatenate([np.full((9, 3), np.nan), cloud]) for cloud in clouds]
    padded = [np.concatenate([np.zeros((9, 3), np.uint8), of_frame]) for of_frame in colors]

    def places(frame: int) -> NDArray[np.float64]:
        return np.asarray(BALL.vertices + np.array([frame, 0, 0]))

    np.testing.assert_array_equal(sample_colors(places, holes, padded), sample_colors(places, clouds, colors))


def textured_ball(size: int = 128) -> Texture:
    def color(corners: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.uint8]:
        return hues(np.einsum("pkx,pk->px", BALL.vertices[corners], weights))

    return bake(BALL.vertices, BALL.faces, size, color)


def test_a_texture_shows_each_place_its_color() -> None:
    texture = textured_ball()
    np.testing.assert_array_equal(texture.origin[texture.faces], BALL.faces)
    rng = np.random.default_rng(0)
    face = rng.integers(0, len(BALL.faces), 2000)
    weights = rng.dirichlet([1, 1, 1], 2000)
    places = np.einsum("pkx,pk->px", BALL.vertices[BALL.faces[face]], weights)
    column, row = (128 * np.einsum("pkx,pk->px", texture.uv[texture.faces[face]], weights)).astype(int).T
    shown = texture.image[np.clip(row, 0, 127), np.clip(column, 0, 127)]
    assert np.abs(shown.astype(int) - hues(places)).max() < 24  # a texel is some degrees wide


def test_a_glb_holds_the_texture() -> None:
    moving = np.stack([BALL.vertices, 1.2 * BALL.vertices])
    meshes = MeshSequence(moving, BALL.faces, np.array([0.0, 1.0]), texture=textured_ball())
    scene = trimesh.load_scene(io.BytesIO(write_glb(meshes)), file_type="glb", process=False)
    [mesh] = scene.geometry.values()
    assert isinstance(mesh, trimesh.Trimesh)
    shown = mesh.visual.to_color().vertex_colors[:, :3]  # type: ignore[union-attr]
    assert np.abs(shown.astype(int) - hues(np.asarray(mesh.vertices))).mean() < 6


def test_png_is_read_by_others() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(image)))), image)


def test_smoothing_removes_bumps_and_keeps_the_size() -> None:
    rng = np.random.default_rng(0)
    bumpy = BALL.vertices * (1 + 0.02 * rng.normal(size=(3, len(BALL.vertices), 1)))
    smoothed = smooth(bumpy, BALL.faces, 10)
    radius = np.linalg.norm(smoothed, axis=2)
    assert radius.std() < 0.4 * np.linalg.norm(bumpy, axis=2).std()
    assert radius.mean() == pytest.approx(1, abs=0.005)


def test_smoothing_leaves_boundaries_in_place() -> None:
    half = BALL.faces[BALL.triangles_center[:, 1] > 0]
    edge = np.concatenate(boundaries(half))
    smoothed = smooth(BALL.vertices[None], half, 5)
    np.testing.assert_allclose(smoothed[0, edge], BALL.vertices[edge])


def test_holes_are_closed() -> None:
    faces = BALL.faces[(BALL.faces != 5).all(axis=1)][:-1]
    assert not is_closed(faces)
    vertices, closed, holes = fill_holes(np.stack([BALL.vertices, 2 * BALL.vertices]), faces)
    assert is_closed(closed)
    assert holes == vertices.shape[1] - len(BALL.vertices) == len(boundaries(faces)) == 2
    np.testing.assert_allclose(vertices[1], 2 * vertices[0])
    assert trimesh.Trimesh(vertices[0], closed, process=False).volume == pytest.approx(BALL.volume, rel=0.02)
    assert fill_holes(vertices, closed)[2] == 0
