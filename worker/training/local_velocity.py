"""Train the displacement field between unordered clouds.

    python -m worker.training.local_velocity --out DIR --minutes 9

On a GPU all but the drawing of bodies is done there; on a CPU batches are small. Prints, and writes to
`log.json`, the loss and the errors on held-out people and other solids; `baselines.json` holds those of
standing still and of the nearest point. DIR/model.pt holds the weights under `model`.
"""

import argparse
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from model.displacement_loss import motion_loss
from model.networks.local_velocity import LocalVelocity
from worker.solids.particles import Pairs
from worker.training.endless import EndlessRun, Schedule, Scores
from worker.training.motion_scores import by_motion, displacement_errors, nearest_point_errors
from worker.training.moving_pairs import KINDS, MovingPairs, PairSettings, held_out_pairs
from worker.training.stopping import Stop

SCHEDULE = Schedule(learning_rate=1.2e-3, weight_decay=1e-4, average=0.998, scores=5)
SIZES = 300, 1000, 2000  # points of a cloud that is measured on
VIEW = 1500  # and of one seen from one side
AT_ONCE = 32  # pairs that are measured together
ON_CPU = PairSettings(
    sizes=(192, 256, 384, 512), points=3072, most=8, queries=128, scenes=96, renewed=1, skeletons=400
)


def pair_loss(net: nn.Module, pairs: Pairs) -> Tensor:
    motion, found = net(pairs.first, pairs.second, pairs.queries, pairs.share)
    return motion_loss(motion, found, pairs)


class Measurement:
    """Errors of queries, all and by how far they move, on pairs that no run learns from."""

    def __init__(
        self, pairs: int, device: torch.device | str, sizes: tuple[int, ...] = SIZES, view: int = VIEW
    ) -> None:
        self.sets: dict[str, Pairs] = {}
        for kind in KINDS:
            for points in sizes:
                self.sets[f"{kind}_{points}"] = held_out_pairs(kind, points, pairs, device)
            self.sets[f"{kind}_view"] = held_out_pairs(kind, view, pairs, device, views=1.0)

    def __call__(self, net: nn.Module) -> Scores:
        scores: Scores = {}
        for name, pairs in self.sets.items():
            scores |= by_motion(name, *displacement_errors(net, pairs, AT_ONCE), pairs)
        return scores

    def baselines(self) -> Scores:
        """Of the nearest point. Standing still has an error of 1 where it is relative."""
        scores: Scores = {}
        for name, pairs in self.sets.items():
            errors = nearest_point_errors(pairs)
            scores |= by_motion(name, errors, errors, pairs)
            scores[f"{name}_still"] = pairs.moves.norm(dim=2).mean().item()
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of model.pt and log.json; goes on there"
    )
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start-from", type=Path, help="checkpoint whose weights a new run starts from")
    parser.add_argument("--workers", type=int, default=min(6, (os.cpu_count() or 1) - 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=SCHEDULE.learning_rate)
    parser.add_argument("--pairs", type=int, default=96, help="in each set that is measured on")
    parser.add_argument("--scores", type=int, default=SCHEDULE.scores, help="measurements in all")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    settings = ON_CPU if options.device == "cpu" else PairSettings()
    options.out.mkdir(parents=True, exist_ok=True)
    measurement = Measurement(options.pairs, options.device)
    baselines = {name: round(value, 4) for name, value in measurement.baselines().items()}
    (options.out / "baselines.json").write_text(json.dumps(baselines, indent=0))
    print("nearest point:", json.dumps(baselines), flush=True)  # noqa: T201
    run = EndlessRun(
        LocalVelocity(),
        partial(MovingPairs, settings, options.seed, options.device, options.workers),
        pair_loss,
        measurement,
        replace(
            SCHEDULE,
            minutes=options.minutes,
            learning_rate=options.rate,
            scores=options.scores,
            bf16=options.device != "cpu",
        ),
        options.out,
        options.device,
    )
    if not run.resume() and options.start_from:
        run.start_from(options.start_from)
    stop = Stop()
    stop.listen()
    run.run(stop)


if __name__ == "__main__":
    main()
