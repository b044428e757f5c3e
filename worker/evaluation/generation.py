"""A whole test split to meshes or clouds: every window through the task, resumable, one failure at a time."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config.sections import GenerationConfig
from model.errors import ModelError
from worker.data.windows import Window, Windows, window_of
from worker.evaluation.layout import (
    RECORD,
    GenerationFolder,
    first_path,
    frame_name,
    identity,
    inputs_of,
    is_made_from,
    mesh_stem,
)
from worker.evaluation.mesh_files import write_off, write_ply
from worker.evaluation.showcase import show
from worker.tasks.registry import task_name
from worker.tasks.task import Item, Output, Task


@dataclass
class Generated:
    """What a run did: numbers of windows made and found finished, and the reasons of those without meshes."""

    made: int = 0
    kept: int = 0
    failed: dict[Window, str] = field(default_factory=dict)
    empty: dict[Window, list[int]] = field(default_factory=dict)  # frames without a mesh, of other windows
    timings: list[dict[str, Any]] = field(default_factory=list)  # a row a window with meshes, kept ones too


def generate(
    task: Task,
    dataset: Windows,
    indices: Iterable[int],
    folder: GenerationFolder,
    on_window: Callable[[Window], None] = lambda _: None,
) -> Generated:
    """Write what a task makes of these windows of a data set, in the unit box of their first cloud.

    Windows finished before, from the same inputs by the same checkpoint and settings, are kept. One whose
    surface is empty, or that fails otherwise, is recorded with its reason, and the run goes on; what an older
    run made of it stays. `on_window`
    gets each window when done.
    """
    made_with, done = _made_with(task), Generated()
    shown: Counter[str] = Counter()  # by class
    for index in indices:
        window, item = window_of(dataset, index), dataset[index]
        record = folder.record(window)
        if (
            record is None
            or record.get("made with") != made_with
            or not is_made_from(record, inputs_of(item))
        ):
            record = _generate_window(task, item, window, folder, made_with)
            done.made += 1
        else:
            done.kept += 1
        if record["error"] is not None:
            done.failed[window] = record["error"]
        else:
            done.timings.append(identity(window, index) | record["seconds"])
            if shown[window.category] < (task.model.config.generation.vis_n_outputs or 0):
                show(folder, window, shown[window.category])
                shown[window.category] += 1
            if empty := record.get("empty frames"):
                done.empty[window] = [int(frame) for frame in empty]
        on_window(window)
    return done


def _made_with(task: Task) -> dict[str, Any]:
    """All that the files depend on beside the input: what a resumed run compares."""
    generation = task.model.config.generation
    return {
        "task": task_name(task.model.config),
        "checkpoint": task.model.checkpoint_sha256,
        "mesh_color": generation.mesh_color,
        "copy_input": generation.copy_input,
        **task.settings,
    }


def _generate_window(
    task: Task, item: Item, window: Window, folder: GenerationFolder, made_with: dict[str, Any]
) -> dict[str, Any]:
    config, inputs = task.model.config, inputs_of(item)
    began = time.perf_counter()
    record: dict[str, Any] = {"made with": made_with, "first path": first_path(inputs), "error": None}
    output = None
    try:
        output = task(item)
        kind = "mesh" if task.gives == "meshes" else "pcl"
        record["seconds"] = {kind: time.perf_counter() - began, **output.seconds}
        record["fit"] = output.fit.to_dict() if output.fit else None
        record["empty frames"] = output.empty
    except ModelError as error:
        record["error"] = str(error)
        if (folder.record(window) or record)["error"] is None:
            return record  # meshes of an older run are better than none
    if config.generation.copy_input and inputs.ndim == 3:  # [T, N, 3]; images are where they are
        _replace_folder(folder.inputs(window), lambda part: _write_clouds(part, inputs))
    _replace_folder(
        folder.results(window),
        lambda part: _write_output(part, window, output, config.generation, record),
    )
    return record


def _write_clouds(part: Path, clouds: Iterable[NDArray[np.floating]]) -> None:
    for frame, points in enumerate(clouds):
        write_ply(part / f"{frame:04d}.ply", points)


def _write_output(
    part: Path,
    window: Window,
    output: Output | None,
    generation: GenerationConfig,
    record: dict[str, Any],
) -> None:
    if output is not None:
        for number, frame in enumerate(_written_frames(output, generation), start=1):
            vertices, file = output.vertices[frame], part / frame_name(window, number, output.ending)
            if output.faces is None:
                write_ply(file, vertices)
            else:
                write_off(file, vertices, output.faces[frame], generation.mesh_color)
        if output.animation is not None:
            (part / f"{mesh_stem(window)}.glb").write_bytes(output.animation.to_glb())
    (part / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")


def _written_frames(output: Output, generation: GenerationConfig) -> list[int]:
    """The frames in order of their files. Of both ends alone there are three, as published: the first mesh,
    and what the flow carries it to at t = 0 and 1.
    """
    count = len(output.vertices)
    return [0, 0, 1] if generation.only_end_time_points and count == 2 else list(range(count))


def _replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder aside and move it into place, so that a stopped run leaves whole folders only."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was stopped
    part.mkdir(parents=True)
    write(part)
    shutil.rmtree(target, ignore_errors=True)  # made with other settings
    part.replace(target)
