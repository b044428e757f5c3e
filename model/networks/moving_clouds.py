"""Motion of an object given by unordered point clouds at several times.

    moving = MovingClouds(net, clouds, times)       # clouds [N_i, 3]
    step, error = moving.displacement(3, 4, points)  # of points [Q, 3] in frame 3, to frame 4
    solution = advect(moving.velocity, points[None], times, solver)

The velocity field is local in time: between two frames it depends on these frames only.
"""

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import torch
from torch import Tensor

from model.networks.local_velocity import EncodedFrame, LocalVelocity, Motion

MIN_POINTS = 16  # of a cloud
CACHED = 32  # frames, and pairs of frames: features take megabytes each


class MovingClouds:
    """Clouds [N_i, 3] of at least `MIN_POINTS` points, in any unit, at increasing `times`.

    Frames are encoded and pairs of frames matched when used; the last few are kept. Threads may share it.
    Coarse levels consist of the first points, so points are shuffled here, with a fixed seed. Raises
    ValueError for fewer than two clouds, or a different number of times.
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
        self._encoded = lru_cache(CACHED)(self._encode)
        self._encoding = [Lock() for _ in clouds]  # so that threads do not encode a frame twice
        self.motion = lru_cache(CACHED)(self._match)

    def frame(self, number: int) -> EncodedFrame:
        with self._encoding[number]:
            return self._encoded(number)

    def displacement(self, start: int, end: int, points: Tensor) -> tuple[Tensor, Tensor]:
        """Displacement [Q, 3] of points [Q, 3] on the surface in frame `start` to frame `end`, and its
        expected error [Q], in units of the clouds.
        """
        with torch.no_grad():
            found = self.net.at(self.motion(start, end), points[None].float(), points.new_zeros(1).float())
        return found.displacement[0], found.log_scale[0].exp()

    def velocity(self, t: Tensor, points: Tensor) -> Tensor:
        """Velocity [1, P, 3] of points [1, P, 3] at time t []; constant before the first and after the last
        frame.
        """
        at = float(t)
        start = max(0, min(len(self.times) - 2, sum(time <= at for time in self.times) - 1))
        begin, end = self.times[start], self.times[start + 1]
        share = points.new_tensor([min(1.0, max(0.0, (at - begin) / (end - begin)))])
        with torch.no_grad():
            return self.net.at(self.motion(start, start + 1), points, share).displacement / (end - begin)

    def _match(self, start: int, end: int) -> Motion:
        with torch.no_grad():
            return self.net.match(self.frame(start), self.frame(end))

    def _encode(self, number: int) -> EncodedFrame:
        with torch.no_grad():
            return self.net.encode(self._clouds[number][None])
