"""Multiresolution extraction of the surface at which an occupancy function crosses a threshold.

After Mescheder et al., "Occupancy Networks", CVPR 2019: a coarse grid is evaluated, cells that intersect the
surface are subdivided, and marching cubes runs on the finest level. Network evaluations dominate the cost, so
no point is evaluated twice.
"""

import math

import mcubes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import EmptySurfaceError, InputError
from model.surface.marching_cubes import march_cells
from model.surface.refinement import GridEvaluator, Occupancy, OnProgress, cells_near, grid_points, refine
from model.surface.thin_parts import Thickened, find_thin_parts

MIN_HALVED = 16  # cells per side of the coarsest initial grid that may be halved
# Logit outside the grid: low enough that a surface that leaves the box is closed at the side of the box.
OUTSIDE = -1e6


def extract_isosurface(
    occupancy: Occupancy,
    threshold: float,
    *,
    resolution_0: int = 32,
    upsampling_steps: int = 2,
    padding: float = 0.1,
    device: torch.device | str = "cpu",
    chunk_size: int = 65536,
    near: Tensor | None = None,
    bounded: bool = False,
    thin: Tensor | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Extract a closed surface: vertices [V, 3] and faces [F, 3], oriented outwards.

    Args:
        occupancy: maps points [P, 3] of the unit cube centered at 0, enlarged by `padding`, to logits [P].
        threshold: occupancy probability of the surface, in (0, 1).
        resolution_0: cells per side of the initial grid.
        upsampling_steps: number of subdivisions.
        padding: total enlargement of the unit cube.
        device: where `occupancy` is evaluated.
        chunk_size: points per evaluation.
        near: known points of the surface [S, 3]. They save two thirds of the evaluations: the initial grid
            has half the resolution except in cells near these points, and on the finest level values of
            points far from the surface are interpolated. Parts of the surface that are far from all these
            points and thinner than a cell of the initial grid are missed.
        bounded: look for nothing beyond the box of these points, which saves a third of what is left. A part
            that begins within goes on beyond.
        thin: points of the surface [N, 3] along which sheets and rods are found that are thinner than a cell.
        on_progress: called after each chunk with the completed fraction; an exception ends the extraction.

    Raises InputError for a threshold out of range and EmptySurfaceError if all values lie on one side of it.
    """
    level, side = _logit(threshold), 1 + padding
    evaluate = GridEvaluator(occupancy, resolution_0 << upsampling_steps, side, device, chunk_size)
    parts = None
    if thin is not None:
        parts = find_thin_parts(evaluate, (thin / side + 0.5) * evaluate.resolution, level)
    if parts is not None and parts.missed is not None:
        evaluate = Thickened(evaluate, parts.missed, level)
    if near is None or resolution_0 % 2 or resolution_0 < MIN_HALVED:
        near = torch.empty(0, 3)
    else:
        resolution_0, upsampling_steps = resolution_0 // 2, upsampling_steps + 1
    # With a single subdivision the seed cells are those of the last level, all of which must be evaluated.
    interpolate = len(near) > 0 and upsampling_steps >= 2
    places = near.to(device) / side + 0.5  # [S, 3]
    seeds = cells_near(places, resolution_0)  # [8 S, 3]
    bounds = None
    if bounded and len(near):
        scaled = places * resolution_0
        bounds = scaled.amin(dim=0).floor(), scaled.amax(dim=0).ceil()
    fine = None if parts is None else parts.places.to(places) / evaluate.resolution  # [M, 3]
    values, cells = refine(
        evaluate, level, resolution_0, upsampling_steps, seeds, interpolate, on_progress, bounds, fine
    )
    _require_crossing(values, threshold, level)
    if _reaches_side(values, level):
        return _march(_fill_unknown(values.cpu().numpy()), level, side)
    vertices, faces = march_cells(values, cells, level)
    return (side * (vertices / evaluate.resolution - 0.5)).cpu().numpy(), faces.cpu().numpy()


def dense_isosurface(
    occupancy: Occupancy,
    threshold: float,
    *,
    resolution: int = 128,
    padding: float = 0.1,
    device: torch.device | str = "cpu",
    chunk_size: int = 65536,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Reference implementation of `extract_isosurface`: every point of the finest grid is evaluated."""
    level = _logit(threshold)
    evaluate = GridEvaluator(occupancy, resolution, 1 + padding, device, chunk_size)
    values = evaluate(grid_points(resolution, 1, device)).view((resolution + 1,) * 3)
    _require_crossing(values, threshold, level)
    return _march(values.cpu().numpy(), level, 1 + padding)


def _reaches_side(values: Tensor, level: float) -> bool:
    """Whether the surface leaves the box anywhere."""
    sides = (values.select(axis, end) for axis in range(3) for end in (0, -1))
    return any(bool((side >= level).any()) for side in sides)


def _fill_unknown(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Fill unknown values with their predecessor along x, then y, then z (in place).

    Both lie in the same undivided cell, whose known values are all on one side of the level, so that filling
    adds no crossing.
    """
    for axis in range(3):
        slices = np.moveaxis(values, axis, 0)
        for i in range(1, len(slices)):
            np.copyto(slices[i], slices[i - 1], where=np.isnan(slices[i]))
    return values


def _march(
    values: NDArray[np.floating], level: float, side: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    padded = np.pad(values.astype(np.float64), 1, constant_values=OUTSIDE)
    vertices, faces = mcubes.marching_cubes(padded, level)
    cells = len(values) - 1
    vertices = np.clip(vertices - 1, 0, cells)  # cap at the sides of the box
    return side * (vertices / cells - 0.5), faces.astype(np.int64)


def _require_crossing(values: Tensor, threshold: float, level: float) -> None:
    known = values[~values.isnan()]
    low, high = known.min(), known.max()
    if low < level < high:
        return
    found = f"occupancies lie between {float(low.sigmoid()):.3g} and {float(high.sigmoid()):.3g}"
    if high <= level:
        raise EmptySurfaceError(
            f"Nothing reaches the threshold {threshold:g}: {found}. Lower the threshold, or check that the "
            "points show one complete object of a kind that the model was trained on."
        )
    raise EmptySurfaceError(
        f"The whole box is above the threshold {threshold:g}: {found}, so no surface lies inside it. "
        "Raise the threshold."
    )


def _logit(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}: it is a probability and must lie between 0 and 1.")
    # Rounded like the values, so that refinement (float32) and marching cubes (float64) compare alike.
    return float(np.float32(math.log(threshold) - math.log1p(-threshold)))
