"""Points on and around the surface of many solids at once, in the unit box."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worker.solids.parts import Solids

GRID = 24  # cells a side, of those that the surface is looked for in
CANDIDATES = 3  # for each point of the surface that is asked for
STEPS = 3  # towards the surface
SPARE = 1.2  # times as many as asked for go on from the first step
TOLERANCE = 2e-3  # of the last step: what counts as on the surface, in half boxes
OFFSETS = 0.002, 0.1  # standard deviations of queries from the surface, least and most
NEAR_SHARE = 0.7  # of queries; the others lie anywhere in the box
BOX = 1.1  # its side


@dataclass(frozen=True)
class Shapes:
    """Shapes whose bounding boxes are centred at 0, with a longest side of 1."""

    surface: Tensor  # [S, P, 3], in no order, about uniform by area
    normals: Tensor  # [S, P, 3], outwards
    queries: Tensor  # [S, Q, 3]
    occupied: Tensor  # [S, Q], bool

    def __len__(self) -> int:
        return len(self.surface)

    def __getitem__(self, rows: Tensor) -> "Shapes":
        return Shapes(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> "Shapes":
        return Shapes(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def sample(solids: Solids, points: int, queries: int, generator: torch.Generator) -> tuple[Shapes, Tensor]:
    """`points` of the surface of each solid, `queries` around it, and which [S] have enough of a surface.

    The solids lie within [-1, 1]³; `generator` is one of their device.
    """
    places, normals, usable = _surfaces(solids, points, generator)
    low, high = places.amin(dim=1, keepdim=True), places.amax(dim=1, keepdim=True)
    middle, side = (low + high) / 2, (high - low).amax(dim=2, keepdim=True).clamp_min(1e-3)  # [S, 1, ·]
    around = draw_queries((places - middle) / side, queries, generator)
    occupied = solids.distance(around * side + middle) < 0
    return Shapes((places - middle) / side, normals, around, occupied), usable


def draw_queries(surface: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` places [S, count, 3]: a share near points of the surface [S, P, 3], the others in the box."""
    shapes, device = len(surface), surface.device
    near = round(NEAR_SHARE * count)
    rows = torch.randint(surface.shape[1], (shapes, near, 1), generator=generator, device=device)
    least, most = OFFSETS
    offsets = least * (most / least) ** torch.rand(shapes, near, 1, generator=generator, device=device)
    noise = torch.randn(shapes, near, 3, generator=generator, device=device)
    anywhere = torch.rand(shapes, count - near, 3, generator=generator, device=device) - 0.5
    close = surface.gather(1, rows.expand(-1, -1, 3)) + noise * offsets
    return torch.cat([close, BOX * anywhere], dim=1)


def _surfaces(solids: Solids, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points [S, count, 3], normals and which solids [S] gave enough of them.

    Candidates uniform in the cells around the surface walk to it. Only those from a shell of one thickness
    are kept, so that as many come from each part of the surface.
    """
    cell, corners = 2 / GRID, _cells(solids.kind.device)  # [G³, 3]
    distance = solids.distance(corners.expand(len(solids), -1, -1) + cell / 2)  # [S, G³]
    crossed = (distance.abs() < 1.2 * cell).float() + 1e-9
    chosen = torch.multinomial(crossed, CANDIDATES * count, replacement=True, generator=generator)
    jitter = torch.rand(*chosen.shape, 3, generator=generator, device=chosen.device)
    places = corners[chosen] + cell * jitter  # [S, C, 3]
    distance, normals = solids.distance_and_normal(places)
    shell = distance.abs() < cell / 2
    places = places - distance[..., None] * normals
    rows, _ = _first(shell, round(SPARE * count), generator)
    places = places.gather(1, rows)
    for _ in range(STEPS - 1):
        distance, normals = solids.distance_and_normal(places)
        places = places - distance.clamp(-cell, cell)[..., None] * normals
    # The last step was the shorter the better the place.
    kept = (distance.abs() < TOLERANCE) & (places.abs().amax(dim=-1) < 1.2)
    rows, found = _first(kept, count, generator)
    return places.gather(1, rows), normals.gather(1, rows), found > count // 2


def _first(kept: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` rows [S, count, 3] among those kept [S, C], in no order, and how many there are [S].

    Where there are too few, they come again.
    """
    found = kept.sum(dim=1)
    draw = torch.rand(kept.shape, generator=generator, device=kept.device)
    order = torch.where(kept, draw, draw + 1).argsort(dim=1)[:, :count]
    turn = torch.arange(count, device=kept.device) % found.clamp_min(1)[:, None]
    return order.gather(1, turn)[..., None].expand(-1, -1, 3), found


def _cells(device: torch.device) -> Tensor:
    """The least corner of each cell of the grid over [-1, 1]³."""
    edge = torch.linspace(-1, 1, GRID + 1, device=device)[:-1]
    return torch.cartesian_prod(edge, edge, edge)
