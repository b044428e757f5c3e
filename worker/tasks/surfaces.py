"""What the tasks share that extract surfaces: the settings, and the extraction by them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config.schema import Config
from model.devices import rows_together
from model.networks.decoders import Occupancy
from model.surface.extraction import extract_isosurface
from worker.tasks.loaded import LoadedModel

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]  # vertices [V, 3] and faces [F, 3]


def output_frames(config: Config) -> int:
    """How many frames a task makes: both ends, or `generation.n_time_steps`."""
    return 2 if config.generation.only_end_time_points else config.generation.n_time_steps


def surface_settings(config: Config) -> dict[str, Any]:
    """All that moving surfaces depend on beside input and weights."""
    kept = ("resolution_0", "upsampling_steps", "padding", "simplify_nfaces")
    return {
        "threshold": config.test.threshold,
        "frames": output_frames(config),
        **{key: getattr(config.generation, key) for key in kept},
    }


def extract_surface(model: LoadedModel, occupancy: Occupancy) -> Mesh:
    """The surface of an occupancy, not simplified. Raises EmptySurfaceError where there is none."""
    generation = model.config.generation
    return extract_isosurface(
        occupancy,
        model.config.test.threshold,
        resolution_0=generation.resolution_0,
        upsampling_steps=generation.upsampling_steps,
        padding=generation.padding,
        device=model.device,
        chunk=rows_together(model.device),
    )
