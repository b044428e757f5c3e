"""Cost of one training step of the occupancy network on point features, against its first form.

    python -m tests.benchmarks.local_training [--device cpu] [--clouds 12] [--points 1024] [--queries 512]

The first form has the second linear layer on each edge, before the maximum, and plain autograd: it keeps and
walks through the features of all edges, and sums in float32 copies. Both have the same parameters. A ratio of
two times of one run depends little on the machine; on a CPU, they are those of the process. The batches
themselves are timed as well: what a step costs before it learns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.losses import occupancy_loss
from model.networks import nearby_points
from model.networks.local_occupancy import LocalOccupancy
from model.networks.neighborhoods import Edges, offset_features
from model.networks.point_features import EdgeLayer
from worker.solids.clouds import Clouds
from worker.solids.source import CLOUDS
from worker.solids.stream import CloudStream


def plain_layer(layer: EdgeLayer, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
    """`EdgeLayer.forward` in its first form."""
    messages = layer.source(sources).flatten(0, 1)[edges.rows] + layer.edge(edges.features)
    y = layer.skip(targets) + layer.message(F.relu(messages)).amax(dim=2)
    result: Tensor = y + layer.mlp(layer.norm(y))
    return result


def plain_level(
    reader: nearby_points.NearbyPoints, level: int, queries: Tensor, near: Tensor, keys: nearby_points.Keys
) -> Tensor:
    """`NearbyPoints._level` in its first form."""
    rows = keys.around[near]
    known, key = keys.place[rows], keys.key[rows]
    offsets = (queries[:, :, None] - known[..., :3]) * known[..., 3:4]
    place = torch.cat([offset_features(offsets), known[..., 4:]], dim=-1)
    directions = key[..., reader.width :].reshape(*rows.shape, nearby_points.DIRECTIONS, 3)
    along = (directions * place[..., None, :3]).sum(dim=-1)
    hidden = F.relu(key[..., : reader.width] + reader.place[level](torch.cat([along, place], dim=-1)))
    weights = reader.weight[level](hidden).softmax(dim=2)
    parts: Tensor = weights[..., None] * hidden.reshape(*rows.shape, reader.heads, -1)
    return parts.sum(dim=2).flatten(-2)


@contextmanager
def first_form() -> Iterator[None]:
    with (
        patch.object(EdgeLayer, "forward", plain_layer),
        patch.object(nearby_points.NearbyPoints, "_level", plain_level),
    ):
        yield


def step(net: nn.Module, clouds: Clouds) -> None:
    net.zero_grad()
    with torch.autocast(clouds.points.device.type, dtype=torch.bfloat16):
        loss = occupancy_loss(net(clouds.points, clouds.queries), clouds.occupied.float())
    loss.backward()


def seconds(act: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median, after two that warm up."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times = []
    for _ in range(repeats + 2):
        start = clock()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return statistics.median(times[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clouds", type=int, default=12)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)
    net = LocalOccupancy().to(device)
    points = torch.rand(options.clouds, options.points, 3, device=device)
    queries = torch.rand(options.clouds, options.queries, 3, device=device)
    clouds = Clouds(points, queries, queries[..., 0] < 0.3)
    print(f"{options.clouds} clouds of {options.points} points, {options.queries} queries each, on {device}")
    with first_form():
        before = seconds(lambda: step(net, clouds), device, options.steps)
    after = seconds(lambda: step(net, clouds), device, options.steps)
    print(f"step in its first form {before:7.3f} s")
    print(f"step                   {after:7.3f} s, {before / after:.1f} times as fast")
    stream = CloudStream(CLOUDS["small" if device.type == "cpu" else "large"], 0, device)
    next(stream)
    drawn = seconds(lambda: next(stream), device, options.steps)
    print(f"a batch of the stream  {drawn:7.3f} s, its new shapes drawn in this process")


if __name__ == "__main__":
    main()
