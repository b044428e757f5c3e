"""Turning balls: a data set small enough to train on in a test, and a network small enough to learn it."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from model.config.schema import Config, load_config

FRAMES, RADIUS = 5, 0.45
TINY: dict[str, Any] = {
    "data": {"length_sequence": FRAMES, "n_training_points": 64, "n_training_pcl_points": 16},
    "model": {
        "c_dim": 16,
        "loss_corr": True,
        "encoder_kwargs": {"hidden_dim": 16},
        "encoder_temporal_kwargs": {"hidden_dim": 16, "dim": 3 * FRAMES},
        "velocity_field_kwargs": {"hidden_size": 16},
        "decoder_kwargs": {"hidden_size": 16},
    },
    "training": {
        "batch_size": 4,
        "batch_size_val": 2,
        "learning_rate": 0.002,
        "num_workers": 0,
        "solver_steps": 2,
        "print_every": 1,
        "checkpoint_every": 4,
        "validate_every": 5,
        "backup_every": 6,
        "max_iterations": 8,
    },
    "test": {"threshold": 0.5},
}


def tiny_file(folder: Path, **training: Any) -> Path:
    """A YAML file of the tiny network whose run folder is `folder/run`."""
    values = TINY | {"training": TINY["training"] | {"out_dir": str(folder / "run")} | training}
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def tiny_config(folder: Path, overrides: dict[str, Any] | None = None, **training: Any) -> Config:
    return load_config(tiny_file(folder, **training), overrides)


class Balls:
    """Balls that move along x, as fast as their own size: items of the fields that training reads."""

    def __init__(self, count: int = 6) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        item, motion = self._common(rng)
        points = rng.uniform(-0.55, 0.55, (FRAMES, 256, 3))
        occupied = np.linalg.norm(points - motion[:, None], axis=-1) < self._radius
        truth = self._surface(rng, 64) + motion[:, None]
        held_out = {"points": points, "points.occ": occupied, "points_mesh": truth}
        times = {f"{name}.time": np.linspace(0, 1, FRAMES) for name in ("points", "points_mesh")}
        return _as_float(item | held_out | times) | {"idx": np.int64(index)}

    def sample(self, seed: tuple[int, ...]) -> dict[str, Any]:
        rng = np.random.default_rng((7, *seed))
        item, motion = self._common(rng)
        later = int(rng.integers(1, FRAMES))
        for name, frame in (("points", 0), ("points_t", later)):
            points = rng.uniform(-0.55, 0.55, (64, 3))
            occupied = np.linalg.norm(points - motion[frame], axis=-1) < self._radius
            item |= {name: points, f"{name}.occ": occupied, f"{name}.time": frame / (FRAMES - 1)}
        item["pointcloud"] = self._surface(rng, 16) + motion[:, None]
        item["pointcloud.time"] = np.linspace(0, 1, FRAMES)
        return _as_float(item)

    def _common(self, rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
        self._radius = rng.uniform(0.3, RADIUS)
        motion = np.linspace(0, self._radius, FRAMES)[:, None] * [1.0, 0, 0]  # [T, 3]
        return {"inputs": self._surface(rng, 32) + motion[:, None]}, motion

    def _surface(self, rng: np.random.Generator, count: int) -> np.ndarray:
        directions = rng.normal(size=(count, 3))
        return self._radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _as_float(item: dict[str, Any]) -> dict[str, Any]:
    return {key: np.asarray(value, np.float32) for key, value in item.items()}
