"""A folder of frames as a few arrays that are memory-mapped: written by `worker data pack`.

Beside `pcl_seq/` lies `pcl_seq.packed/` with `points.npy` [F, N, 3], `loc.npy` [F, 3], `scale.npy` [F],
`numbers.npy` [F] (of the frames) and, where there are some, `occupancies.npy` [F, …]; points and occupancies
are bit for bit those of the `.npz` files. Particles first, [N, F, 3], was read twice as fast from memory, but
half as fast from the disk.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.data.errors import DataError
from worker.data.frames import Frame, Frames

AGAIN = "run `worker data pack` again"
_AXES = {"points": 3, "loc": 2, "scale": 1, "numbers": 1}  # of each array


def packed_folder(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.packed")


class PackedFrames:
    """The frames of one packed folder. Raises DataError naming the file that is missing or does not fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        arrays = {name: _load(folder / f"{name}.npy", mapped=name == "points") for name in _AXES}
        if (folder / "occupancies.npy").exists():
            arrays["occupancies"] = _load(folder / "occupancies.npy", mapped=True)
        count = len(arrays["numbers"])
        for name, array in arrays.items():
            if array.ndim != _AXES.get(name, 2) or len(array) != count:
                raise DataError(
                    f"{folder / name}.npy is {list(array.shape)} for {count} frames in numbers.npy; {AGAIN}"
                )
        self.points, self.loc, self.scale = arrays["points"], arrays["loc"], arrays["scale"]
        self.occupancies = arrays.get("occupancies")
        self.numbers: tuple[int, ...] = tuple(arrays["numbers"].tolist())

    def __getitem__(self, index: int) -> Frame:
        occupancies = None if self.occupancies is None else self.occupancies[index]
        return Frame(self.folder, self.points[index], self.loc[index], self.scale[index], occupancies)


def write_packed(folder: Path, frames: Frames, on_frame: Callable[[int], None]) -> None:
    """Pack the frames of a folder beside it, frame by frame; the result appears whole or not at all.

    `on_frame` is given the bytes of each frame. Raises DataError where frames differ in points or types.
    """
    began = time.time()
    target = packed_folder(folder)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    part.mkdir()
    try:
        _write_arrays(part, frames, on_frame)
        os.utime(part, (began, began))  # so that a frame that changed meanwhile is younger
        shutil.rmtree(target, ignore_errors=True)  # one that is out of date
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_arrays(part: Path, frames: Frames, on_frame: Callable[[int], None]) -> None:
    first, count = frames[0], len(frames.numbers)
    boxes = np.empty((count, 4))  # loc and scale
    place = np.dtype(np.float32)  # of loc, or float64 if a frame needs it
    with ExitStack() as files:
        streams = {name: files.enter_context((part / f"{name}.npy").open("wb")) for name in _arrays(first)}
        for name, array in _arrays(first).items():
            header = {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": (count, *array.shape),
            }
            np.lib.format.write_array_header_1_0(streams[name], header)
        for index in range(count):
            frame = frames[index]
            if _form(frame) != _form(first):
                raise DataError(
                    f"{frame.source} holds {_form(frame)}, and {first.source} {_form(first)}; wanted frames "
                    "of one sequence alike"
                )
            for name, array in _arrays(frame).items():
                streams[name].write(array.tobytes())
            boxes[index, :3], boxes[index, 3] = frame.loc, frame.scale
            place = np.promote_types(place, frame.loc.dtype)
            on_frame(sum(array.nbytes for array in _arrays(frame).values()))
        numbers = np.array(frames.numbers, np.int64)
        for name, array in (
            ("loc", boxes[:, :3].astype(place)),
            ("scale", boxes[:, 3].astype(np.float32)),
            ("numbers", numbers),
        ):
            streams[name] = files.enter_context((part / f"{name}.npy").open("wb"))
            np.save(streams[name], array, allow_pickle=False)
        for stream in streams.values():  # to the disk, so that the rename never uncovers half a file
            stream.flush()
            os.fsync(stream.fileno())


def _arrays(frame: Frame) -> dict[str, NDArray[Any]]:
    """What of a frame is large."""
    arrays = {"points": frame.points, "occupancies": frame.occupancies}
    return {name: array for name, array in arrays.items() if array is not None}


def _form(frame: Frame) -> str:
    return ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in _arrays(frame).items())


def _load(file: Path, mapped: bool) -> NDArray[Any]:
    try:
        # Indexing a plain array costs several times less than indexing np.memmap, over the same memory.
        return np.asarray(np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False))
    except FileNotFoundError:
        raise DataError(f"{file} is missing; {AGAIN}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read as .npy: {error}; {AGAIN}") from None
