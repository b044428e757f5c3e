"""Adaptive evaluation of an occupancy function on a grid: only cells at the surface are refined."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.errors import ModelError

Occupancy = Callable[[Tensor], Tensor]
OnProgress = Callable[[float], None]

# Interpolated values are trusted if they differ from the level by more than this fraction of the range of the
# cell's corner values.
MIN_MARGIN = 0.25


class GridEvaluator:
    """Evaluates occupancy at grid points in chunks."""

    def __init__(
        self, occupancy: Occupancy, resolution: int, side: float, device: torch.device | str, chunk_size: int
    ) -> None:
        self.occupancy, self.resolution, self.side = occupancy, resolution, side
        self.device, self.chunk_size = device, chunk_size

    def __call__(self, points: Tensor, on_progress: OnProgress | None = None) -> Tensor:
        """Logits [P] at integer grid points [P, 3]. Raises ModelError if any is not finite."""
        logits, done = [], 0
        for part in torch.split(points, self.chunk_size):
            logits.append(self.occupancy(self.side * (part.float() / self.resolution - 0.5)))
            done += len(part)
            if on_progress is not None:
                on_progress(done / len(points))
        values = torch.cat(logits).float()  # [P]
        if bad := int((~values.isfinite()).sum()):
            raise ModelError(
                f"The network returned non-finite occupancy at {bad} of {len(values)} grid points: "
                "its weights or the codes of this input are damaged."
            )
        return values


def refine(
    evaluate: GridEvaluator,
    level: float,
    resolution_0: int,
    steps: int,
    seeds: Tensor,
    interpolate: bool,
    on_progress: OnProgress | None,
    bounds: tuple[Tensor, Tensor] | None = None,
    fine: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Values on the finest grid [R+1, R+1, R+1], NaN where not evaluated, and cells [C, 3] at the surface.

    The cells `seeds` [S, 3] of the initial grid are always subdivided; those at the places `fine` [M, 3] of
    [0, 1]³ are on every level. With `interpolate`, points of the finest cells elsewhere are interpolated
    instead of evaluated if they are clearly on one side of the level; both ends of every edge that the
    surface crosses are still evaluated.

    A cell is subdivided if known values on its closed boundary lie on both sides of the level. Corners of
    finer neighbors lie on that boundary too, so subdividing one cell can require subdividing its neighbor:
    this is repeated until no cell changes.
    """
    device, size = evaluate.device, evaluate.resolution + 1
    points = grid_points(evaluate.resolution, 1 << steps, device)  # [P, 3]
    shapes = [(resolution_0 << depth,) * 3 for depth in range(steps)]
    # For every cell above the finest level: is it a leaf; is a value above / below the level known on it?
    is_leaf = [torch.full(s, depth == 0, dtype=torch.bool, device=device) for depth, s in enumerate(shapes)]
    above = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]
    below = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]

    if steps:
        above[0][seeds.unbind(1)] = below[0][seeds.unbind(1)] = True
    always = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]
    if fine is not None:
        for depth in range(steps):
            always[depth][cells_near(fine, resolution_0 << depth).unbind(1)] = True

    values = torch.full((size,) * 3, torch.nan, device=device)
    interpolated = torch.zeros(values.shape if interpolate else (0, 0, 0), dtype=torch.bool, device=device)
    if interpolate and bounds is not None:
        places = points >> steps
        beyond = ((places < bounds[0]) | (places > bounds[1])).any(dim=1)  # [P]
        values[points[beyond].unbind(1)] = level - 1
        interpolated[points[beyond].unbind(1)] = True
        below[0].view(-1)[_touched_cells(points[beyond], resolution_0, evaluate.resolution).view(-1)] = True
        points = points[~beyond]
    finest = [] if steps else [grid_points(evaluate.resolution - 1, 1, device)]
    rounds = 0
    while len(points):
        new = evaluate(points, _part_progress(on_progress, rounds, steps + 1))  # [P]
        values[points.unbind(1)] = new
        if interpolate:
            interpolated[points.unbind(1)] = False
        for depth in range(steps):
            touched = _touched_cells(points, resolution_0 << depth, evaluate.resolution)  # [P, 8]
            for marks, side in ((above, new >= level), (below, new < level)):
                marks[depth].view(-1)[touched[side].view(-1)] = True

        pending = []
        for depth in reversed(range(steps)):  # finest first: new cells have no values yet
            divide = is_leaf[depth] & (always[depth] | above[depth] & below[depth])
            is_leaf[depth] &= ~divide
            cells = divide.nonzero()  # [C, 3]
            children = (2 * cells[:, None] + grid_points(1, 1, device)).flatten(0, 1)  # [8 C, 3]
            if depth + 1 < steps:
                is_leaf[depth + 1][children.unbind(1)] = True
            else:
                finest.append(children)
            inner = 2 * cells[:, None] + grid_points(2, 1, device)  # [C, 27, 3], in half cells
            if interpolate and depth + 1 == steps:
                whole = always[depth][cells.unbind(1)]  # [C]
                pending.append(inner[whole].flatten(0, 1))
                pending.append(_interpolate(values, interpolated, inner[~whole], level))
            else:
                pending.append(inner.flatten(0, 1) << (steps - depth - 1))  # [27 C, 3]
        points = _unknown(values, interpolated, torch.cat(pending)) if pending else points[:0]
        if interpolate and not len(points):
            points = _unknown(
                values, interpolated, _crossed_interpolated(values, interpolated, torch.cat(finest), level)
            )
        rounds += 1
    return values, torch.cat(finest)


