"""Train the occupancy network on point features.

    python -m worker.training.local_shape --out DIR --minutes 9

On a GPU all but the drawing of bodies is done there; on a CPU batches are small. Prints, and writes to
`log.json`, the loss and the intersection over union on held-out bodies and solids.
"""

import argparse
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.local_occupancy import LocalOccupancy
from worker.solids.body_shapes import draw_body, stack
from worker.solids.clouds import Clouds, draw_plain_clouds
from worker.solids.recipes import draw_solids
from worker.solids.stream import CloudStream, StreamSettings
from worker.solids.surfaces import Shapes, sample
from worker.training.endless import EndlessRun, Schedule, Scores
from worker.training.stopping import Stop

MEASURED = 300, 1000, 2000, 5000  # points of a cloud
HELD_OUT = 999  # seed of the shapes that are measured on
NOISE = 0.001
ON_CPU = StreamSettings(
    bodies=1, solids=1, every=1, kept=200, ahead=16, surface=4096, places=4096, most=2048, sizes=10,
    budget=8192, clouds=12, queries=512,
)  # fmt: skip


def occupancy_loss(net: nn.Module, clouds: Clouds) -> Tensor:
    """Binary cross-entropy of the logits at the queries."""
    logits: Tensor = net(clouds.points, clouds.queries)
    return F.binary_cross_entropy_with_logits(logits.float(), clouds.occupied.float())


class Measurement:
    """Intersection over union on shapes that no run learns from; uniform clouds, a little noise."""

    def __init__(
        self, shapes: int, device: torch.device | str, surface: int = 5000, places: int = 4096
    ) -> None:
        self.device = torch.device(device)
        rng = np.random.default_rng(HELD_OUT)
        bodies = [draw_body(rng, surface, places, held_out=True) for _ in range(shapes)]
        generator = torch.Generator().manual_seed(HELD_OUT)
        # On the CPU, so that they are the same everywhere.
        solids, _ = sample(draw_solids(rng, shapes), surface, places, generator)
        self.kinds: dict[str, Shapes] = {"bodies": stack(bodies), "solids": solids}

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> Scores:
        scores = {}
        for name, shapes in self.kinds.items():
            for points in MEASURED:
                generator = torch.Generator().manual_seed(HELD_OUT)
                clouds = draw_plain_clouds(shapes, points, NOISE, True, generator)
                ratios = [self._ratio(net, clouds, row) for row in range(len(shapes))]
                scores[f"iou_{name}_{points}"] = float(np.mean(ratios))
        return scores

    def _ratio(self, net: nn.Module, clouds: Clouds, row: int) -> float:
        points, queries = (part[row : row + 1].to(self.device) for part in (clouds.points, clouds.queries))
        found, truth = net(points, queries)[0].cpu() > 0, clouds.occupied[row]
        return float((found & truth).sum() / (found | truth).sum().clamp_min(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of model.pt and log.json; goes on there"
    )
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--start-from", type=Path, help="checkpoint whose weights a new run starts from")
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=Schedule.learning_rate)
    parser.add_argument("--shapes", type=int, default=16, help="of each kind, to measure on")
    parser.add_argument("--scores", type=int, default=Schedule.scores, help="measurements in all")
    options = parser.parse_args()
    began = time.monotonic()

    torch.manual_seed(options.seed)
    settings = ON_CPU if options.device == "cpu" else StreamSettings()
    run = EndlessRun(
        LocalOccupancy(),
        partial(make_stream, settings, options.seed, options.device, options.workers),
        occupancy_loss,
        Measurement(options.shapes, options.device),
        replace(Schedule(), minutes=options.minutes, learning_rate=options.rate, scores=options.scores),
        options.out,
        options.device,
    )
    if not run.resume() and options.start_from:
        run.start_from(options.start_from)
    stop = Stop()
    stop.listen()
    # What it took to get here counts as well.
    run.schedule = replace(run.schedule, minutes=options.minutes - (time.monotonic() - began) / 60)
    run.run(stop)


def make_stream(
    settings: StreamSettings, seed: int, device: str, workers: int, first_step: int
) -> CloudStream:
    return CloudStream(settings, seed, device, first_step, workers)


if __name__ == "__main__":
    main()
