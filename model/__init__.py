"""The network and its mathematics: torch and numpy, no queue, no HTTP, no disk layout.

    from model import Reconstructor
    meshes = Reconstructor.from_config("bodies")(frames)  # 17 arrays [N, 3] → MeshSequence

Names are loaded when first used, so that reading a config or catching an error does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.checkpoints import load_checkpoint
    from model.config.schema import Config, load_config
    from model.errors import (
        Canceled,
        CheckpointError,
        ConfigError,
        EmptySurfaceError,
        FlowError,
        InputError,
        ModelError,
    )
    from model.meshes.sequence import MeshSequence
    from model.methods import build_model
    from model.reconstruction.reconstructor import Reconstructor

_HOMES = {
    "Canceled": "errors",
    "CheckpointError": "errors",
    "Config": "config.schema",
    "ConfigError": "errors",
    "EmptySurfaceError": "errors",
    "FlowError": "errors",
    "InputError": "errors",
    "MeshSequence": "meshes.sequence",
    "ModelError": "errors",
    "OccupancyFlow": "networks.occupancy_flow",
    "Reconstructor": "reconstruction.reconstructor",
    "build_model": "methods",
    "load_checkpoint": "checkpoints",
    "load_config": "config.schema",
}

__all__ = [
    "Canceled",
    "CheckpointError",
    "Config",
    "ConfigError",
    "EmptySurfaceError",
    "FlowError",
    "InputError",
    "MeshSequence",
    "ModelError",
    "OccupancyFlow",
    "Reconstructor",
    "build_model",
    "load_checkpoint",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    return getattr(import_module(f"model.{_HOMES[name]}"), name)