def cells_near(points: Tensor, resolution: int) -> Tensor:
    """Cells [8 S, 3] of a grid over [0, 1]³ within a quarter cell of `points` [S, 3]; may hold duplicates."""
    quarters = grid_points(1, 1, points.device) / 2 - 0.25  # [8, 3]
    corners = (points[:, None] * resolution + quarters).flatten(0, 1)
    return corners.floor().long().clamp(0, resolution - 1)


def _touched_cells(points: Tensor, cells: int, resolution: int) -> Tensor:
    """Cells [P, 8] of `cells` per side whose closed boundary contains grid points [P, 3], as flat indices."""
    width = resolution // cells
    # Along an axis a point touches the cells of the unit intervals before and after it: one cell or two.
    before = (points - 1).clamp(min=0) // width
    after = points.clamp(max=resolution - 1) // width
    x, y, z = torch.stack([before, after], dim=1).unbind(2)  # [P, 2] each
    rows = x[:, :, None] * cells + y[:, None]  # [P, 2, 2]
    return (rows[..., None] * cells + z[:, None, None]).flatten(1)


def _unknown(values: Tensor, interpolated: Tensor, points: Tensor) -> Tensor:
    """The grid points among [P, 3] that have not been evaluated yet, unique and sorted."""
    size = len(values)
    index = _flat(points, size)  # [P]
    unknown = values.view(-1)[index].isnan()
    if len(interpolated):
        unknown |= interpolated.view(-1)[index]
    index = torch.unique(index[unknown])
    return torch.stack([index // size**2, index // size % size, index % size], dim=1)


def _flat(points: Tensor, size: int) -> Tensor:
    """Indices [...] of grid points [..., 3] in a grid of `size` points per side."""
    x, y, z = points.unbind(-1)
    return (x * size + y) * size + z


def _interpolate(values: Tensor, interpolated: Tensor, inner: Tensor, level: float) -> Tensor:
    """Interpolate points `inner` [C, 27, 3] of cells with known corners; return those to evaluate [P, 3].

    A point is interpolated trilinearly if its value is clearly above or below the level.
    """
    fraction = grid_points(2, 1, values.device)[:, None] / 2  # [27, 1, 3]
    ends = grid_points(1, 1, values.device)  # [8, 3]
    weights = torch.where(ends == 1, fraction, 1 - fraction).prod(dim=2)  # [27, 8]
    corners = values[inner[:, weights.amax(dim=1) == 1].unbind(2)]  # [C, 8]
    estimate = corners @ weights.T  # [C, 27]
    spread = corners.amax(dim=1) - corners.amin(dim=1)  # [C]
    clear = (estimate - level).abs() > MIN_MARGIN * spread[:, None]
    places = inner[clear].unbind(1)
    new = values[places].isnan()
    places = tuple(axis[new] for axis in places)
    values[places], interpolated[places] = estimate[clear][new], True
    return inner[~clear]


def _crossed_interpolated(values: Tensor, interpolated: Tensor, cells: Tensor, level: float) -> Tensor:
    """Interpolated corners [P, 3] of finest cells [C, 3] that are ends of an edge crossing the surface."""
    points = cells[:, None] + grid_points(1, 1, values.device)  # [C, 8, 3]
    index = _flat(points, len(values))  # [C, 8]
    above = (values.view(-1)[index] > level).view(-1, 2, 2, 2)
    crossed = torch.zeros_like(above)
    for axis in (1, 2, 3):  # the other end of the edge along an axis
        low, high = above.unbind(axis)
        crossed |= (low != high).unsqueeze(axis)
    return points[crossed.view(-1, 8) & interpolated.view(-1)[index]]


def grid_points(resolution: int, step: int, device: torch.device | str) -> Tensor:
    """Grid points 0, step, …, resolution along each axis [P, 3]."""
    line = torch.arange(0, resolution + 1, step, device=device)
    return torch.cartesian_prod(line, line, line)


def _part_progress(on_progress: OnProgress | None, index: int, count: int) -> OnProgress | None:
    """Callback for part `index` of about `count` parts that reports the fraction of the whole, at most 1."""
    if on_progress is None:
        return None
    return lambda fraction: on_progress(min(1.0, (index + fraction) / count))
