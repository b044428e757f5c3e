"""Cost of one training step: gradients straight through fixed steps, against the published adjoint.

    python -m tests.benchmarks.training [--batch-size 4] [--config bodies] [--steps 2]

Both train one network on the same batch, with the reconstruction and the correspondence loss; the shipped
weights make the field a trained one. Accuracy is that of the flow of the correspondence loss against a tight
solve. A ratio of two times of one run depends little on the machine.
"""

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoints import find_checkpoint, load_checkpoint
from model.config.schema import Config, load_config
from model.flow.torchdiffeq_solver import TorchdiffeqSolver
from model.methods import build_model, losses
from model.networks.occupancy_flow import OccupancyFlow
from worker.data import build_dataset
from worker.data.batches import Batches

PUBLISHED = {"published: dopri5, adjoint": {"gradient": "adjoint"}}
OURS = {
    "rk4, 4 steps": {"solver_method": "rk4", "solver_steps": 4},
    "rk4, 4 steps, recomputed": {"solver_method": "rk4", "solver_steps": 4, "recompute": True},
    "midpoint, 8 steps": {"solver_method": "midpoint", "solver_steps": 8},
}
DATA = {"dataset": "bodies", "train_split": "train"}


def network(name: str, training: dict[str, Any]) -> tuple[OccupancyFlow, Config]:
    config = load_config(name, {"data": DATA, "model": {"loss_corr": True}, "training": training})
    net = build_model(config).train()
    assert isinstance(net, OccupancyFlow)
    load_checkpoint(find_checkpoint(config), net)
    return net, config


def step(net: OccupancyFlow, batch: dict[str, Tensor], config: Config) -> tuple[float, float]:
    """Seconds of the forward and of the backward pass."""
    net.zero_grad()
    start = time.perf_counter()
    loss = losses(net, batch, config)["loss"]
    middle = time.perf_counter()
    loss.backward()
    return middle - start, time.perf_counter() - middle


@torch.no_grad()
def flow(net: OccupancyFlow, batch: dict[str, Tensor]) -> Tensor:
    """Particles of the batch at all frames, [B, T - 1, M, 3], as the loss has them."""
    clouds, times = batch["pointcloud"], batch["pointcloud.time"][0]
    return net.transform_to_t(times[1:], clouds[:, 0], None, net.encode_motion(batch["inputs"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="bodies")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    source = build_dataset(load_config(options.config, {"data": DATA, "model": {"loss_corr": True}}), "train")
    fields = ["inputs", "pointcloud", "pointcloud.time"]
    fields += [name + end for name in ("points", "points_t") for end in ("", ".occ", ".time")]
    batch = Batches(source, 0, range(options.batch_size), fields)[0]

    net, _ = network(options.config, {})
    net.training_solver = replace(net.solver, rtol=1e-7, atol=1e-8)
    assert isinstance(net.training_solver, TorchdiffeqSolver)
    tight = flow(net, batch)
    print(f"{options.config}, batch of {options.batch_size}, {torch.get_num_threads()} threads")
    print(f"{'':28}{'step s':>9}{'forward':>9}{'backward':>9}{'ratio':>8}{'flow error, rms':>18}")
    published = None
    for name, training in (PUBLISHED | OURS).items():
        net, config = network(options.config, training)
        step(net, batch, config)  # warm
        times = [step(net, batch, config) for _ in range(options.steps)]
        forward, backward = (statistics.median(part) for part in zip(*times, strict=True))
        error = (flow(net, batch) - tight).square().sum(dim=-1).mean().sqrt().item()
        published = published or forward + backward
        ratio = published / (forward + backward)
        print(f"{name:28}{forward + backward:9.3f}{forward:9.3f}{backward:9.3f}{ratio:8.1f}{error:18.2e}")
    moved = np.sqrt((tight - batch["pointcloud"][:, :1]).square().sum(dim=-1).mean().item())
    print(f"(the particles move {moved:.2e})")


if __name__ == "__main__":
    main()
