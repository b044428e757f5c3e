"""Where the files of a generated test split lie: the folders and names of the published code.

<generation_dir>/meshes/<class>/<sequence>/<start>/<sequence>_<start>_0001.off … and <sequence>_<start>.glb
<generation_dir>/pointcloud/<class>/<sequence>/<start>/<sequence>_<start>_0001.ply …, for clouds
<generation_dir>/input/<class>/<sequence>/<start>/0000.ply …
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.config.files import parse_yaml
from model.config.schema import Config
from worker.data.errors import DataError
from worker.data.windows import Window
from worker.evaluation.mesh_files import Mesh, read_off, read_ply

RECORD = (
    "generation.json"  # beside the results, written with them: how they came about, or why there are none
)


def chosen(config: Config, count: int, limit: int | None) -> list[int]:
    """The items to work on; a limit takes a random sample, always the same one, where
    `generation.shuffle_generation` says so, else the first.
    """
    order = np.arange(count)
    if config.generation.shuffle_generation:
        order = np.random.default_rng(config.generation.rand_seed).permutation(count)
    return sorted(order[:limit].tolist())


Kind = Literal["meshes", "pointcloud"]


@dataclass(frozen=True)
class GenerationFolder:
    """The files under one `generation_dir`."""

    root: Path
    kind: Kind = "meshes"

    @classmethod
    def of(cls, config: Config, out: Path | None = None) -> "GenerationFolder":
        generation = config.generation
        root = out or Path(config.training.out_dir) / generation.generation_dir
        return cls(root, "pointcloud" if generation.generate_pointcloud else "meshes")

    def results(self, window: Window) -> Path:
        return self._place(self.kind, window)

    def inputs(self, window: Window) -> Path:
        return self._place("input", window)

    def record(self, window: Window) -> dict[str, Any] | None:
        """What was noted when the window was generated; None where it was not, or not to the end."""
        file = self.results(window) / RECORD
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(
                f"{file} cannot be read: {error}; delete it to generate its window again"
            ) from None
        return record if isinstance(record, dict) else None

    def read_meshes(self, window: Window) -> list[Mesh]:
        """The mesh of every frame; none where nothing was generated."""
        return [read_off(file) for file in sorted(self.results(window).glob("*.off"))]

    def read_clouds(self, window: Window) -> list[NDArray[np.float32]]:
        """The points [N, 3] of every frame; none where nothing was generated."""
        return [read_ply(file) for file in sorted(self.results(window).glob("*.ply"))]

    def _place(self, kind: str, window: Window) -> Path:
        return self.root / kind / window.category / window.name / f"{window.start:05d}"


def inputs_of(item: dict[str, Any]) -> NDArray[Any]:
    """What the model reads: points [T, N, 3], images [T, 3, H, W], or the number of the item []."""
    return np.asarray(item.get("inputs", item["idx"]))


def first_path(inputs: ArrayLike) -> list[list[float]]:
    """What tells one window from another: the path [T, 3] of the first of the input points [T, N, 3], the
    mean colours [T, 3] of images [T, 3, H, W], or its number.
    """
    values = np.asarray(inputs, float)
    if values.ndim == 0:
        values = values.reshape(1, 1)
    else:
        values = values[:, 0] if values.ndim == 3 else values.mean(axis=(2, 3))
    return [[round(float(value), 6) for value in place] for place in values]


def is_made_from(record: dict[str, Any], inputs: ArrayLike) -> bool:
    """Whether these are the inputs that a record speaks of, up to what differs between processors."""
    noted, found = np.asarray(record.get("first path"), float), np.asarray(first_path(inputs))
    return noted.shape == found.shape and np.allclose(noted, found, rtol=0, atol=1e-4, equal_nan=True)


def mesh_stem(window: Window) -> str:
    return f"{window.name}_{window.start:04d}"


def frame_name(window: Window, number: int, ending: str) -> str:
    """The file of one frame; numbers count from 1 in the names of results, and from 0 in those of inputs."""
    return f"{mesh_stem(window)}_{number:04d}.{ending}"


@lru_cache(maxsize=64)
def class_name(folder: Path) -> str:
    """What metadata.yaml beside the folder of a class calls it; `n/a` as published where there is none."""
    file = folder.parent / "metadata.yaml"
    if not (folder.is_dir() and file.is_file()):
        return "n/a"
    entries = parse_yaml(file.read_text(encoding="utf-8"))
    entry = entries.get(folder.name) if isinstance(entries, dict) else None
    return str(entry.get("name", "n/a")) if isinstance(entry, dict) else "n/a"


def identity(window: Window, index: int) -> dict[str, Any]:
    """The first columns of the window's row in every table, under their published names."""
    return {
        "idx": index,
        "class id": window.category,
        "class name": class_name(window.sequence.parent),
        "modelname": window.name,
        "start_idx": window.start,
    }
