"""`data.dataset: solids`: random solids, bodies and jointed things, drawn while training.

Training batches are single clouds for the shape half and pairs of clouds for the flow half; they follow from
`training.seed` and the number of the step. `data.solids` says how large they are.
"""

from collections.abc import Iterator
from dataclasses import replace

from model.config.schema import Config
from model.config.sections import SolidsConfig
from model.errors import ConfigError
from worker.data.batches import worker_count
from worker.solids.clouds import Clouds
from worker.solids.held_out import HeldOut, held_out_clouds, held_out_sets
from worker.solids.moving_pairs import MovingPairs, PairSettings
from worker.solids.particles import Pairs
from worker.solids.stream import CloudStream, StreamSettings

# Of `data.solids.batches`; small ones keep a CPU core busy for about a second.
CLOUDS = {
    "large": StreamSettings(),
    "small": StreamSettings(
        bodies=1, solids=1, every=1, kept=200, ahead=16, surface=4096, places=4096,
        sizes=(100, 140, 196, 274, 383, 535, 749, 1047, 1464, 2048), budget=8192, clouds=12, queries=512,
    ),
}  # fmt: skip
PAIRS = {
    "large": PairSettings(),
    "small": PairSettings(
        sizes=(192, 256, 384, 512), points=3072, most=8, queries=128, scenes=96, renewed=1, skeletons=400
    ),
}


class CloudSource:
    """Clouds of still shapes with queries of known occupancy (see `worker.data.batches.BatchStream`)."""

    def __init__(self, config: Config) -> None:
        self.data, self.training = config.data.solids, config.training
        self._held_out: list[HeldOut[Clouds]] = []

    def batches(self, first_step: int, rows: range, device: str) -> Iterator[Clouds]:
        seed = self.training.seed + rows.start  # each process of several draws its own
        settings = cloud_settings(self.data)
        return iter(CloudStream(settings, seed, device, first_step, worker_count(self.training.num_workers)))

    def validation(self, device: str) -> Iterator[HeldOut[Clouds]]:
        if not self._held_out:
            count = self.training.n_val_items or 16
            self._held_out = list(held_out_clouds(self.data.held_out_points, count, device))
        return iter(self._held_out)


def cloud_settings(data: SolidsConfig) -> StreamSettings:
    """Raises ConfigError for more points in a cloud than are kept of a surface."""
    settings = CLOUDS[data.batches]
    if not (sizes := data.cloud_points):
        return settings
    if (most := max(sizes)) > settings.surface:
        raise ConfigError(
            f"data.solids.cloud_points names {most:,}; wanted at most {settings.surface:,}, the points that "
            f"are kept of a surface for data.solids.batches={data.batches}"
        )
    return replace(settings, sizes=tuple(sizes))


class PairSource:
    """Pairs of clouds of moving things with displacements (see `worker.data.batches.BatchStream`)."""

    def __init__(self, config: Config) -> None:
        self.data, self.training = config.data.solids, config.training
        self._held_out: list[HeldOut[Pairs]] = []

    def batches(self, first_step: int, rows: range, device: str) -> Iterator[Pairs]:
        seed = self.training.seed + rows.start
        settings = PAIRS[self.data.batches]
        return iter(MovingPairs(settings, seed, device, worker_count(self.training.num_workers), first_step))

    def validation(self, device: str) -> Iterator[HeldOut[Pairs]]:
        if not self._held_out:
            sizes, view = self.data.held_out_points, self.data.held_out_view_points
            self._held_out = list(held_out_sets(sizes, view, self.training.n_val_items or 96, device))
        return iter(self._held_out)


def open_solids(config: Config) -> CloudSource | PairSource:
    """The data of the half that `training.parts` names. Raises ConfigError for both at once."""
    sources: dict[str, type[CloudSource | PairSource]] = {"shape": CloudSource, "flow": PairSource}
    if (parts := config.training.parts) not in sources:
        raise ConfigError(
            f"training.parts is {parts}; method {config.method} trains its halves apart; wanted shape or "
            "flow, as in training/local_oflow_shape and training/local_oflow_flow"
        )
    return sources[parts](config)
