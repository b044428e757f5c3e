"""The surface where the occupancy crosses the threshold, extracted coarse to fine.

Multiresolution iso-surface extraction (Mescheder et al., "Occupancy Networks", CVPR 2019): a coarse grid is
evaluated, cells that the surface passes through are subdivided, and the finest grid is marched. A network of
millions of multiplications per point makes the evaluations the whole cost, so every point is evaluated once.
"""

import math

import mcubes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import EmptySurfaceError, InputError
from model.surface.marching_cubes import march_cells
from model.surface.refinement import Evaluation, Occupancy, Progress, cells_about, lattice, refine

COARSEST = 16  # cells per side of a first grid that may be halved
# The value around the grid: so low that a surface that leaves the box is closed on its side.
OUTSIDE = -1e6


def extract_isosurface(
    occupancy: Occupancy,
    threshold: float,
    *,
    resolution_0: int = 32,
    upsampling_steps: int = 2,
    padding: float = 0.1,
    device: torch.device | str = "cpu",
    chunk: int = 65536,
    near: Tensor | None = None,
    on_chunk: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return vertices [V, 3] and faces [F, 3] of the closed surface, normals outward.

    `occupancy` maps points [P, 3] of the unit cube centred at 0 (with its padding) to logits [P]; `threshold`
    is a probability. Where points `near` [S, 3] the surface are known, two thirds of the evaluations are
    spared: the first grid is half as fine but for the cells about them, and on the finest grid points well
    off the surface are guessed. That misses what lies apart from these points and is thinner than the cells
    of that first grid. `on_chunk` is called after each chunk with the fraction done; what it raises
    ends the extraction. Raises `EmptySurfaceError` where no value lies on the other side of the threshold.
    """
    level, side = _logit(threshold), 1 + padding
    evaluate = Evaluation(occupancy, resolution_0 << upsampling_steps, side, device, chunk)
    if near is None or resolution_0 % 2 or resolution_0 < COARSEST:
        near = torch.empty(0, 3)
    else:
        resolution_0, upsampling_steps = resolution_0 // 2, upsampling_steps + 1
    # Where the seeds are cells of the finest grid but one, they are there to be looked into.
    guesses = len(near) > 0 and upsampling_steps >= 2
    seeds = cells_about(near.to(device) / side + 0.5, resolution_0)  # [8 S, 3]
    values, cells = refine(evaluate, level, resolution_0, upsampling_steps, seeds, guesses, on_chunk)
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
    chunk: int = 65536,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The plain twin of `extract_isosurface`: every point of the finest grid is evaluated."""
    level = _logit(threshold)
    evaluate = Evaluation(occupancy, resolution, 1 + padding, device, chunk)
    values = evaluate(lattice(resolution, 1, device)).view((resolution + 1,) * 3)
    _require_crossing(values, threshold, level)
    return _march(values.cpu().numpy(), level, 1 + padding)


def _reaches_side(values: Tensor, level: float) -> bool:
    """Whether the surface is closed by the sides of the box anywhere."""
    sides = (values.select(axis, end) for axis in range(3) for end in (0, -1))
    return any(bool((side >= level).any()) for side in sides)


def _fill_unknown(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give each unknown value that of its predecessor along x, then y, then z (in place).

    Both lie in one undivided cell, all of whose known values are on the same side of the level: the fill
    makes no crossing of its own.
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
    vertices = np.clip(vertices - 1, 0, cells)  # where the box closes the surface, the side itself
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
            "points show one whole object of a kind that the model was trained on."
        )
    raise EmptySurfaceError(
        f"The whole box is above the threshold {threshold:g}: {found}, so no surface lies inside it. "
        "Raise the threshold."
    )


def _logit(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}: it is a probability and must lie between 0 and 1.")
    # Rounded as the values are, so that refinement (float32) and marching (float64) compare alike.
    return float(np.float32(math.log(threshold) - math.log1p(-threshold)))
