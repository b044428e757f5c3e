"""What networks know about shapes: the occupancy around one cloud of points."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from model.compiled import Floats
from model.networks.local_occupancy_flow import LocalOccupancyFlow
from model.networks.moving_clouds import MovingClouds
from model.networks.occupancy_flow import OccupancyFlow
from model.registration import Match
from model.surface.kriging import through_points

MATCHED = 2048  # points of a frame
# Up to so many points the network's answer depends on how they are turned; the mean of a few is better, and
# the surface has no detail that a coarser grid would miss, which pays for them.
SPARSE, SPARSE_CELLS = 400, 80
TURNS = Rotation.from_rotvec([[0.0, 0.0, 0.0], [2.0, 0.0, 0.5], [0.3, 2.0, 1.0]]).as_matrix()  # [3, 3, 3]
Occupancy = Callable[[Tensor], Tensor]  # points [P, 3] → logits [P]


class Shapes(Protocol):
    """A network that completes single frames."""

    upright: ClassVar[bool]  # whether it knows things standing on their feet, with y up, and no others

    def occupancy(
        self,
        points: Tensor,
        dtype: torch.dtype = torch.float32,
        turns: int = len(TURNS),
        noise: float | None = None,
    ) -> Occupancy:
        """Logits around points [N, 3] of the unit box; large products take factors of `dtype`.

        Of few points they may be the mean over up to `turns` orientations, and agree with the points where
        `noise`, the standard deviation of their coordinates, is known and small.
        """

    def cells(self, points: int) -> int | None:
        """Grid cells per side that resolve what so many points tell; None for the config's grid."""

    def matching(self, clouds: Sequence[Floats]) -> Match | None:
        """Matches between clouds [N_t, 3] for `track`; None if the network has none."""


class FlowShapes:
    """The shape half of Occupancy Flow: a code for the whole cloud."""

    upright: ClassVar[bool] = True

    def __init__(self, net: OccupancyFlow) -> None:
        self.net = net

    def occupancy(
        self,
        points: Tensor,
        dtype: torch.dtype = torch.float32,
        turns: int = len(TURNS),  # noqa: ARG002
        noise: float | None = None,  # noqa: ARG002
    ) -> Occupancy:
        return self.net.occupancy(None, self.net.encode_shape(points[None, None]), dtype)

    def cells(self, points: int) -> int | None:  # noqa: ARG002
        return None

    def matching(self, clouds: Sequence[Floats]) -> Match | None:  # noqa: ARG002
        return None


class LocalShapes:
    """Features of the points near a query: no class of things, no way up."""

    upright: ClassVar[bool] = False

    def __init__(self, net: LocalOccupancyFlow) -> None:
        self.net = net

    def occupancy(
        self,
        points: Tensor,
        dtype: torch.dtype = torch.float32,  # noqa: ARG002
        turns: int = len(TURNS),
        noise: float | None = None,
    ) -> Occupancy:
        if len(points) > SPARSE:
            return self.net.shape.precompute(points)
        seen = self._seen(points, turns)
        return seen if noise is None else through_points(seen, points, noise)

    def _seen(self, points: Tensor, turns: int) -> Occupancy:
        """The mean of what the network says of the points in several orientations."""
        if turns == 1:
            return self.net.shape.precompute(points)
        tried = torch.from_numpy(TURNS[:turns]).to(points)
        turned = [self.net.shape.precompute(points @ turn.T, seed) for seed, turn in enumerate(tried)]

        def mean(queries: Tensor) -> Tensor:
            logits = [part(queries @ turn.T) for part, turn in zip(turned, tried, strict=True)]
            return torch.stack(logits).mean(dim=0)

        return mean

    def cells(self, points: int) -> int | None:
        return SPARSE_CELLS if points <= SPARSE else None

    def matching(self, clouds: Sequence[Floats]) -> Match:
        center = np.median([cloud.mean(axis=0) for cloud in clouds], axis=0)
        size = float(np.median([np.ptp(cloud, axis=0).max() for cloud in clouds]))
        device = next(self.net.parameters()).device
        rng = np.random.default_rng(0)

        def tensor(points: Floats) -> Tensor:  # float32 holds neither far places nor squares of tiny lengths
            return torch.from_numpy((points - center) / size).float().to(device)

        few = [tensor(cloud[rng.permutation(len(cloud))[:MATCHED]]) for cloud in clouds]
        moving = MovingClouds(self.net.flow, few, range(len(few)))

        def match(start: int, end: int, queries: Floats) -> tuple[Floats, Floats]:
            step, error = moving.displacement(start, end, tensor(queries))
            return queries + size * step.double().cpu().numpy(), size * error.double().cpu().numpy()

        return match


def misfit(shapes: Shapes, points: Tensor) -> float:
    """How far points [N, 3] of the unit box are from being occupied, on average: 0 where they all are.

    Low where the network recognizes what it sees, so it tells orientations apart.
    """
    return float(-shapes.occupancy(points)(points).clamp(max=0).mean()) + 1e-6
