"""How a reconstruction is computed: a config, and what a call changes of it."""

from dataclasses import dataclass

import torch

from model.config.schema import Config
from model.devices import matmul_dtype
from model.errors import InputError
from model.reconstruction.quality import QUALITIES, Quality
from model.reconstruction.surface import GridLevels


@dataclass(frozen=True)
class Settings:
    """`grid` and `threshold` as for `extract_surface`; `faces` is what surfaces are simplified to."""

    config: Config
    device: str
    quality: Quality
    grid: GridLevels | None
    threshold: float | None
    faces: int | None

    @classmethod
    def of(
        cls,
        config: Config,
        device: str,
        quality: str,
        resolution: int | None,
        threshold: float | None,
        simplify: int | None,
    ) -> "Settings":
        """Raises InputError for unknown qualities and unsupported resolutions."""
        if quality not in QUALITIES:
            raise InputError(f"quality is {quality!r}; wanted {', '.join(QUALITIES)}")
        return cls(
            config,
            device,
            QUALITIES[quality],
            None if resolution is None else GridLevels.from_resolution(resolution),
            threshold,
            config.generation.simplify_nfaces if simplify is None else simplify,
        )

    @property
    def level(self) -> float:
        """The occupancy probability of the surface."""
        return self.config.test.threshold if self.threshold is None else self.threshold

    def template_grid(self, cells: int | None = None) -> GridLevels:
        """The grid of a surface that is put on the points afterwards, of at most `cells` per side.

        The wanted resolution is kept where there is one.
        """
        if self.grid is not None:
            return self.grid
        grids = [GridLevels.from_config(self.config)]
        if self.quality.template_grid is not None:
            grids.append(self.quality.template_grid)
        if cells is not None:
            grids.append(GridLevels.from_resolution(cells))
        return min(grids, key=lambda grid: grid.resolution)

    @property
    def occupancy_dtype(self) -> torch.dtype:
        return matmul_dtype(self.device) if self.quality.occupancy_bfloat16 else torch.float32

    @property
    def flow_dtype(self) -> torch.dtype:
        return matmul_dtype(self.device) if self.quality.flow_bfloat16 else torch.float32
