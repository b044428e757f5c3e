"""Parts thinner than a cell of the grid, through the default model."""

import numpy as np
from numpy.typing import NDArray

from model import Reconstructor
from tests.worker.geometry import nearest

FRAMES, BODY, STAFF = 5, 1000, 60
THICK = 0.002  # radius


def bearer(angle: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points [N, 3] of an egg with a staff raised by an angle, and those of the staff [S, 3]."""
    direction = rng.normal(size=(BODY, 3))
    body = direction / np.linalg.norm(direction, axis=1, keepdims=True) * [0.15, 0.3, 0.12]
    along, around = rng.uniform(0.12, 0.6, STAFF), rng.uniform(0, 2 * np.pi, STAFF)
    staff = np.stack([along, THICK * np.cos(around), THICK * np.sin(around)], axis=1)
    cos, sin = np.cos(angle), np.sin(angle)
    staff = staff @ [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]
    return np.concatenate([body, staff]) + rng.normal(0, 0.001, (BODY + STAFF, 3)), staff


def test_a_staff_is_not_lost() -> None:
    rng = np.random.default_rng(0)
    frames = [bearer(0.3 * np.sin(t), rng) for t in range(FRAMES)]
    meshes = Reconstructor.from_config("local_oflow")([points for points, _ in frames], corresponding=False)
    far = [
        nearest(vertices, staff) > 0.02 for vertices, (_, staff) in zip(meshes.vertices, frames, strict=True)
    ]
    assert np.mean(far) < 0.05  # a sixth of it, where thin parts fall through the grid
