"""Where a camera was is found from what its clouds have in common."""

import numpy as np
from scipy.spatial.transform import Rotation

from model.compiled import Floats
from model.registration.cleanup import clean
from model.registration.steadying import Placement, laid, steadied
from tests.model.registration.solids import bend, draw, solid

FRAMES = 6


def corner(rng: np.random.Generator, count: int = 9000) -> Floats:
    """Points [N, 3] of a floor and two walls."""
    points = rng.uniform(0, 3, (count, 3))
    points[np.arange(count), np.arange(count) % 3] = 0
    return points + rng.normal(0, 0.003, points.shape)


def placed(step: float) -> Placement:
    """How a camera moves: by three degrees and 0.1 each step."""
    return Placement(
        Rotation.from_rotvec([0.01 * step, 0.05 * step, 0]).as_matrix(), np.array([0.1, 0.02, -0.05]) * step
    )


def test_a_corner_is_laid_on_itself() -> None:
    rng = np.random.default_rng(0)
    seen = placed(1).apply(corner(rng))
    other = corner(rng)
    back = laid(seen, other)
    assert np.abs(back.rotation @ placed(1).rotation - np.eye(3)).max() < 0.003
    assert np.abs(back.apply(placed(1).apply(other)) - other).max() < 0.01


def test_where_nothing_tells_nothing_moves() -> None:
    """Along a single wall."""
    rng = np.random.default_rng(1)
    wall, other = (np.c_[rng.uniform(0, 3, (4000, 2)), rng.normal(0, 0.003, 4000)] for _ in range(2))
    seen = wall + np.array([0.2, 0, 0.1])
    moved = laid(seen, other).apply(seen)
    assert np.abs(moved - wall - np.array([0.2, 0, 0])).max() < 0.05


def test_a_room_goes_that_a_moving_camera_sees() -> None:
    rng = np.random.default_rng(2)
    vertices, faces = solid()
    frames = []
    for phase in np.linspace(0, 0.5, FRAMES):
        thing = draw(bend(vertices, phase), faces, 800, rng) + np.array([1.2, 0.8, 1.0])
        frames.append(np.concatenate([thing, corner(rng)]))
    seen = [placed(step).apply(frame) for step, frame in enumerate(frames)]
    assert np.linalg.norm(seen[-1] - frames[-1], axis=1).min() > 0.2
    for place, cloud, frame in zip(steadied(seen), seen, frames, strict=True):
        assert np.linalg.norm(place.apply(cloud) - frame, axis=1).max() < 0.06
    kept, report = clean(seen)
    assert np.mean([mask[:800].mean() for mask in kept]) > 0.97
    assert np.mean([mask[800:].mean() for mask in kept]) < 0.01
    assert report.floor.min() > 8900
