"""The one path from a sequence and its options to meshes, for jobs and for files alike."""

from collections.abc import Callable

from model import MeshSequence, Reconstructor
from service.core.jobs.options import Options
from service.core.sequences.sequence import PointCloudSequence


def reconstruct_sequence(
    reconstructor: Reconstructor,
    sequence: PointCloudSequence,
    options: Options,
    progress: Callable[[str, float], None],
    is_canceled: Callable[[], bool] | None = None,
) -> MeshSequence:
    """Raises OptionsError and ModelError with what the caller can do about it."""
    options.check_length(sequence.duration, sequence.frames)
    return reconstructor(
        sequence.points,
        sequence.times,
        sequence.corresponding,
        frames=options.frames,
        fps=options.fps,
        resolution=options.resolution,
        threshold=options.threshold,
        simplify=options.simplify,
        color=options.color,
        quality=options.quality,
        progress=progress,
        is_canceled=is_canceled,
    )
