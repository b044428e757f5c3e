"""What the current network makes of a validation window, beside the truth."""

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from model.config.schema import Config
from model.errors import ModelError
from worker.data.batches import Item
from worker.rendering.pictures import Camera, draw_mesh, draw_points
from worker.tasks.loaded import LoadedModel
from worker.tasks.registry import TASKS, task_name
from worker.tasks.task import Output

COARSE = {"resolution_0": 32, "upsampling_steps": 1, "simplify_nfaces": None}  # 64 cells a side
SIZE = (240, 320)  # of one panel: width, height
ACROSS = 3  # first, middle and last frame

Pixels = NDArray[np.uint8]  # [H, W, 3]


def picture(net: nn.Module, config: Config, item: Item, device: str) -> Pixels | None:
    """The truth above, below it what the config's task gives, at the first, middle and last frame.

    None while there is nothing to draw: no surface yet, or a task that moves given meshes.
    """
    config = config.model_copy(update={"generation": config.generation.model_copy(update=COARSE)})
    try:
        frozen = copy.deepcopy(net).to(device).eval().requires_grad_(False)
        output = TASKS[task_name(config)](LoadedModel(config, frozen, "", device))(item)
    except ModelError:
        return None
    truth = _truth(item)
    camera = Camera.framing(np.concatenate(truth), aspect=SIZE[0] / SIZE[1])
    above = [draw_points(truth[k], camera, SIZE) for k in _shown(truth)]
    below = [_draw(output, k, camera) for k in _shown(output.vertices)]
    return np.concatenate([np.concatenate(row, axis=1) for row in (above, below)])


def _truth(item: Item) -> list[NDArray[np.float32]]:
    """Points of every frame: on the surface, else those of the samples that lie inside."""
    if "points_mesh" in item:
        return list(np.asarray(item["points_mesh"]))
    name = "points_iou" if "points_iou" in item else "points"
    points, occupancies = np.asarray(item[name]), np.asarray(item[f"{name}.occ"])  # [T, P(, 3)]
    return [frame[occupied >= 0.5] for frame, occupied in zip(points, occupancies, strict=True)]


def _draw(output: Output, frame: int, camera: Camera) -> Pixels:
    points = np.asarray(output.vertices[frame], np.float64)
    if not len(points):  # a frame without a surface
        return np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    if output.faces is None:
        return draw_points(points, camera, SIZE)
    return draw_mesh(points, output.faces[frame], None, camera, SIZE)


def _shown(frames: Sequence[object]) -> list[int]:
    return [round(k) for k in np.linspace(0, len(frames) - 1, ACROSS)]
