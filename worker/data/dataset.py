"""Data sets in the published layout, as torch's DataLoader and the trainer read them."""

import logging
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from model.config.schema import Config
from model.methods import METHODS
from worker.data.errors import DataError
from worker.data.fields import (
    EndMeshesField,
    Field,
    Item,
    OccupancyField,
    OccupancySequenceField,
    SurfaceField,
)
from worker.data.images import ImagesField, check_settings
from worker.data.windows import Window, WindowFrames, list_windows

Split = Literal["train", "val", "test"]
ATTEMPTS = 5  # items in a row that may be damaged before the data set is

log = logging.getLogger(__name__)


class HumansDataset(Dataset[Item]):
    """Items of the windows of a split, read from disk when they are asked for.

    `dataset[i]` is the window i, its random draws seeded by i; `sample(seed)` draws a window and all in it
    from the seed. Raises DataError for what is missing on disk, when it is made or when it is read.
    """

    def __init__(self, config: Config, split: Split) -> None:
        data = config.data
        self.fields = item_fields(config, split)
        self.index_is_input = data.input_type == "idx"
        name = {"train": data.train_split, "val": data.val_split, "test": data.test_split}[split]
        used = {getattr(field, "folder", None) for field in self.fields.values()}
        folders = [data.pointcloud_seq_folder]  # always: it says how many frames a sequence has
        if data.points_iou_seq_folder in used:
            folders.append(data.points_iou_seq_folder)
        self.windows: list[Window] = list_windows(data, name, tuple(folders))
        if data.input_type == "img_seq":
            _images_field(config, split).check(self.windows)
        self.truth_fields: dict[str, Field] = {
            "points": OccupancySequenceField(data.points_iou_seq_folder, data.points_unpackbits, None),
            "pointcloud": SurfaceField(data.pointcloud_seq_folder, None),
        }

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        index %= len(self)
        return self.read(index, np.random.default_rng(index))

    def sample(self, seed: tuple[int, ...], index: int | None = None) -> Item:
        """A random item that depends on nothing but the seed, or one of window `index`.

        Another one where its files are damaged.
        """
        rng = np.random.default_rng(seed)
        for left in reversed(range(ATTEMPTS)):
            try:
                drawn = int(rng.integers(len(self))) if index is None or left < ATTEMPTS - 1 else index
                return self.read(drawn, rng)
            except DataError as error:
                if not left:
                    raise
                log.warning("an item is left out: %s", error)
        raise AssertionError("unreachable")

    def read(self, index: int, rng: np.random.Generator) -> Item:
        """The item of a window, its draws taken from `rng`."""
        item = _read(self.fields, self.windows[index], rng) | {"idx": np.array(index, np.int64)}
        return item | {"inputs": item["idx"]} if self.index_is_input else item

    def truth(self, index: int) -> Item:
        """All there is of a window, to evaluate against: `pointcloud` [T, N, 3]; `points` [T, P, 3],
        `points.occ` [T, P]; their times.
        """
        return _read(self.truth_fields, self.windows[index], np.random.default_rng(index))


def _read(fields: dict[str, Field], window: Window, rng: np.random.Generator) -> Item:
    frames = WindowFrames(window)
    item: Item = {}
    for name, field in fields.items():
        item |= {name + ending: array for ending, array in field.read(frames, rng).items()}
    return item


def item_fields(config: Config, split: Split) -> dict[str, Field]:
    """The fields of an item by name: those that the method reads in this split, then the inputs."""
    known = _known_fields(config, split)
    fields = {name: known[name] for name in METHODS[config.method].dataset_fields(config, split)}
    if inputs := _inputs_field(config, split):
        fields["inputs"] = inputs
    return fields


def _known_fields(config: Config, split: Split) -> dict[str, Field]:
    data = config.data
    samples: dict[str, Any] = {"folder": data.points_iou_seq_folder, "unpackbits": data.points_unpackbits}
    surface = data.pointcloud_seq_folder
    if split == "train":
        trajectories = SurfaceField(surface, data.n_training_pcl_points, "shared")
        return {
            "points": OccupancyField(**samples, count=data.n_training_points, step=0),
            "points_t": OccupancyField(**samples, count=data.n_training_points),
            "pointcloud": trajectories,
            "points_mesh": trajectories,
        }
    all_steps = OccupancySequenceField(**samples, count=config.training.n_eval_points)
    return {
        "points": all_steps,
        "points_iou": all_steps,
        "points_mesh": SurfaceField(surface, config.training.n_eval_points),
        "mesh": EndMeshesField(data.mesh_seq_folder),
    }


def _inputs_field(config: Config, split: Split) -> Field | None:
    data = config.data
    rows: Literal["shared", "independent"] = (
        "shared" if data.input_pointcloud_corresponding else "independent"
    )
    match data.input_type:
        case "pcl_seq":
            noise = data.input_pointcloud_noise
            return SurfaceField(data.pointcloud_seq_folder, data.input_pointcloud_n, rows, noise)
        case "end_pointclouds":  # without noise, as published
            return SurfaceField(data.pointcloud_seq_folder, data.input_pointcloud_n, rows, ends_only=True)
        case "img_seq":
            return _images_field(config, split)
    return None  # idx: the dataset knows it


def _images_field(config: Config, split: Split) -> ImagesField:
    """Any view and, where `data.img_augment` says so, any crop in training; else the first view, whole."""
    check_settings(config)
    data, training = config.data, split == "train"
    return ImagesField(
        data.img_seq_folder,
        data.img_size,
        views=min(data.n_views, data.n_training_views) if training else 1,
        augment=training and data.img_augment,
    )
