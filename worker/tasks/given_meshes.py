"""What the tasks share that move given meshes by two clouds, of the first and of the last frame."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.schema import Config
from model.errors import ConfigError
from worker.data.errors import DataError
from worker.tasks.loaded import LoadedModel

Vertices = NDArray[np.float32]


class EndsFlow:
    """The flow between two clouds [2, N, 3], in the unit box of the first."""

    def __init__(self, model: LoadedModel, clouds: Vertices) -> None:
        self._net, self._device = model.occupancy_flow, model.device
        self.seconds: dict[str, float] = {}
        with self._timed("time (encode inputs)"):
            self._code = self._net.encode_motion(self._tensor(clouds)[None])  # [1, c_dim]

    def forward(self, vertices: Vertices, times: NDArray[np.float64]) -> Vertices:
        """Where vertices [V, 3] of t = 0 are at times [K]: [K, V, 3]."""
        with self._timed("time (forward propagation)"):
            carried = self._net.transform_to_t(
                self._tensor(times), self._tensor(vertices)[None], None, self._code
            )
            return _array(carried)

    def backward(self, vertices: Vertices, times: NDArray[np.float64]) -> Vertices:
        """Where vertices [V, 3] of t = 1 were at times [K]: [K, V, 3]."""
        with self._timed("time (backward propagation)"):
            carried = self._net.transform_to_t_backward(
                self._tensor(1 - times), self._tensor(vertices)[None], None, self._code
            )
            return _array(carried)

    def _tensor(self, values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        with torch.inference_mode():
            yield
        self.seconds[stage] = time.perf_counter() - began


def check_moves_meshes(config: Config, corresponding: bool, task: str, like: str) -> None:
    """Raise ConfigError for a model that does not move given meshes by two clouds of such points."""
    data, model = config.data, config.model
    if data.input_type != "end_pointclouds" or model.decoder is not None or model.encoder_temporal is None:
        own = (
            f"worker reconstruct --model {config.name}" if data.input_type == "pcl_seq" else "worker generate"
        )
        raise ConfigError(
            f"{config.name} is not made for {task}: found data.input_type {data.input_type}, model.decoder "
            f"{model.decoder}, model.encoder_temporal {model.encoder_temporal}; wanted end_pointclouds, no "
            f"decoder and an encoder: use {like}, or `{own}` for what this model does"
        )
    if data.input_pointcloud_corresponding != corresponding:
        found = "correspond" if not corresponding else "do not correspond"
        raise ConfigError(
            f"{config.name} is not made for {task}: it was trained on two clouds whose points {found}; "
            f"use {like}"
        )


def end_meshes(item: dict[str, Any]) -> tuple[Vertices, NDArray[np.int32]]:
    """Vertices [2, V, 3] of a window's first and last mesh, and its faces [F, 3]."""
    if "mesh.vertices" not in item:
        raise DataError("the data set gives no meshes, and this task moves given ones")
    return np.asarray(item["mesh.vertices"], np.float32), np.asarray(item["mesh.faces"], np.int32)


def _array(carried: Tensor) -> Vertices:
    """[1, K, V, 3] → [K, V, 3]"""
    return carried[0].cpu().numpy()
