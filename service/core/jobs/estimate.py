"""What a job will take, from its input and its options: a rough estimate that bounds what is accepted.

The constants are fitted to measurements on two cores without a GPU (docs/performance.md), of files to those
of docs/formats.md. Sequences are taken to be unordered unless they say otherwise: the worker finds it out.
"""

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

from pydantic import BaseModel

from service.core.jobs.formats import MAX_MORPH_FRAMES, Format
from service.core.jobs.options import Animation, Quality, ReconstructionOptions

VERTICES = 0.61  # of a surface, per cell of one side of the grid
GRID_BYTES = 5  # per point of the finest grid
VERTEX_BYTES = 24  # of a vertex in one frame, in memory
BASE_SECONDS = 0.5  # preparation, thumbnail, transfer


class _Cost(NamedTuple):
    """Of a vertex in one frame of a file."""

    bytes: float
    seconds: float


_COSTS = {
    Format.OBJ: _Cost(45, 2.8e-6),
    Format.PLY: _Cost(21, 0.9e-6),
    Format.USDZ: _Cost(25, 0.4e-6),
    Format.USDC: _Cost(25, 0.4e-6),
    Format.MDD: _Cost(14, 0.4e-6),
    Format.PC2: _Cost(14, 0.4e-6),
    Format.NPZ: _Cost(12, 0.4e-6),
    Format.WEBP: _Cost(0, 0),
}
_MORPH, _SKIN = _Cost(25, 0.4e-6), _Cost(1, 1.5e-6)
_DRAWING_SECONDS = 0.8  # of a turntable
_EXTRACTION = {Quality.EXACT: 1.3, Quality.BALANCED: 0.14, Quality.DRAFT: 0.1}  # seconds at 128 cells
_REGISTRATION = {Quality.EXACT: 2.7, Quality.BALANCED: 2.7, Quality.DRAFT: 0.42}  # seconds for 17 × 2,000
# A frame of few points takes at least so many seconds, twice that in a sequence so short that more is tried.
_FEW, _SHORT = 600, 32
_OF_FEW = {Quality.EXACT: 0.06, Quality.BALANCED: 0.06, Quality.DRAFT: 0.01}


class Estimate(BaseModel):
    """Expected seconds of a worker, bytes of the files, and bytes of memory at a time."""

    seconds: float
    bytes: int
    memory_bytes: int

    @property
    def whole_seconds(self) -> int:
        return ceil(self.seconds)


def estimate(
    options: ReconstructionOptions,
    *,
    frames: int,
    points: int,
    duration: float,
    resolution: int,
    max_points: int | None = None,
    corresponding: bool | None = None,
) -> Estimate:
    """Estimate a job for `frames` frames of at most `points` points.

    `duration` is the input's, in seconds; `resolution` and `max_points` are the model's, which samples frames
    that are larger. `corresponding` is what the input says itself.
    """
    cells = options.resolution or resolution
    written = options.output_frames(duration, frames)
    used = min(points, max_points) if max_points else points
    vertices = VERTICES * cells**2
    seconds = BASE_SECONDS + _EXTRACTION[options.quality] * (cells / 128) ** 2.2
    registration = _REGISTRATION[options.quality] * (frames * used / 34_000) ** 0.67
    if used <= _FEW and not (corresponding if options.corresponding is None else options.corresponding):
        least = _OF_FEW[options.quality] * frames * (2 if frames < _SHORT else 1)
        registration = max(registration, least)
    seconds += registration
    seconds += 1e-6 * frames * points  # reading
    seconds += 2e-5 * vertices + 3e-8 * vertices * written  # flow
    if options.simplify:
        seconds += 1e-5 * vertices
        vertices = min(vertices, 0.5 * options.simplify)
    costs = list(_costs(options, written))
    sizes = [vertices * written * cost.bytes for cost in costs]
    seconds += sum(vertices * written * cost.seconds for cost in costs)
    seconds += _DRAWING_SECONDS * (Format.WEBP in options.formats)
    memory = GRID_BYTES * (cells + 1) ** 3 + vertices * written * VERTEX_BYTES + max(sizes)
    return Estimate(seconds=round(seconds, 1), bytes=round(sum(sizes)), memory_bytes=round(memory))


def _costs(options: ReconstructionOptions, frames: int) -> Iterable[_Cost]:
    for kind in options.formats:
        if kind is not Format.GLB:
            yield _COSTS[kind]
        elif options.animation is Animation.SKIN or frames > MAX_MORPH_FRAMES:
            yield _SKIN
        else:
            yield _MORPH
