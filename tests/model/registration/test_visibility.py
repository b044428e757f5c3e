"""Where a camera was that saw one side of a thing, and what it sees of a surface."""

import numpy as np
import trimesh

from model.compiled import Floats
from model.meshes.directions import spread
from model.registration.clouds import Cloud, make_cloud
from model.registration.visibility import BEHIND, FACING, hidden_shares, towards_camera, visible

FRAMES = 5


def two_balls(subdivisions: int = 4) -> tuple[Floats, Floats]:
    """Points and normals [S, 3] of a large ball and of a small one at its right."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    points, normals = np.asarray(ball.vertices, float), np.asarray(ball.vertices, float)
    return np.concatenate([0.3 * points, 0.15 * points + [0.6, 0, 0]]), np.concatenate([normals, normals])


def eye(t: int) -> Floats:
    """Where the camera is in frame t: it turns about the vertical axis."""
    angle = 0.15 * np.pi * (t + 1)
    where = np.array([np.sin(angle), 0.25, np.cos(angle)])
    return np.asarray(where / np.linalg.norm(where))


def seen_by(camera: Floats, points: Floats, normals: Floats) -> Floats:
    """The points that no surface hides, told by what is right before each of them."""
    across = np.linalg.qr(np.c_[camera, np.eye(3)[:, :2]])[0][:, 1:]
    flat, depth = points @ across, points @ camera
    near = np.linalg.norm(flat[:, None] - flat[None], axis=2) < 0.04
    hidden = (near & (depth[None] > depth[:, None] + BEHIND)).any(axis=1)
    return points[~hidden & (normals @ camera > 0.05)]


def angles(clouds: list[Cloud]) -> list[float]:
    return [float(np.degrees(np.arccos(cloud.camera @ eye(t)))) for t, cloud in enumerate(clouds)]


def test_the_camera_is_found_in_every_frame() -> None:
    points, normals = two_balls(3)
    rng = np.random.default_rng(2)
    clouds = []
    for t in range(FRAMES):
        seen = seen_by(eye(t), points, normals)
        clouds.append(make_cloud(seen[rng.choice(len(seen), 600)] + rng.normal(0, 0.002, (600, 3))))
    found = towards_camera(clouds, {2: 0.6 * eye(2)})
    assert max(angles(found)) < 25
    # The normals of one frame decide on which side all others are.
    behind = towards_camera(clouds, {2: -0.6 * eye(2)})
    assert min(angles(behind)) > 90
    assert all(np.linalg.norm(cloud.camera) > 0.999 for cloud in found + behind)


def test_a_take_without_a_template_has_no_camera() -> None:
    """After a cut the camera may be on the other side, and a depth image looks alike from both."""
    points, normals = two_balls(3)
    clouds = [make_cloud(seen_by(side * eye(0), points, normals)[::4]) for side in (1, 1, -1, -1)]
    found = towards_camera(clouds, {1: 0.6 * eye(0)}, [2])
    assert min(cloud.camera @ eye(0) for cloud in found[:2]) > 0.9
    assert not any(cloud.camera.any() for cloud in found[2:])
    both = towards_camera(clouds, {1: 0.6 * eye(0), 2: -0.6 * eye(0)}, [2])
    assert max(cloud.camera @ eye(0) for cloud in both[2:]) < -0.9


def test_a_camera_that_leaps_is_not_believed() -> None:
    """A quarter turn aside either way costs the same, and what is seen there is the same from its back."""
    points, normals = two_balls(3)
    aside = np.cross(eye(0), [0.0, 1.0, 0.0])
    aside /= np.linalg.norm(aside)
    clouds = [make_cloud(seen_by(camera, points, normals)[::4]) for camera in (eye(0), eye(0), aside, aside)]
    found = towards_camera(clouds, {0: 0.6 * eye(0)})
    assert min(cloud.camera @ eye(0) for cloud in found[:2]) > 0.9
    assert not any(cloud.camera.any() for cloud in found[2:])


def test_what_is_before_hides_what_is_behind() -> None:
    points, normals = two_balls()
    large = np.arange(len(points)) < len(points) // 2
    along = np.array([-1.0, 0.0, 0.0])  # the large ball is before the small one
    seen = visible(points, normals, along)
    assert not seen[~large].any()
    assert not seen[normals[:, 0] > -FACING].any()
    assert seen[large & (normals[:, 0] < -0.9)].all()
    across = visible(points, normals, np.array([0.0, 0.0, 1.0]))
    assert across[normals[:, 2] > 0.9].all()
    assert not visible(points, normals, np.zeros(3)).any()


def test_hidden_shares_are_those_of_a_depth_image() -> None:
    points, _ = two_balls(3)
    directions, pixel = spread(20), 0.04
    shares = hidden_shares(points, directions, pixel, BEHIND)
    for direction, share in zip(directions, shares, strict=True):
        right = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
        right /= np.linalg.norm(right)
        pixels = np.floor(points @ np.stack([right, np.cross(direction, right)], 1) / pixel)
        beside = np.abs(pixels[:, None] - pixels[None]).max(axis=2) <= 1
        depth = points @ direction
        hidden = (np.where(beside, depth[None], -np.inf).max(axis=1) - depth) > BEHIND
        assert abs(hidden.mean() - share) < 1e-3
