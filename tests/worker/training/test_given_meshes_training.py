"""The models that move given meshes learn from two clouds, and through `worker train`'s loop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import load_config
from tests.worker.training_data import TINY, Balls
from worker.training.stopping import Stop
from worker.training.trainer import Trainer


class Ends(Balls):
    """The balls by their first and last cloud; `ordered`, row j is the same particle in both."""

    def __init__(self, ordered: bool) -> None:
        super().__init__()
        self.ordered = ordered

    def _common(self, rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
        item, motion = super()._common(rng)
        first, last = item["inputs"][[0, -1]]
        return {"inputs": np.stack([first, last if self.ordered else rng.permutation(last)])}, motion


def items(source: Ends) -> list[dict[str, Any]]:
    return [source[index] for index in range(len(source))]


@torch.no_grad()
def missed(net: Any, source: Ends) -> float:
    """Mean distance of particles that flow forward from the true ones."""
    net.eval()
    distances = []
    for item in items(source):
        inputs, truth, times = (
            torch.from_numpy(item[key]) for key in ("inputs", "points_mesh", "points_mesh.time")
        )
        carried = net.transform_to_t(times, truth[:1], None, net.encode_motion(inputs[None]))[0]
        distances.append((carried - truth).norm(dim=-1).mean().item())
    return float(np.mean(distances))


@pytest.mark.parametrize(
    ("name", "ordered"), [("interpolation/oflow", True), ("shape_matching/oflow", False)]
)
def test_it_learns(name: str, ordered: bool, tmp_path: Path) -> None:
    model = {
        "c_dim": 16,
        "encoder_temporal_kwargs": {"hidden_dim": 16},
        "velocity_field_kwargs": {"hidden_size": 16},
    }
    training = TINY["training"] | {"out_dir": str(tmp_path), "max_iterations": 60, "learning_rate": 0.01}
    training |= {"validate_every": 0, "backup_every": 0, "checkpoint_every": 0, "schedule": "cosine"}
    config = load_config(name, {"data": TINY["data"], "model": model, "training": training})
    source = Ends(ordered)
    trainer = Trainer(config, sources=(source, source))
    before = missed(trainer.net, source)
    assert trainer.run(Stop(None))
    still = np.mean(
        [np.linalg.norm(m - m[:1], axis=-1).mean() for m in (i["points_mesh"] for i in items(source))]
    )
    assert missed(trainer.net, source) < 0.3 * min(before, still)
