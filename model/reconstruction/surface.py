"""Surface extraction with the settings of a config, for every caller that has one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.schema import Config
from model.devices import chunk_size
from model.errors import InputError
from model.surface.extraction import extract_isosurface

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]  # vertices [V, 3], faces [F, 3]


class GridLevels(NamedTuple):
    """A grid of `resolution_0` cells per side, subdivided up to `upsampling_steps` times."""

    resolution_0: int
    upsampling_steps: int

    @property
    def resolution(self) -> int:
        """Cells per side in the end."""
        return self.resolution_0 << self.upsampling_steps

    @classmethod
    def from_config(cls, config: Config) -> "GridLevels":
        return cls(config.generation.resolution_0, config.generation.upsampling_steps)

    @classmethod
    def from_resolution(cls, resolution: int) -> "GridLevels":
        """Levels that end at `resolution` cells per side, or the next number that halves evenly.

        Raises InputError below 2.
        """
        if resolution < 2:
            raise InputError(f"resolution is {resolution}; wanted 2 cells per side or more")
        steps = max(0, resolution.bit_length() - 6)  # 32 to 64 initial cells resolve thin parts
        return cls(-(-resolution >> steps), steps)


def extract_surface(
    occupancy: Callable[[Tensor], Tensor],
    config: Config,
    device: torch.device | str,
    *,
    grid: GridLevels | None = None,
    threshold: float | None = None,
    near: Tensor | None = None,
    bounded: bool = False,
    thin: Tensor | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Mesh:
    """Extract the surface of an occupancy function: vertices [V, 3] and faces [F, 3] in the unit box.

    `occupancy` maps points [P, 3] to logits [P]. `grid` and `threshold` (a probability) default to the
    config's; `near` [S, 3] are known points of the surface, which may be `bounded` by them, and along `thin`
    [N, 3] it has thin parts, too, see `extract_isosurface`. Not simplified.
    Raises EmptySurfaceError if there is no surface.
    """
    grid = grid or GridLevels.from_config(config)
    return extract_isosurface(
        occupancy,
        config.test.threshold if threshold is None else threshold,
        resolution_0=grid.resolution_0,
        upsampling_steps=grid.upsampling_steps,
        padding=config.generation.padding,
        device=device,
        chunk_size=min(chunk_size(device), config.generation.batch_size),
        near=near,
        bounded=bounded,
        thin=thin,
        on_progress=on_progress,
    )
