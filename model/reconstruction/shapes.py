"""What networks know about shapes: the occupancy around one cloud of points."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from model.compiled import Floats
from model.networks.local_occupancy_flow import LocalOccupancyFlow
from model.networks.moving_clouds import MovingClouds
from model.networks.occupancy_flow import OccupancyFlow
from model.registration import Match

MATCHED = 2048  # points of a frame
Occupancy = Callable[[Tensor], Tensor]  # points [P, 3] → logits [P]


class Shapes(Protocol):
    """A network that completes single frames."""

    upright: ClassVar[bool]  # whether it knows things standing on their feet, with y up, and no others

    def occupancy(self, points: Tensor, dtype: torch.dtype = torch.float32) -> Occupancy:
        """Logits around points [N, 3] of the unit box; large products take factors of `dtype`."""

    def matching(self, clouds: Sequence[Floats], most: int = MATCHED) -> Match | None:
        """Matches between clouds [N_t, 3] for `track`, by at most `most` points of each; None if the network
        has none.
        """


class FlowShapes:
    """The shape half of Occupancy Flow: a code for the whole cloud."""

    upright: ClassVar[bool] = True

    def __init__(self, net: OccupancyFlow) -> None:
        self.net = net

    def occupancy(self, points: Tensor, dtype: torch.dtype = torch.float32) -> Occupancy:
        return self.net.occupancy(None, self.net.encode_shape(points[None, None]), dtype)

    def matching(self, clouds: Sequence[Floats], most: int = MATCHED) -> Match | None:  # noqa: ARG002
        return None


class LocalShapes:
    """Features of the points near a query: no class of things, no way up."""

    upright: ClassVar[bool] = False

    def __init__(self, net: LocalOccupancyFlow) -> None:
        self.net = net

    def occupancy(self, points: Tensor, dtype: torch.dtype = torch.float32) -> Occupancy:  # noqa: ARG002
        return self.net.shape.precompute(points)

    def matching(self, clouds: Sequence[Floats], most: int = MATCHED) -> Match:
        center = np.median([cloud.mean(axis=0) for cloud in clouds], axis=0)  # for float32
        device = next(self.net.parameters()).device
        rng = np.random.default_rng(0)
        few = [cloud[rng.permutation(len(cloud))[:most]] - center for cloud in clouds]
        moving = MovingClouds(
            self.net.flow, [torch.from_numpy(cloud).float().to(device) for cloud in few], range(len(few))
        )

        def match(start: int, end: int, queries: Floats) -> tuple[Floats, Floats]:
            step, error = moving.displacement(
                start, end, torch.from_numpy(queries - center).float().to(device)
            )
            return queries + step.double().cpu().numpy(), error.double().cpu().numpy()

        return match


def misfit(shapes: Shapes, points: Tensor) -> float:
    """How far points [N, 3] of the unit box are from being occupied, on average: 0 where they all are.

    Low where the network recognizes what it sees, so it tells orientations apart.
    """
    return float(-shapes.occupancy(points)(points).clamp(max=0).mean()) + 1e-6
