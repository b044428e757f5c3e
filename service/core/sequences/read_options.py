"""How files of an upload are understood."""

from dataclasses import dataclass
from enum import StrEnum


class Sample(StrEnum):
    """Which points of a mesh are its frame's points."""

    SURFACE = "surface"
    VERTICES = "vertices"


@dataclass(frozen=True)
class ReadOptions:
    """The points of meshes, and the rate of frames whose times nothing else says."""

    sample: Sample = Sample.SURFACE
    fps: float | None = None


DEFAULT_OPTIONS = ReadOptions()
