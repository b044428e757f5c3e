"""Scores of local_oflow on held-out bodies and solids, as validation in training computes them.

    python -m tests.benchmarks.local_scores shape|flow [--checkpoint FILE] [--count 16] [--nearest]

`--nearest` scores the displacement to the nearest point of the second cloud in place of the network; `still`
is the mean length of the true motions, the error of standing still.
"""

import argparse

import torch
from torch import Tensor

from model import build_model, load_config
from model.checkpoints import load_checkpoint
from model.config.schema import Config
from model.methods.local_scores import by_motion
from model.networks.neighborhoods import nearest
from worker.checkpoints import checkpoint_file
from worker.evaluation.validation import validate
from worker.solids.particles import Pairs
from worker.solids.source import PairSource, open_solids


@torch.no_grad()
def nearest_point_errors(pairs: Pairs) -> Tensor:
    """End-point errors [B, Q] of going to the nearest point of the second cloud."""
    rows = nearest(pairs.second, pairs.queries)  # [B, Q], of all clouds stacked
    errors: Tensor = (pairs.second.flatten(0, 1)[rows] - pairs.queries - pairs.moves).norm(dim=2)
    return errors


def nearest_point_scores(config: Config, device: str) -> dict[str, float]:
    scores: dict[str, float] = {}
    for held_out in PairSource(config).validation(device):
        errors, pairs = nearest_point_errors(held_out.batch), held_out.batch
        named = by_motion(pairs, errors, errors) | {"_still": pairs.moves.norm(dim=2).mean().item()}
        scores |= {f"l2_{held_out.name}{which}": value for which, value in named.items()}
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("half", choices=("shape", "flow"))
    parser.add_argument("--checkpoint", help="instead of the one that ships")
    parser.add_argument("--count", type=int, help="shapes or pairs in a set, instead of those of the config")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--nearest", action="store_true", help="score the nearest point, not the network")
    given = parser.parse_args()
    training = {} if given.count is None else {"n_val_items": given.count}
    config = load_config(f"training/local_oflow_{given.half}", {"training": training})
    if given.nearest:
        scores = nearest_point_scores(config, given.device)
    else:
        net = build_model(config)
        load_checkpoint(given.checkpoint or checkpoint_file(load_config("local_oflow")), net)
        net.to(given.device).eval()
        scores = validate(net, open_solids(config), config, given.device)
    for name, value in scores.items():
        print(f"{name:32} {value:.4f}")


if __name__ == "__main__":
    main()
