"""Size of each output format and the time to write it, for a short and a long clip of a generated body.

python -m tests.benchmarks.outputs
"""

import time

import numpy as np

from model.meshes.sequence import MeshSequence
from service.core.jobs.formats import MAX_MORPH_FRAMES, Format
from service.core.jobs.options import Animation, ReconstructionOptions
from worker.data.body_sequences import BodySequence
from worker.pipeline import write_meshes

FRAMES = (17, 300)
FPS = 60


def main() -> None:
    clips = [clip(frames) for frames in FRAMES]
    sizes = ", ".join(f"{len(meshes.times)} frames" for meshes in clips)
    print(
        f"{clips[0].vertices.shape[1]} vertices, {len(clips[0].faces)} faces; {sizes}: MB and seconds of CPU"
    )
    for file_format in Format:
        for options in variants(file_format):
            cells = [measured(meshes, file_format, options) for meshes in clips]
            print(f"| {label(file_format, options)} | {' | '.join(cells)} |", flush=True)


def clip(frames: int) -> MeshSequence:
    body = BodySequence(0, "jumping_jacks", False, frames, 0, 0.5, 0.0)
    return MeshSequence(body.all_vertices, body.faces, np.arange(frames) / FPS)


def variants(file_format: Format) -> list[ReconstructionOptions]:
    if file_format is not Format.GLB:
        return [ReconstructionOptions()]
    return [
        ReconstructionOptions(animation=animation, compress=compress)
        for animation in (Animation.MORPH, Animation.SKIN)
        for compress in (False, True)
    ]


def label(file_format: Format, options: ReconstructionOptions) -> str:
    if file_format is not Format.GLB:
        return f"`{file_format}`"
    return f"`glb`, {options.animation}{', compressed' if options.compress else ''}"


def measured(meshes: MeshSequence, file_format: Format, options: ReconstructionOptions) -> str:
    morph = file_format is Format.GLB and options.animation is Animation.MORPH
    if morph and len(meshes.times) > MAX_MORPH_FRAMES:
        return "-"
    began = time.process_time()
    content = write_meshes(meshes, file_format, options)
    return f"{len(content) / 1e6:.2f} MB, {time.process_time() - began:.1f} s"


if __name__ == "__main__":
    main()
