"""Matches between frames from the flow half of `local_oflow`, for registration."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from model.networks.local_velocity import EncodedFrame, LocalVelocity, Motion
from model.registration.kernels import Floats

MAX_POINTS = 2048  # per frame
CACHED = 8  # encoded frames and matched pairs: two keyframes are followed at once


class Displacements:
    """`(i, j, queries)` → where points of frame i are in frame j, and how far off that is expected to be."""

    def __init__(self, net: LocalVelocity, clouds: Sequence[Floats]) -> None:
        self.net = net
        self.device = next(net.parameters()).device
        rng = np.random.default_rng(0)
        self.center = np.median([cloud.mean(axis=0) for cloud in clouds], axis=0)  # for float32
        # The network expects points in random order.
        self.clouds = [
            np.asarray((cloud - self.center)[rng.permutation(len(cloud))[:MAX_POINTS]], np.float32)
            for cloud in clouds
        ]
        self._frame = lru_cache(CACHED)(self._encode)
        self._motion = lru_cache(CACHED)(self._match)

    @torch.inference_mode()
    def __call__(self, first: int, second: int, queries: Floats) -> tuple[Floats, Floats]:
        motion = self._motion(first, second)
        start = torch.from_numpy((queries - self.center).astype(np.float32)).to(self.device)
        found = self.net.at(motion, start[None], torch.zeros(1, device=self.device))
        error = found.log_scale[0].exp()  # [Q]
        return queries + found.displacement[0].double().cpu().numpy(), error.double().cpu().numpy()

    def _encode(self, frame: int) -> EncodedFrame:
        return self.net.encode(torch.from_numpy(self.clouds[frame])[None].to(self.device))

    def _match(self, first: int, second: int) -> Motion:
        return self.net.match(self._frame(first), self._frame(second))
