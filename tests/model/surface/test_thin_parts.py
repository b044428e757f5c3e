"""Parts thinner than a cell of the grid, of which a network is never sure."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.surface.extraction import extract_isosurface
from tests.worker.geometry import nearest

CELLS = 64
CELL = 1.1 / CELLS
BALL = 0.2
Field = Callable[[torch.Tensor], torch.Tensor]


def ball(points: torch.Tensor) -> torch.Tensor:
    """Logits of a solid in the middle."""
    return 300 * (BALL - points.norm(dim=1))


def with_sheet(points: torch.Tensor) -> torch.Tensor:
    """A sheet beside the ball, of which logits are hardly above 0, and not everywhere."""
    along = points[:, 0].clamp(0.1, 0.5), points[:, 2].clamp(-0.15, 0.15)
    closest = torch.stack([along[0], 0.03 + 0.2 * along[0], along[1]], dim=1)
    unsure = 0.2 * torch.sin(90 * points[:, 0]) * torch.cos(70 * points[:, 2])
    return torch.maximum(ball(points), unsure - 100 * (points - closest).norm(dim=1))


def with_rod(points: torch.Tensor) -> torch.Tensor:
    along = points[:, 0].clamp(0.1, 0.5)
    closest = torch.stack([along, 0.03 + 0.2 * along, 0.1 * along], dim=1)
    return torch.maximum(ball(points), 0.1 - 100 * (points - closest).norm(dim=1))


def surface_points(rng: np.random.Generator) -> NDArray[np.float64]:
    """1,000 points of the ball [N, 3]."""
    direction = rng.normal(size=(1000, 3))
    return np.asarray(BALL * direction / np.linalg.norm(direction, axis=1, keepdims=True))


def sheet_points(rng: np.random.Generator) -> NDArray[np.float64]:
    x, z = rng.uniform(0.2, 0.5, 900), rng.uniform(-0.15, 0.15, 900)
    return np.stack([x, 0.03 + 0.2 * x, z], axis=1) + rng.normal(0, 0.001, (900, 3))


def rod_points(rng: np.random.Generator) -> NDArray[np.float64]:
    x = rng.uniform(0.2, 0.5, 60)
    return np.stack([x, 0.03 + 0.2 * x, 0.1 * x], axis=1) + rng.normal(0, 0.001, (60, 3))


def extract(
    field: Field, points: NDArray[np.float64], thin: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    cloud = torch.from_numpy(points).float()
    return extract_isosurface(field, 0.5, resolution_0=CELLS // 4, near=cloud, thin=cloud if thin else None)


@pytest.mark.parametrize(("field", "points_of"), [(with_sheet, sheet_points), (with_rod, rod_points)])
def test_sheets_and_rods_do_not_fall_through_the_grid(
    field: Field, points_of: Callable[[np.random.Generator], NDArray[np.float64]]
) -> None:
    rng = np.random.default_rng(0)
    part = points_of(rng)
    points = np.concatenate([surface_points(rng), part])
    far = [(nearest(extract(field, points, thin)[0], part) > 1.5 * CELL).mean() for thin in (False, True)]
    assert far[0] > 0.1  # what it is about
    assert far[1] == 0


def test_a_solid_is_left_as_it_is() -> None:
    points = surface_points(np.random.default_rng(0))
    plain, kept = (extract(ball, points, thin) for thin in (False, True))
    np.testing.assert_array_equal(kept[0], plain[0])
    np.testing.assert_array_equal(kept[1], plain[1])


def test_points_that_lie_apart_are_no_part() -> None:
    rng = np.random.default_rng(0)
    stray = rng.uniform(-0.5, 0.5, (12, 3))
    stray = stray[np.linalg.norm(stray, axis=1) > 0.3]
    vertices, _ = extract(ball, np.concatenate([surface_points(rng), stray]), thin=True)
    assert np.linalg.norm(vertices, axis=1).max() < BALL + CELL
