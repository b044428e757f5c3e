"""The surface where the occupancy crosses the threshold, extracted coarse to fine.

Multiresolution iso-surface extraction (Mescheder et al., "Occupancy Networks", CVPR 2019): a coarse grid is
evaluated, cells that the surface passes through are subdivided, and the finest grid is marched. A network of
millions of multiplications per point makes the evaluations the whole cost, so every point is evaluated once.
"""

import math
from collections.abc import Callable

import mcubes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import EmptySurfaceError, InputError, ModelError
from model.marching_cubes import march_cells

Occupancy = Callable[[Tensor], Tensor]
Progress = Callable[[float], None]

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
    is a probability. Where points `near` [S, 3] the surface are known, the first grid is half as fine but for
    the cells about them: that halves the evaluations, and misses only what lies apart from these points and
    is thinner than its cells. `on_chunk` is called after each chunk with the fraction done; what it raises
    ends the extraction. Raises `EmptySurfaceError` where no value lies on the other side of the threshold.
    """
    level, side = _logit(threshold), 1 + padding
    evaluate = _Evaluation(occupancy, resolution_0 << upsampling_steps, side, device, chunk)
    if near is None or resolution_0 % 2 or resolution_0 < COARSEST:
        near = torch.empty(0, 3)
    else:
        resolution_0, upsampling_steps = resolution_0 // 2, upsampling_steps + 1
    seeds = _cells_about(near.to(device) / side + 0.5, resolution_0)  # [8 S, 3]
    values, cells = _refine(evaluate, level, resolution_0, upsampling_steps, seeds, on_chunk)
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
    evaluate = _Evaluation(occupancy, resolution, 1 + padding, device, chunk)
    values = evaluate(_lattice(resolution, 1, device)).view((resolution + 1,) * 3)
    _require_crossing(values, threshold, level)
    return _march(values.cpu().numpy(), level, 1 + padding)


class _Evaluation:
    """Occupancy at grid points, chunk by chunk."""

    def __init__(
        self, occupancy: Occupancy, resolution: int, side: float, device: torch.device | str, chunk: int
    ) -> None:
        self.occupancy, self.resolution, self.side = occupancy, resolution, side
        self.device, self.chunk = device, chunk

    def __call__(self, points: Tensor, on_chunk: Progress | None = None) -> Tensor:
        """Logits [P] at integer grid points [P, 3]; `on_chunk` gets the fraction of these points done."""
        logits, done = [], 0
        for part in torch.split(points, self.chunk):
            logits.append(self.occupancy(self.side * (part.float() / self.resolution - 0.5)))
            done += len(part)
            if on_chunk is not None:
                on_chunk(done / len(points))
        values = torch.cat(logits).float()  # [P]
        bad = int((~values.isfinite()).sum())
        if bad:
            raise ModelError(
                f"The network gave no finite occupancy at {bad} of {len(values)} grid points: "
                "its weights or the codes of this input are damaged."
            )
        return values


def _refine(
    evaluate: _Evaluation,
    level: float,
    resolution_0: int,
    steps: int,
    seeds: Tensor,
    on_chunk: Progress | None,
) -> tuple[Tensor, Tensor]:
    """Values on the finest grid [R+1, R+1, R+1], NaN where not needed, and cells [C, 3] at the surface.

    The cells `seeds` [S, 3] of the first grid are subdivided in any case.

    A cell is subdivided where values known on its closed boundary lie on both sides of the level. Corners of
    finer neighbours lie on that boundary too, so a subdivision can call for another beside it: it is repeated
    until no cell changes, which leaves every other cell on one side, as far as anything known tells.
    """
    device, size = evaluate.device, evaluate.resolution + 1
    points = _lattice(evaluate.resolution, 1 << steps, device)  # [P, 3]
    shapes = [(resolution_0 << depth,) * 3 for depth in range(steps)]
    # Of each cell above the finest: is it there undivided, is a value above / below the level known on it?
    undivided = [torch.full(s, depth == 0, dtype=torch.bool, device=device) for depth, s in enumerate(shapes)]
    above = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]
    below = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]

    if steps:
        above[0][seeds.unbind(1)] = below[0][seeds.unbind(1)] = True

    values = torch.full((size,) * 3, torch.nan, device=device)
    finest = [] if steps else [_lattice(evaluate.resolution - 1, 1, device)]
    rounds = 0
    while len(points):
        new = evaluate(points, _share(on_chunk, rounds, steps + 1))  # [P]
        values[points.unbind(1)] = new
        for depth in range(steps):
            _mark_cells(above[depth], points[new >= level], evaluate.resolution)
            _mark_cells(below[depth], points[new < level], evaluate.resolution)

        wanted = []
        for depth in reversed(range(steps)):  # finest first: a cell made in this round waits for its values
            divide = undivided[depth] & above[depth] & below[depth]
            undivided[depth] &= ~divide
            cells = divide.nonzero()  # [C, 3]
            children = (2 * cells[:, None] + _lattice(1, 1, device)).flatten(0, 1)  # [8 C, 3]
            if depth + 1 < steps:
                undivided[depth + 1][children.unbind(1)] = True
            else:
                finest.append(children)
            half = 1 << (steps - depth - 1)
            wanted.append((2 * cells[:, None] + _lattice(2, 1, device)).flatten(0, 1) * half)  # [27 C, 3]
        points = _unknown(values, torch.cat(wanted)) if wanted else points[:0]
        rounds += 1
    return values, torch.cat(finest)


def _cells_about(places: Tensor, resolution: int) -> Tensor:
    """Cells [8 S, 3] of a grid over 0 to 1 less than a quarter cell from `places` [S, 3], some twice."""
    quarters = _lattice(1, 1, places.device) / 2 - 0.25  # [8, 3]
    corners = (places[:, None] * resolution + quarters).flatten(0, 1)
    return corners.floor().long().clamp(0, resolution - 1)


def _reaches_side(values: Tensor, level: float) -> bool:
    """Whether the surface is closed by the sides of the box anywhere."""
    sides = (values.select(axis, end) for axis in range(3) for end in (0, -1))
    return any(bool((side >= level).any()) for side in sides)


def _mark_cells(marks: Tensor, points: Tensor, resolution: int) -> None:
    """Set the marks [R', R', R'] of the cells whose closed boundary holds a grid point of `points` [P, 3]."""
    width = resolution // len(marks)
    # Along an axis a point touches the cells of the unit intervals before and after it: one cell or two.
    before = (points - 1).clamp(min=0) // width
    after = points.clamp(max=resolution - 1) // width
    for corner in range(8):
        x, y, z = (
            (after if corner >> axis & 1 else before)[:, axis]  # [P]
            for axis in range(3)
        )
        marks[x, y, z] = True


def _unknown(values: Tensor, points: Tensor) -> Tensor:
    """Those of the grid points [P, 3] that have no value yet, each once and in order."""
    size = len(values)
    index = (points[:, 0] * size + points[:, 1]) * size + points[:, 2]  # [P]
    index = torch.unique(index[values.view(-1)[index].isnan()])
    return torch.stack([index // size**2, index // size % size, index % size], dim=1)


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


def _lattice(resolution: int, step: int, device: torch.device | str) -> Tensor:
    """Grid points 0, step, …, resolution along each axis [P, 3]."""
    line = torch.arange(0, resolution + 1, step, device=device)
    return torch.cartesian_prod(line, line, line)


def _share(on_chunk: Progress | None, index: int, count: int) -> Progress | None:
    """Progress within part `index` of about `count` parts, as progress of the whole (never beyond 1)."""
    if on_chunk is None:
        return None
    return lambda fraction: on_chunk(min(1.0, (index + fraction) / count))
