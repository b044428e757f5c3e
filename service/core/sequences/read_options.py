"""How files of an upload are understood."""

from dataclasses import dataclass
from enum import StrEnum


class Sample(StrEnum):
    """Which points of a mesh are its frame's points."""

    SURFACE = "surface"
    VERTICES = "vertices"


@dataclass(frozen=True)
class ReadOptions:
    """The points of meshes, and the rate of frames whose times nothing else says.

    With `drop_invalid` points may be invalid: they keep their rows, with NaN for coordinates, and are left
    out by whoever uses them.
    """

    sample: Sample = Sample.SURFACE
    fps: float | None = None
    drop_invalid: bool = False


DEFAULT_OPTIONS = ReadOptions()
