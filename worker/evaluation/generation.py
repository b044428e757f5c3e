"""A whole test split to meshes: every window through the Reconstructor, resumable, one failure at a time."""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import ConfigError, ModelError
from model.meshes import MeshSequence
from model.reconstruct import Reconstructor
from worker.data.windows import Window
from worker.evaluation.layout import (
    DATA_BOX,
    RECORD,
    GenerationFolder,
    Windows,
    first_path,
    identity,
    is_made_from,
    mesh_name,
    mesh_stem,
    window_of,
)
from worker.evaluation.mesh_files import write_off, write_ply

# Stages of the Reconstructor under the names of the published timings.
STAGES = {
    "encode": "time (encode inputs)",
    "extract": "time (extract mesh)",
    "simplify": "time (simplify)",
    "flow": "time (forward propagation)",
    "fit": "time (fit)",
}


@dataclass
class Generated:
    """What a run did: numbers of windows made and found finished, and the reasons of those without meshes."""

    made: int = 0
    kept: int = 0
    failed: dict[Window, str] = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)  # a row a window with meshes, kept ones too


def generate(
    reconstructor: Reconstructor,
    dataset: Windows,
    indices: Iterable[int],
    folder: GenerationFolder,
    told: Callable[[Window], None] = lambda _: None,
) -> Generated:
    """Write the meshes of these windows of a data set, in the unit box of their first frame.

    Windows finished before, from the same inputs by the same checkpoint and settings, are kept. One whose
    surface is empty, or that fails otherwise, is recorded with its reason, and the run goes on. `told` gets
    each window when done.
    """
    generation = reconstructor.config.generation
    if generation.generate_pointcloud or not generation.generate_mesh:
        raise ConfigError(
            f"{reconstructor.name}: found generation.generate_mesh {generation.generate_mesh} and "
            f"generate_pointcloud {generation.generate_pointcloud}; this model gives meshes only"
        )
    made_with = _made_with(reconstructor)
    done = Generated()
    for index in indices:
        window, inputs = window_of(dataset, index), np.asarray(dataset[index]["inputs"])  # [T, N, 3]
        record = folder.record(window)
        if record is None or record.get("made with") != made_with or not is_made_from(record, inputs):
            record = _generate_window(reconstructor, inputs, window, folder, made_with)
            done.made += 1
        else:
            done.kept += 1
        if record["error"] is not None:
            done.failed[window] = record["error"]
        else:
            done.timings.append(identity(window, index) | record["seconds"])
        told(window)
    return done


def _made_with(reconstructor: Reconstructor) -> dict[str, Any]:
    """All that the meshes depend on beside the input: what a resumed run compares."""
    generation = reconstructor.config.generation
    kept = ("resolution_0", "upsampling_steps", "padding", "simplify_nfaces", "mesh_color", "copy_input")
    return {
        "checkpoint": reconstructor.checkpoint_sha256,
        "threshold": reconstructor.config.test.threshold,
        "frames": 2 if generation.only_end_time_points else generation.n_time_steps,
        **{key: getattr(generation, key) for key in kept},
    }


def _generate_window(
    reconstructor: Reconstructor,
    inputs: NDArray[np.float32],
    window: Window,
    folder: GenerationFolder,
    made_with: dict[str, Any],
) -> dict[str, Any]:
    config = reconstructor.config
    began = time.perf_counter()
    record: dict[str, Any] = {"made with": made_with, "first path": first_path(inputs), "error": None}
    meshes = None
    try:
        meshes = reconstructor(
            list(inputs),
            corresponding=config.data.input_pointcloud_corresponding,
            frames=made_with["frames"],
            color="correspondence" if config.generation.mesh_color else "none",
            box=DATA_BOX,
        )
        stages = {STAGES[stage]: seconds for stage, seconds in meshes.timings.items()}
        record["seconds"] = {"mesh": time.perf_counter() - began, **stages}
        record["fit"] = meshes.fit.to_dict() if meshes.fit else None
    except ModelError as error:
        record["error"] = str(error)
    if config.generation.copy_input:
        _replace_folder(folder.inputs(window), lambda part: _write_inputs(part, inputs))
    _replace_folder(
        folder.meshes(window),
        lambda part: _write_meshes(part, window, meshes, config.generation.mesh_color, record),
    )
    return record


def _write_inputs(part: Path, inputs: NDArray[np.float32]) -> None:
    for frame, points in enumerate(inputs):
        write_ply(part / f"{frame:04d}.ply", points)


def _write_meshes(
    part: Path, window: Window, meshes: MeshSequence | None, colored: bool, record: dict[str, Any]
) -> None:
    if meshes is not None:
        for frame, vertices in enumerate(meshes.vertices):
            write_off(part / mesh_name(window, frame), vertices, meshes.faces, colored)
        (part / f"{mesh_stem(window)}.glb").write_bytes(meshes.to_glb())
    (part / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")


def _replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder aside and move it into place, so that a stopped run leaves whole folders only."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was stopped
    part.mkdir(parents=True)
    write(part)
    shutil.rmtree(target, ignore_errors=True)  # made with other settings
    part.replace(target)
