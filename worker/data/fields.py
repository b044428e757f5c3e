"""What of a window goes into an item: surface points, occupancy samples, meshes.

Points come in the box of the window's first frame: `(loc + scale * x - loc0) / scale0`. Random draws come
from the generator that is given, in the order of the published code.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model.reconstruction.normalization import UnitBox
from worker.data.errors import DataError
from worker.data.frames import Frame, numbered_files
from worker.data.mesh_sequences import read_mesh
from worker.data.windows import WindowFrames

Item = dict[str, NDArray[Any]]


class Field(Protocol):
    """Reads its arrays of a window; the keys are endings: "" for the main array, ".time", ".occ", …"""

    def read(self, frames: WindowFrames, rng: np.random.Generator) -> Item: ...


@dataclass(frozen=True)
class SurfaceField:
    """Points on the surface [T, K, 3], and times [T].

    `rows`: "shared" draws K rows with replacement, the same in all frames, so that row j is one particle;
    "independent" draws them for each frame; "first" takes the first K, as all do where `count` is None.
    """

    folder: str
    count: int | None
    rows: Literal["shared", "independent", "first"] = "first"
    noise: float = 0.0  # standard deviation, in the box
    ends_only: bool = False  # the first and the last frame alone [2, K, 3]

    def read(self, frames: WindowFrames, rng: np.random.Generator) -> Item:
        length = frames.window.length
        steps = (0, length - 1) if self.ends_only else range(length)
        drawn = self._draw([frames(self.folder, step) for step in steps], rng)
        points = np.stack([normalized(frame, drawn[0][0], rows) for frame, rows in drawn])
        if self.noise > 0:
            points += (self.noise * rng.standard_normal(points.shape)).astype(np.float32)
        return {"": points, ".time": frames.window.times}

    def _draw(self, frames: list[Frame], rng: np.random.Generator) -> list[tuple[Frame, Any]]:
        """Each frame with the rows to take of it."""
        sizes = {len(frame.points) for frame in frames}
        if len(sizes) > 1 and (self.rows != "independent" or self.count is None):
            raise DataError(
                f"{frames[0].source}: the frames from here on hold {min(sizes)} to {max(sizes)} points; "
                "wanted as many in each, since row j is the same particle"
            )
        if self.count is None or self.rows == "first":
            return [(frame, slice(self.count)) for frame in frames]
        if self.rows == "shared":
            rows = rng.integers(sizes.pop(), size=self.count)  # [K]
            return [(frame, rows) for frame in frames]
        if len(sizes) > 1:
            return [(frame, rng.integers(len(frame.points), size=self.count)) for frame in frames]
        return list(zip(frames, rng.integers(sizes.pop(), size=(len(frames), self.count)), strict=True))


@dataclass(frozen=True)
class OccupancyField:
    """Samples of one frame [K, 3], whether they lie inside [K], and its time []; K rows with replacement."""

    folder: str
    unpackbits: bool
    count: int
    step: int | None = None  # of the window; None draws one

    def read(self, frames: WindowFrames, rng: np.random.Generator) -> Item:
        step = int(rng.integers(frames.window.length)) if self.step is None else self.step
        first, frame = frames(self.folder, 0), frames(self.folder, step)
        rows = rng.integers(len(frame.points), size=self.count)  # [K]
        return {
            "": normalized(frame, first, rows),
            ".occ": frame.occupied(rows, self.unpackbits),
            ".time": np.asarray(frames.window.times[step]),
        }


@dataclass(frozen=True)
class OccupancySequenceField:
    """Samples of all frames [T, K, 3], whether they lie inside [T, K], and times [T]; the first K, or all.

    Nothing is drawn. (The published code moves validation points by noise after their occupancy was taken.)
    """

    folder: str
    unpackbits: bool
    count: int | None

    def read(self, frames: WindowFrames, rng: np.random.Generator) -> Item:  # noqa: ARG002
        steps = [frames(self.folder, step) for step in range(frames.window.length)]
        count = min(len(frame.points) for frame in steps)
        rows = slice(count if self.count is None else min(count, self.count))
        return {
            "": np.stack([normalized(frame, steps[0], rows) for frame in steps]),
            ".occ": np.stack([frame.occupied(rows, self.unpackbits) for frame in steps]),
            ".time": frames.window.times,
        }


@dataclass(frozen=True)
class EndMeshesField:
    """Vertices of the first and the last frame's mesh [2, V, 3], in the first one's box, and faces [F, 3]."""

    folder: str

    def read(self, frames: WindowFrames, rng: np.random.Generator) -> Item:  # noqa: ARG002
        window = frames.window
        if not (folder := window.sequence / self.folder).is_dir():
            raise DataError(
                f"there is no folder {folder}, and this task moves given meshes; `worker data bodies "
                "--meshes` and `worker data build --meshes` write them, "
                "`worker data migrate` copies those of D-FAUST"
            )
        files = numbered_files(folder, ".obj")
        last = window.start + window.length - 1
        if len(files) <= last:
            raise DataError(f"{folder} holds {len(files)} meshes; wanted {last + 1}")
        first, end = (read_mesh(file) for file in (files[window.start], files[last]))
        if not np.array_equal(first.faces, end.faces):
            raise DataError(f"{files[last]} has other faces than {files[window.start]}")
        box = UnitBox.around(first.vertices)
        vertices = box.normalize(np.stack([first.vertices, end.vertices]))  # [2, V, 3]
        return {".vertices": vertices, ".faces": np.asarray(first.faces, np.int64)}


def normalized(frame: Frame, first: Frame, rows: NDArray[np.intp] | slice) -> NDArray[np.float32]:
    """These rows of a frame in the box of the window's first one [K, 3]."""
    points = frame.points[rows].astype(np.float32)  # [K, 3]
    inside = (frame.loc + frame.scale * points - first.loc) / first.scale
    return np.asarray(inside, np.float32)
