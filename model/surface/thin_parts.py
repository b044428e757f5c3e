"""Sheets and rods that are thinner than a cell and fall through the grid: wings, capes, sleeves, spears.

Around points of such a part an occupancy hardly rises above the level, and often at no point of the grid.
There it is raised to that of an ellipsoid along the points nearby, as in Yu and Turk,
"Reconstructing surfaces of particle-based fluids using anisotropic kernels" (2013): flat on a sheet, long on
a rod, and thicker than a cell. All lengths are in cells.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.cells import Cells, nearest_in_cells, sort_into_cells
from model.compiled import Floats
from model.surface.refinement import GridEvaluator, OnProgress, grid_points

PATCH = 9  # points around one that tell which way the surface runs
SURE = 2.5  # logit above the level, within a cell of the surface, of what is no thin part
SHEET, ROD = 0.6, 0.75  # least radii: wherever they lie, sheets and rods along an axis hold grid points
CORNERS = 3  # of the eight of a cell: where fewer are within the surface, it may be in pieces
MOST = 0.75  # share of a patch with such cells, from which it is: on what is solid they are single
WIDE = 1.5  # standard deviations of a patch that its ellipsoid reaches, so that neighbors overlap
STRAY = 4.0  # times the median width, from which a patch is no surface but points that lie apart
STEEP = 4.0  # logit in the middle of an ellipsoid above the level
AROUND = 8  # ellipsoids whose middles are nearest to a place, one of which may hold it


@dataclass(frozen=True)
class Ellipsoids:
    """Around `centers` [M, 3]; `axes` [M, 3, 3] map offsets from them, as rows, to coordinates in radii."""

    centers: Floats
    axes: Floats
    cells: Cells
    reach: float  # the largest radius

    def depth(self, places: Floats) -> Floats:
        """1 in the middle of an ellipsoid and 0 on its surface, of places [P, 3]; -inf far from all."""
        distance, near = nearest_in_cells(self.cells, places, AROUND, self.reach)  # [P, K]
        close = np.flatnonzero(np.isfinite(distance[:, 0]))
        offset = places[close, None] - self.centers[near[close]]  # [C, K, 3]
        radii = np.linalg.norm(np.einsum("ckx,ckxy->cky", offset, self.axes[near[close]]), axis=2)
        result = np.full(len(places), -np.inf)
        result[close] = 1 - np.where(np.isfinite(distance[close]), radii, np.inf).min(axis=1)
        return result


@dataclass(frozen=True)
class ThinParts:
    places: Tensor  # [M, 3], near which every grid point must be looked at
    missed: Ellipsoids | None  # around those that the grid misses even so


class Thickened(GridEvaluator):
    """Logits at grid points that are above the level within ellipsoids."""

    def __init__(self, evaluate: GridEvaluator, missed: Ellipsoids, level: float) -> None:
        super().__init__(
            evaluate.occupancy, evaluate.resolution, evaluate.side, evaluate.device, evaluate.chunk_size
        )
        self.missed, self.level = missed, level

    def __call__(self, points: Tensor, on_progress: OnProgress | None = None) -> Tensor:
        logits = super().__call__(points, on_progress)
        depth = torch.from_numpy(self.missed.depth(points.double().cpu().numpy())).to(logits)
        return torch.maximum(logits, self.level + STEEP * depth)


def find_thin_parts(evaluate: GridEvaluator, points: Tensor, level: float) -> ThinParts | None:
    """Thin parts along points [N, 3] of the surface, in units of the grid; None if there are none."""

    def logits(places: Floats) -> Floats:
        """Logits [M, G] at places [M, G, 3]."""
        values = evaluate(torch.from_numpy(places.reshape(-1, 3)).to(points.device))
        return values.double().cpu().numpy().reshape(places.shape[:2])

    cloud = points.double().cpu().numpy()
    near = nearest_in_cells(sort_into_cells(cloud), cloud, min(PATCH, len(cloud)), np.inf)[1]  # [N, K]
    middle = cloud[near].mean(axis=1)  # [N, 3]
    offset = cloud[near] - middle[:, None]
    variance, axes = np.linalg.eigh(offset.transpose(0, 2, 1) @ offset / near.shape[1])  # ascending
    width = np.sqrt(np.maximum(variance, 0))  # [N, 3]
    across = np.array([-1.0, 0.0, 1.0])[:, None] * axes[:, None, :, 0]  # [N, 3, 3]
    unsure = logits(middle[:, None] + across).max(axis=1) < level + SURE  # [N]
    thin = np.flatnonzero(unsure & (width[:, 2] < STRAY * np.median(width[:, 2])))  # [M]
    if not len(thin):
        return None
    corners = np.floor(middle[thin])[:, None] + grid_points(1, 1, "cpu").numpy()  # [M, 8, 3]
    broken = np.zeros(len(cloud), bool)
    broken[thin] = (logits(corners) >= level).sum(axis=1) < CORNERS
    missed = thin[broken[near[thin]].mean(axis=1) >= MOST]
    return ThinParts(torch.from_numpy(middle[thin]), _ellipsoids(middle[missed], axes[missed], width[missed]))


def _ellipsoids(centers: Floats, axes: Floats, width: Floats) -> Ellipsoids | None:
    """Ellipsoids around centers [M, 3] along patches with these axes and standard deviations [M, 3]."""
    if not len(centers):
        return None
    radii = np.maximum(WIDE * width, ROD)
    radii[:, 0] = SHEET
    return Ellipsoids(centers, axes / radii[:, None], sort_into_cells(centers), float(radii.max()))
