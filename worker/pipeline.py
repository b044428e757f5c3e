"""The one path from a sequence and its options to meshes and files, for jobs and for the command line."""

import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from model import MeshSequence
from service.core.jobs.formats import Format
from service.core.jobs.options import ReconstructionOptions
from service.core.sequences.sequence import PointCloudSequence

if TYPE_CHECKING:  # it loads torch, which writing files does not need
    from model import Reconstructor

# The options that the Reconstructor takes as they are.
ARGUMENTS = ReconstructionOptions.model_fields.keys() - {
    "formats",
    "corresponding",
    "sample",
    *(name for file_format in Format for name in file_format.takes),
}


def reconstruct_sequence(
    reconstructor: "Reconstructor",
    sequence: PointCloudSequence,
    options: ReconstructionOptions,
    progress: Callable[[str, float], None],
    is_canceled: Callable[[], bool] | None = None,
) -> MeshSequence:
    """Raises OptionsError and ModelError with what the caller can do about it."""
    options.check_length(sequence.duration, sequence.frames)
    return reconstructor(
        sequence.points,
        sequence.times if sequence.timed else None,
        sequence.corresponding if options.corresponding is None else options.corresponding,
        colors=sequence.colors,
        **options.model_dump(include=ARGUMENTS),
        progress=progress,
        is_canceled=is_canceled,
    )


def write_meshes(
    meshes: MeshSequence,
    file_format: Format,
    options: ReconstructionOptions | None = None,
    sequence: PointCloudSequence | None = None,
) -> bytes:
    """The content of a file in that format. Raises ModelError where the format cannot hold the meshes.

    `sequence` is the input, which some formats show beside the mesh.
    """
    known = (options or ReconstructionOptions()).model_dump() | {"sequence": sequence}
    taken = {name: known[name] for name in file_format.takes}
    content: bytes = pkgutil.resolve_name(file_format.writer)(meshes, **taken)
    return content
