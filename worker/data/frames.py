"""One frame of a sequence on disk, and the folders of frames: one `.npz` a frame, or packed.

frames = open_frames(folder)             # data/Humans/D-FAUST/50002_knees/pcl_seq
frames[3].points[rows]                   # [K, 3], as stored
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.data.errors import DataError


@dataclass(frozen=True, eq=False)
class Frame:
    """Points in the box of their own frame: `loc + scale * points` is where they were in the world.

    `points` may be a view into a memory-mapped file, of which only the rows taken are read.
    """

    source: Path
    points: NDArray[Any]  # [N, 3] float16 or float32
    loc: NDArray[Any]  # [3], centre of the frame's box: float32, or float64 if it is stored as such
    scale: np.float32  # its longest side
    occupancies: NDArray[Any] | None = None  # [N], or [ceil(N / 8)] packed by np.packbits

    def occupied(self, rows: NDArray[np.intp] | slice, packed: bool) -> NDArray[np.float32]:
        """1 where the points of these rows lie inside, 0 outside [K]; `packed` is data.points_unpackbits."""
        values, count = self.occupancies, len(self.points)
        if values is None:
            raise DataError(f"{self.source} holds no array 'occupancies'; wanted one value a point")
        found = f"{self.source} holds {values.dtype} occupancies {list(values.shape)} for {count} points"
        if not packed:
            if values.shape != (count,):
                raise DataError(f"{found}: they are packed bits; set data.points_unpackbits: true")
            return values[rows].astype(np.float32)
        if values.dtype != np.uint8 or values.shape != (-(-count // 8),):
            raise DataError(f"{found}: these are not packed bits; set data.points_unpackbits: false")
        if isinstance(rows, slice):
            return np.unpackbits(values, count=count)[rows].astype(np.float32)
        bits: NDArray[np.uint8] = values[rows >> 3] >> (7 - (rows & 7)) & 1  # of these rows alone
        return bits.astype(np.float32)


class Frames(Protocol):
    """The frames of one folder, in order."""

    numbers: tuple[int, ...]  # by which the files are named

    def __getitem__(self, index: int) -> Frame: ...


class NpzFrames:
    """A folder with one `.npz` a frame, named by number."""

    def __init__(self, folder: Path) -> None:
        self.files = tuple(numbered_files(folder, ".npz"))
        self.numbers = tuple(int(file.stem) for file in self.files)

    def __getitem__(self, index: int) -> Frame:
        return read_frame(self.files[index])


def numbered_files(folder: Path, ending: str) -> list[Path]:
    """The files of a folder that are named by a number, in its order."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    files = [file for file in folder.iterdir() if file.suffix == ending and not file.name.startswith(".")]
    if wrong := [file for file in files if not file.stem.isdecimal()]:
        raise DataError(f"{min(wrong)} is not named by a number; wanted names such as 00000012{ending}")
    if not files:
        raise DataError(f"{folder} holds no {ending} files; wanted one a frame")
    return sorted(files, key=lambda file: int(file.stem))


def read_frame(file: Path) -> Frame:
    """Read one `.npz` frame whole. Raises DataError where it is missing, damaged or of another shape."""
    arrays = read_arrays(file)
    if missing := [name for name in ("points", "loc", "scale") if name not in arrays]:
        raise DataError(f"{file} holds {', '.join(arrays) or 'nothing'}; wanted {', '.join(missing)} as well")
    points, loc, scale = arrays["points"], arrays["loc"], arrays["scale"]
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f" or not len(points):
        raise DataError(f"{file}: points is {points.dtype} {list(points.shape)}; wanted floats [N, 3]")
    if loc.shape != (3,) or scale.size != 1:
        raise DataError(
            f"{file}: loc is {list(loc.shape)} and scale {list(scale.shape)}; wanted [3] and one number"
        )
    # scale is float64 in some published files, and float16 in others
    side = np.float32(scale.item())
    place = loc if loc.dtype == np.float64 and _needs_double(loc, side) else loc.astype(np.float32)
    return Frame(file, points, place, side, arrays.get("occupancies"))


def _needs_double(loc: NDArray[np.float64], side: np.float32) -> bool:
    """Whether float32 would move the box; published files store some places in float64 without need."""
    return bool(np.abs(loc.astype(np.float32) - loc).max() >= 0.005 * side)


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz`, as stored."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"{file} is missing") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise DataError(f"{file} cannot be read as .npz: {error}") from None
