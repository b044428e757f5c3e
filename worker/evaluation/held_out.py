"""How good a loaded model is on windows that it has not seen, without writing a mesh."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Subset

from model.errors import ModelError
from worker.data import DataError, build_dataset
from worker.data.windows import Windows, window_of
from worker.evaluation.layout import identity
from worker.evaluation.report import headline
from worker.evaluation.scores import (
    SURFACE_SAMPLES,
    Row,
    Truth,
    read_window,
    score_points,
    score_results,
    worst_scores,
)
from worker.evaluation.validation import validate
from worker.tasks.task import Item, Task

VALIDATION_POINTS = 2000  # a frame: carrying them all back costs more than the meshes


def score(
    task: Task,
    dataset: Windows,
    count: int | None = None,
    samples: int = SURFACE_SAMPLES,
) -> dict[str, float]:
    """IoU, Chamfer × 10 and correspondence × 10 over the first `count` windows of a data set, all by default.

    Means over all frames and windows, and of frame 0 as `… at 0`. The data set is one of `open_test_split`.
    """
    rows = score_windows(task, dataset, range(len(dataset) if count is None else count), samples)
    kind = "mesh" if task.gives == "meshes" else "pcl"
    at_0 = headline(rows, kind, 0)
    return headline(rows, kind) | {f"{key} at 0": value for key, value in at_0.items()}


def score_windows(
    task: Task,
    dataset: Windows,
    indices: Iterable[int],
    samples: int = SURFACE_SAMPLES,
    on_row: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """The rows that generating and evaluating these windows would give; the worst where there is no mesh."""
    with_iou = task.model.config.test.eval_mesh_iou and task.gives == "meshes"
    rows = []
    for index in indices:
        item, truth = read_window(dataset, index, with_iou)
        row = identity(window_of(dataset, index), index) | _score(task, item, truth, index, samples)
        rows.append(row)
        on_row(row)
    return rows


def score_network(task: Task, indices: Sequence[int]) -> dict[str, float]:
    """What training's validation would measure on these windows of the test split, without any mesh.

    `iou_t0` and `iou` are of the occupancy at true points, carried back to t = 0; `l2` is of true particles
    carried from there. A mesh loses a little to its grid, and its vertices lie beside the particles.
    """
    config = task.model.config
    sections = {
        "data": config.data.model_copy(update={"val_split": config.data.test_split}),
        "training": config.training.model_copy(
            update={"n_eval_points": VALIDATION_POINTS, "n_val_items": None, "parts": "joint"}
        ),
    }
    config = config.model_copy(update=sections)
    held_out: Any = Subset(build_dataset(config, "val"), indices)
    return validate(task.model.net, held_out, config, task.model.device)


def _score(task: Task, item: Item, truth: Truth, index: int, samples: int) -> Row:
    test = task.model.config.test
    of_clouds = task.gives == "point clouds"
    correspondence = test.eval_pointcloud_correspondences if of_clouds else test.eval_mesh_correspondences
    try:
        output = task(item)
    except ModelError:
        frames = 2 if test.eval_only_end_time_steps else len(truth.particles)
        with_iou = truth.points is not None
        return worst_scores(frames, with_iou, correspondence, "pcl" if of_clouds else "mesh")
    vertices = [np.asarray(frame, np.float32) for frame in output.vertices]  # T arrays [V, 3]
    if output.faces is None:
        return score_points(vertices, truth, correspondence)
    return score_results(list(zip(vertices, output.faces, strict=True)), truth, test, index, samples)


def sequence_overrides(folder: Path) -> dict[str, Any]:
    """Config values that read the data set around one sequence, such as data/Humans/D-FAUST/50002_knees.

    IoU is measured where there are occupancy samples.
    """
    place = folder.resolve()
    data = {
        "dataset": "Humans",
        "path": str(place.parent.parent),
        "classes": [place.parent.name],
        "test_split": None,
        "offset_sequence": 0,
        "n_files_per_sequence": -1,
    }
    return {"data": data, "test": {"eval_mesh_iou": (place / "points_seq").is_dir()}}


def sequence_windows(dataset: Windows, folder: Path) -> list[int]:
    """The windows of one sequence of a data set. Raises DataError where it has none."""
    place = folder.resolve()
    windows = [index for index in range(len(dataset)) if window_of(dataset, index).sequence == place]
    if not windows:
        raise DataError(f"{place} has no window; wanted a sequence with data.length_sequence frames or more")
    return windows
