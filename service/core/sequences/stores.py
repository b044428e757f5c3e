"""Where frames go as they are read: into memory, or to disk and from there into one `.npz`.

The stored form of a sequence is what `array_archive` reads: `points` [T, N, 3], or [M, 3] with `lengths` [T]
where frames differ in size; optional `times` [T], `corresponding`, `colors` (uint8) and `normals` (float32),
whose rows belong to the rows of `points`.
"""

import shutil
import tempfile
import zipfile
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.checks import has_gaps
from service.core.sequences.readers.frame import Frame, Points

_BLOCK_VALUES = 1 << 18


class FrameStore(Protocol):
    def add(self, frame: Frame) -> None: ...


class MemoryStore:
    """Frames as arrays; `colors` and `normals` are None unless every frame has them."""

    def __init__(self) -> None:
        self.clouds: list[Points] = []
        self._colors: list[NDArray[np.uint8]] = []
        self._normals: list[NDArray[np.float32]] = []

    def add(self, frame: Frame) -> None:
        self.clouds.append(frame.points)
        if frame.colors is not None:
            self._colors.append(frame.colors)
        if frame.normals is not None:
            self._normals.append(frame.normals)

    @property
    def colors(self) -> list[NDArray[np.uint8]] | None:
        return self._colors if len(self._colors) == len(self.clouds) else None

    @property
    def normals(self) -> list[NDArray[np.float32]] | None:
        return self._normals if len(self._normals) == len(self.clouds) else None


class DiskStore:
    """Frames in temporary files, which `write` makes one archive of: no more than one frame is in memory."""

    def __init__(self) -> None:
        self._lengths: list[int] = []
        self._types: list[np.dtype[Any]] = []
        self._files: dict[str, BinaryIO] = {}
        self._counts = {"colors": 0, "normals": 0}  # frames that have them

    def __enter__(self) -> "DiskStore":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, frame: Frame) -> None:
        self._append("points", frame.points)
        self._lengths.append(len(frame.points))
        self._types.append(frame.points.dtype)
        for name, values in (("colors", frame.colors), ("normals", frame.normals)):
            if values is not None:
                self._append(name, values)
                self._counts[name] += 1

    def write(self, out: BinaryIO, times: NDArray[np.float64] | None, corresponding: bool | None) -> None:
        """Write the sequence. Equal frames give identical bytes."""
        even = len(set(self._lengths)) == 1
        shape = (len(self._lengths), self._lengths[0], 3) if even else (sum(self._lengths), 3)
        wide = np.dtype(max(self._types, key=lambda dtype: dtype.itemsize))
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            if times is not None:
                _write_array(archive, "times", times)
            if not even:
                _write_array(archive, "lengths", np.array(self._lengths))
            if corresponding is not None and (even or has_gaps(self._lengths)):
                _write_array(archive, "corresponding", np.array(corresponding))
            with archive.open(zipfile.ZipInfo("points.npy"), "w") as entry:
                _write_header(entry, shape, wide)
                file = self._files["points"]
                file.seek(0)
                for length, dtype in zip(self._lengths, self._types, strict=True):
                    frame = np.frombuffer(file.read(3 * length * dtype.itemsize), dtype)
                    entry.write(frame.astype(wide, copy=False).tobytes())
            for name, kind in (("colors", "u1"), ("normals", "f4")):
                if self._counts[name] == len(self._lengths):
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as entry:
                        _write_header(entry, shape, np.dtype(kind))
                        self._files[name].seek(0)
                        shutil.copyfileobj(self._files[name], entry, 1 << 18)

    def _append(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the store
        flat = np.ascontiguousarray(values).reshape(-1)
        for start in range(0, len(flat), _BLOCK_VALUES):
            self._files[name].write(flat[start : start + _BLOCK_VALUES].tobytes())


def _write_array(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as entry:  # fixed date, for reproducible bytes
        np.lib.format.write_array(entry, values)


def _write_header(entry: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(entry, header)
