"""The motion of a thing that is known by unordered clouds of it at several times.

    moving = MovingClouds(net, clouds, times)       # clouds [N_i, 3]
    step, error = moving.displacement(3, 4, points)  # of points [Q, 3] of frame 3, to frame 4
    solution = advect(moving.velocity, points[None], times, solver)

The velocity field is local in time: between two frames it depends on nothing but these.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.networks.local_velocity import EncodedFrame, LocalVelocity, Motion

FEWEST = 16  # points of a cloud


class MovingClouds:
    """Clouds [N_i, 3] of `FEWEST` points or more at rising `times`; any unit, any numbers of points.

    Frames are encoded, and pairs of them matched, once: when they are first asked for. The order of the
    points decides which of them make the coarse levels, so they are shuffled here, always in the same way.
    """

    def __init__(self, net: LocalVelocity, clouds: Sequence[Tensor], times: Sequence[float]) -> None:
        if len(clouds) != len(times) or len(clouds) < 2:
            raise ValueError(
                f"found {len(clouds)} clouds and {len(times)} times, wanted as many of both, 2 or more"
            )
        generator = torch.Generator().manual_seed(0)
        self.net, self.times = net, list(times)
        self._clouds = [
            cloud[torch.randperm(len(cloud), generator=generator).to(cloud.device)].float()
            for cloud in clouds
        ]
        self._frames: dict[int, EncodedFrame] = {}
        self._motions: dict[tuple[int, int], Motion] = {}

    def displacement(self, start: int, end: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where points [Q, 3] on the surface of frame `start` go until frame `end`: the way there [Q, 3],
        and the error to expect of it [Q], both in units of the clouds."""
        with torch.no_grad():
            found = self.net.at(self.motion(start, end), points[None].float(), points.new_zeros(1).float())
        return found.displacement[0], found.log_scale[0].exp()

    def velocity(self, t: Tensor, points: Tensor) -> Tensor:
        """Of points [1, P, 3] at time t []: [1, P, 3]. Before the first and after the last frame it stays
        as there.
        """
        at = float(t)
        start = max(0, min(len(self.times) - 2, sum(time <= at for time in self.times) - 1))
        begin, end = self.times[start], self.times[start + 1]
        share = points.new_tensor([min(1.0, max(0.0, (at - begin) / (end - begin)))])
        with torch.no_grad():
            return self.net.at(self.motion(start, start + 1), points, share).displacement / (end - begin)

    def motion(self, start: int, end: int) -> Motion:
        if (start, end) not in self._motions:
            with torch.no_grad():
                self._motions[start, end] = self.net.match(self.frame(start), self.frame(end))
        return self._motions[start, end]

    def frame(self, number: int) -> EncodedFrame:
        if number not in self._frames:
            with torch.no_grad():
                self._frames[number] = self.net.encode(self._clouds[number][None])
        return self._frames[number]
