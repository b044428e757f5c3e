"""Image sequences: a folder a view, `img/000/*.jpg`, with one image a frame.

Image i of a view, in the order of the names, shows frame i of the sequence. The inputs of a window are RGB,
float32 in [0, 1], [T, 3, S, S] for S = `data.img_size`; what a network normalises is its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.config.schema import Config
from model.errors import ConfigError
from service.core.sequences.names import natural_order
from worker.data.errors import DataError
from worker.data.fields import Item
from worker.data.windows import Window, WindowFrames

EXTENSIONS = (".jpg", ".jpeg", ".png")
SMALLEST_CROP = 0.75  # of the area of the largest square, as published


@dataclass(frozen=True)
class ImagesField:
    """Images [T, 3, S, S] of one view drawn from the first `views` (of fewer, where there are fewer).

    `augment` draws a square of the images, the same for all frames; else it is the largest in the middle.
    """

    folder: str
    size: int
    views: int
    augment: bool

    def read(self, frames: WindowFrames, rng: np.random.Generator) -> Item:
        window = frames.window
        views = find_views(window.sequence / self.folder, self.views)
        files = image_files(views[rng.integers(len(views))], window.start + window.length)
        images = [read_image(file) for file in files[window.start : window.start + window.length]]
        if len(sizes := {image.size for image in images}) > 1:
            raise DataError(
                f"{files[window.start].parent} holds images of {list(min(sizes))} and {list(max(sizes))} "
                "pixels; wanted one size a view"
            )
        return {"": as_inputs(images, self.size, rng if self.augment else None), ".time": window.times}

    def check(self, windows: Iterable[Window]) -> None:
        """Raise DataError where a sequence lacks views that others have, or images of its windows' frames."""
        ends: dict[Path, int] = {}
        for window in windows:
            ends[window.sequence] = max(ends.get(window.sequence, 0), window.start + window.length)
        counts = {}
        for sequence, end in ends.items():
            views = find_views(sequence / self.folder, self.views)
            for view in views:
                image_files(view, end)
            counts[sequence / self.folder] = len(views)
        fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[fewest] < counts[most]:
            raise DataError(
                f"{fewest} holds {counts[fewest]} views, and {most} {counts[most]}; render the others, or "
                f"set data.n_views: {counts[fewest]}"
            )


def check_settings(config: Config) -> None:
    """Raise ConfigError for settings that image sequences cannot meet."""
    for key, asked in (
        ("data.img_with_camera", config.data.img_with_camera),
        ("model.use_camera", config.model.use_camera),
    ):
        if asked:
            raise ConfigError(f"{key}: found true, wanted false: image sequences are read without cameras")


def find_views(folder: Path, limit: int) -> list[Path]:
    """The folders `000`, `001`, … of the first `limit` views of a sequence, or of all it has."""
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}; data.input_type img_seq reads its images from data.img_seq_folder"
        )
    count = sum(child.name.isdecimal() and child.is_dir() for child in folder.iterdir())
    views = [folder / f"{number:03d}" for number in range(max(1, min(count, limit)))]
    if missing := [view for view in views if not view.is_dir()]:
        raise DataError(
            f"there is no folder {missing[0]}; wanted one a view, numbered from 000 on (data.img_seq_folder, "
            "data.n_views)"
        )
    return views


def image_files(view: Path, wanted: int) -> list[Path]:
    """The images of a view, in order. Raises DataError where they are fewer than the frames `wanted`."""
    files = [file for file in view.iterdir() if file.suffix.lower() in EXTENSIONS and file.name[0] != "."]
    if len(files) < wanted:
        raise DataError(
            f"{view} holds {len(files)} images ({', '.join(EXTENSIONS)}); wanted {wanted}, one a frame"
        )
    return sorted(files, key=lambda file: natural_order(file.stem))


def read_image(file: Path) -> Image.Image:
    """An image of any kind as RGB; grey becomes three equal channels, transparency is dropped."""
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{file} is missing") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image: {error}") from None


def as_inputs(
    images: Sequence[Image.Image], size: int, augmenting: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """RGB images of one size as inputs [T, 3, size, size] in [0, 1]: the largest square in their middle.

    With a generator it is any square of `SMALLEST_CROP` of that area or more, the same for all images.
    """
    width, height = images[0].size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if augmenting is not None:
        side = round(side * float(np.sqrt(augmenting.uniform(SMALLEST_CROP, 1))))
        left, top = int(augmenting.integers(width - side + 1)), int(augmenting.integers(height - side + 1))
    square = (left, top, left + side, top + side)
    scaled = [image.resize((size, size), Image.Resampling.BILINEAR, square) for image in images]
    pixels = np.stack([np.asarray(image) for image in scaled])  # [T, size, size, 3]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
