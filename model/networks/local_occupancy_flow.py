"""Occupancy Flow on local point features: both halves read unordered clouds, of any number of points."""

from torch import nn

from model.networks.local_occupancy import LocalOccupancy
from model.networks.local_velocity import LocalVelocity


class LocalOccupancyFlow(nn.Module):
    """`shape`: the occupancy around one cloud; `flow`: the motion from one cloud to the next.

    The halves share no weights, and neither knows a class of objects or a way up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape = LocalOccupancy()
        self.flow = LocalVelocity()
