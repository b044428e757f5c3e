"""A depth camera that zooms watches a thing in a room: from its images to the points of the thing."""

import io
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from model.reconstruction.preparation import prepare
from service.core.sequences.sequence import PointCloudSequence, read_sequence
from tests.model.registration.solids import bend, draw, solid

WIDTH, HEIGHT, FRAMES = 160, 120, 17
NOISE = 0.0015  # standard deviation of a depth over its square, as of a Kinect


def depths(points: NDArray[Any], focal: float) -> NDArray[Any]:
    """Distances [H, W] of the nearest of many points [N, 3], infinite where there are none."""
    x, y = np.round(focal * points[:, :2] / points[:, 2:] + [WIDTH / 2, HEIGHT / 2] - 0.5).astype(int).T
    inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
    image = np.full((HEIGHT, WIDTH), np.inf)
    np.minimum.at(image, (y[inside], x[inside]), points[inside, 2])
    return image


def image(
    time: float, focal: float, shown: bool, chest: bool, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Depths [H, W] in millimeters of a thing in a room; and which pixels show the thing."""
    down = np.mgrid[:HEIGHT, :WIDTH][0]
    slope = np.maximum((down - HEIGHT / 2 + 0.5) / focal, 1e-9)
    room = np.minimum(4.0, 1 / slope)  # a wall 4 m away, a floor 1 m below
    if chest:
        box = trimesh.creation.box((0.5, 0.5, 0.5))
        points = draw(np.asarray(box.vertices), np.asarray(box.faces), 60_000, rng)
        points += [1.0, 0.75, 3.2]
        room = np.minimum(room, depths(points, focal))
    thing = np.full((HEIGHT, WIDTH), np.inf)
    if shown:
        rest, faces = solid()
        points = draw(bend(rest, time), faces, 60_000, rng) * [1.2, -1.2, -1.2] + [0.3 * time - 0.3, 0.2, 2.4]
        thing = depths(points, focal)
    depth = np.minimum(room, thing)
    depth = depth + rng.normal(0, NOISE, depth.shape) * depth**2
    return (1000 * depth).astype(np.uint16), thing < room


def recording(gone: tuple[int, ...], zoom: float, chest: bool) -> tuple[PointCloudSequence, list[int]]:
    """The sequence, and how many points of the thing each of its frames shows."""
    rng = np.random.default_rng(0)
    focals = 130 * (1 + zoom * np.arange(FRAMES))
    images = [image(t / 16, focal, t not in gone, chest, rng) for t, focal in enumerate(focals)]
    cameras = np.array([[[f, 0, 79.5], [0, f, 59.5], [0, 0, 1]] for f in focals])  # [T, 3, 3]
    file = io.BytesIO()
    np.savez(file, depth=np.stack([depth for depth, _ in images]), K=cameras)
    return read_sequence(file), [int(seen.sum()) for _, seen in images]


@pytest.mark.parametrize(("zoom", "chest"), [(0, False), (0.02, False), (0, True)])
@pytest.mark.parametrize("gone", [(), (7, 8, 9)])
def test_a_thing_that_leaves_a_room_is_found_where_it_is(
    gone: tuple[int, ...], zoom: float, chest: bool
) -> None:
    sequence, seen = recording(gone, zoom, chest)
    prepared = prepare([cloud.astype(np.float64) for cloud in sequence.points], False)
    assert prepared.shown.tolist() == [t for t in range(FRAMES) if t not in gone]
    for t, cloud in zip(prepared.shown, prepared.clouds, strict=True):
        assert len(cloud) == pytest.approx(seen[t], rel=0.1)
