"""Coarse-to-fine evaluation of an occupancy on a grid: where its surface runs, and nowhere else."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.errors import ModelError

Occupancy = Callable[[Tensor], Tensor]
Progress = Callable[[float], None]

# A guess lies this far from the level, in parts of the spread of its cell's corners.
CLEAR = 0.25


class Evaluation:
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


def refine(
    evaluate: Evaluation,
    level: float,
    resolution_0: int,
    steps: int,
    seeds: Tensor,
    guesses: bool,
    on_chunk: Progress | None,
) -> tuple[Tensor, Tensor]:
    """Values on the finest grid [R+1, R+1, R+1], NaN where not needed, and cells [C, 3] at the surface.

    The cells `seeds` [S, 3] of the first grid are subdivided in any case. With `guesses`, points of finest
    cells that lie clearly on one side by their neighbours are not evaluated; both ends of every edge that the
    surface crosses are.

    A cell is subdivided where values known on its closed boundary lie on both sides of the level. Corners of
    finer neighbours lie on that boundary too, so a subdivision can call for another beside it: it is repeated
    until no cell changes, which leaves every other cell on one side, as far as anything known tells.
    """
    device, size = evaluate.device, evaluate.resolution + 1
    points = lattice(evaluate.resolution, 1 << steps, device)  # [P, 3]
    shapes = [(resolution_0 << depth,) * 3 for depth in range(steps)]
    # Of each cell above the finest: is it there undivided, is a value above / below the level known on it?
    undivided = [torch.full(s, depth == 0, dtype=torch.bool, device=device) for depth, s in enumerate(shapes)]
    above = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]
    below = [torch.zeros(s, dtype=torch.bool, device=device) for s in shapes]

    if steps:
        above[0][seeds.unbind(1)] = below[0][seeds.unbind(1)] = True

    values = torch.full((size,) * 3, torch.nan, device=device)
    guessed = torch.zeros(values.shape if guesses else (0, 0, 0), dtype=torch.bool, device=device)
    finest = [] if steps else [lattice(evaluate.resolution - 1, 1, device)]
    rounds = 0
    while len(points):
        new = evaluate(points, _share(on_chunk, rounds, steps + 1))  # [P]
        values[points.unbind(1)] = new
        if guesses:
            guessed[points.unbind(1)] = False
        for depth in range(steps):
            _mark_cells(above[depth], points[new >= level], evaluate.resolution)
            _mark_cells(below[depth], points[new < level], evaluate.resolution)

        wanted = []
        for depth in reversed(range(steps)):  # finest first: a cell made in this round waits for its values
            divide = undivided[depth] & above[depth] & below[depth]
            undivided[depth] &= ~divide
            cells = divide.nonzero()  # [C, 3]
            children = (2 * cells[:, None] + lattice(1, 1, device)).flatten(0, 1)  # [8 C, 3]
            if depth + 1 < steps:
                undivided[depth + 1][children.unbind(1)] = True
            else:
                finest.append(children)
            inner = 2 * cells[:, None] + lattice(2, 1, device)  # [C, 27, 3], in half cells
            if guesses and depth + 1 == steps:
                wanted.append(_guess(values, guessed, inner, level))
            else:
                wanted.append(inner.flatten(0, 1) << (steps - depth - 1))  # [27 C, 3]
        points = _unknown(values, guessed, torch.cat(wanted)) if wanted else points[:0]
        if guesses and not len(points):
            points = _unknown(values, guessed, _crossed_guesses(values, guessed, torch.cat(finest), level))
        rounds += 1
    return values, torch.cat(finest)


def cells_about(places: Tensor, resolution: int) -> Tensor:
    """Cells [8 S, 3] of a grid over 0 to 1 less than a quarter cell from `places` [S, 3], some twice."""
    quarters = lattice(1, 1, places.device) / 2 - 0.25  # [8, 3]
    corners = (places[:, None] * resolution + quarters).flatten(0, 1)
    return corners.floor().long().clamp(0, resolution - 1)


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


def _unknown(values: Tensor, guessed: Tensor, points: Tensor) -> Tensor:
    """Those of the grid points [P, 3] that have no value of their own yet, each once and in order."""
    size = len(values)
    index = (points[:, 0] * size + points[:, 1]) * size + points[:, 2]  # [P]
    unknown = values.view(-1)[index].isnan()
    if len(guessed):
        unknown |= guessed.view(-1)[index]
    index = torch.unique(index[unknown])
    return torch.stack([index // size**2, index // size % size, index % size], dim=1)


def _guess(values: Tensor, guessed: Tensor, inner: Tensor, level: float) -> Tensor:
    """Of the points `inner` [C, 27, 3] of cells whose corners are known: those to evaluate [P, 3].

    The others get the trilinear value between the corners.
    """
    share = lattice(2, 1, values.device)[:, None] / 2  # [27, 1, 3]
    ends = lattice(1, 1, values.device)  # [8, 3]
    weights = torch.where(ends == 1, share, 1 - share).prod(dim=2)  # [27, 8]
    corners = values[inner[:, weights.amax(dim=1) == 1].unbind(2)]  # [C, 8]
    between = corners @ weights.T  # [C, 27]
    spread = corners.amax(dim=1) - corners.amin(dim=1)  # [C]
    clear = (between - level).abs() > CLEAR * spread[:, None]
    places = inner[clear].unbind(1)
    new = values[places].isnan()
    places = tuple(axis[new] for axis in places)
    values[places], guessed[places] = between[clear][new], True
    return inner[~clear]


def _crossed_guesses(values: Tensor, guessed: Tensor, cells: Tensor, level: float) -> Tensor:
    """Guessed corners of finest cells [C, 3] at which an edge starts that the surface crosses: [P, 3]."""
    points = cells[:, None] + lattice(1, 1, values.device)  # [C, 8, 3]
    above = values[points.unbind(2)] > level  # [C, 8]
    crossed = torch.zeros_like(above)
    for bit in (1, 2, 4):  # the corner at the other end of the edge along an axis
        crossed |= above != above[:, torch.arange(8, device=values.device) ^ bit]
    return points[crossed & guessed[points.unbind(2)]]


def lattice(resolution: int, step: int, device: torch.device | str) -> Tensor:
    """Grid points 0, step, …, resolution along each axis [P, 3]."""
    line = torch.arange(0, resolution + 1, step, device=device)
    return torch.cartesian_prod(line, line, line)


def _share(on_chunk: Progress | None, index: int, count: int) -> Progress | None:
    """Progress within part `index` of about `count` parts, as progress of the whole (never beyond 1)."""
    if on_chunk is None:
        return None
    return lambda fraction: on_chunk(min(1.0, (index + fraction) / count))
