"""The current reconstruction of a validation window beside the truth."""

import copy

import numpy as np
from numpy.typing import NDArray

from model.build import Network
from model.config import Config
from model.errors import ConfigError, EmptySurfaceError, FlowError
from model.occupancy_flow import OccupancyFlow
from model.reconstruct import Reconstructor
from service.pictures import Camera, draw_mesh, draw_points
from worker.training.batches import Item

RESOLUTION = 64  # cells a side
SIZE = (240, 320)  # of one panel: width, height


def picture(net: Network, config: Config, item: Item, device: str) -> NDArray[np.uint8] | None:
    """True particles above, reconstruction below, at the first, middle and last frame: [H, W, 3].

    None while there is no surface to draw, and for models that do not turn clouds into a moving mesh.
    """
    if not isinstance(net, OccupancyFlow):
        return None
    inputs, truth = np.asarray(item.get("inputs")), np.asarray(item["points_mesh"])  # [T, N, 3], [T, M, 3]
    try:
        reconstructor = Reconstructor(config, copy.deepcopy(net), checkpoint_sha256="", device=device)
        meshes = reconstructor(list(inputs), resolution=RESOLUTION)
    except (ConfigError, EmptySurfaceError, FlowError):
        return None
    camera = Camera.framing(truth, aspect=SIZE[0] / SIZE[1])
    shown = [0, len(truth) // 2, len(truth) - 1]
    above = [draw_points(truth[k], camera, SIZE) for k in shown]
    below = [draw_mesh(meshes.vertices[k], meshes.faces, None, camera, SIZE) for k in shown]
    return np.concatenate([np.concatenate(row, axis=1) for row in (above, below)])
