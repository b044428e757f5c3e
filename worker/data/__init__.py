"""Training data: data sets on disk in the published layout, generated bodies, and streams of batches.

dataset = build_dataset(load_config("pointcloud/oflow"), "train")
item = dataset.sample((seed, step, index))   # inputs [T, N, 3], points [P, 3], points.occ [P], …
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from worker.data.errors import DataError

if TYPE_CHECKING:
    from model.config.schema import Config
    from worker.data.batches import BatchStream, Source
    from worker.data.bodies_dataset import BodiesDataset
    from worker.data.dataset import HumansDataset

__all__ = ["STREAMS", "DataError", "build_dataset", "open_source"]

Split = Literal["train", "val", "test"]


def _open_solids(config: "Config", split: Split) -> "BatchStream":  # noqa: ARG001
    from worker.solids.source import open_solids

    return open_solids(config)


# Values of data.dataset that are streams of batches, and what opens one for a split.
STREAMS: dict[str, Callable[["Config", Split], "BatchStream"]] = {"solids": _open_solids}


def open_source(config: "Config", split: Split) -> "Source | BatchStream":
    """The training data that `data.dataset` names: a data set of items or a stream of batches."""
    opener = STREAMS.get(config.data.dataset)
    return build_dataset(config, split) if opener is None else opener(config, split)


def build_dataset(config: "Config", split: Split) -> "HumansDataset | BodiesDataset":
    """The data set that `data.dataset` names; `dataset[i]` and `dataset.sample(seed)` are deterministic.

    Raises DataError for missing files, for sequences that are too short, and for streams.
    """
    if config.data.dataset in STREAMS:
        raise DataError(f"data.dataset {config.data.dataset} is a stream of batches; it has no windows")
    if config.data.dataset == "bodies":
        from worker.data.bodies_dataset import BodiesDataset

        return BodiesDataset(config, split)
    from worker.data.dataset import HumansDataset

    return HumansDataset(config, split)
