"""Data sets to learn from: on disk in the published layout, or generated bodies.

dataset = build_dataset(load_config("pointcloud/oflow"), "train")
item = dataset.sample((seed, step, index))   # inputs [T, N, 3], points [P, 3], points.occ [P], …
"""

from typing import TYPE_CHECKING, Literal

from worker.data.errors import DataError

if TYPE_CHECKING:
    from model.config.schema import Config
    from worker.data.bodies_dataset import BodiesDataset
    from worker.data.dataset import HumansDataset

__all__ = ["DataError", "build_dataset"]


def build_dataset(
    config: "Config", split: Literal["train", "val", "test"]
) -> "HumansDataset | BodiesDataset":
    """The data set that `data.dataset` names. Both have `dataset[i]` and `dataset.sample(seed)`, which depend
    on nothing but i or the seed. Raises DataError naming what is missing on disk, or what is too short.
    """
    if config.data.dataset == "bodies":
        from worker.data.bodies_dataset import BodiesDataset

        return BodiesDataset(config, split)
    from worker.data.dataset import HumansDataset

    return HumansDataset(config, split)
