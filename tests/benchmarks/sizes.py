"""Cost against size: output frames, input points, grid and width, each alone; a table and a plot.

    python -m tests.benchmarks.sizes [--json sizes.json] [--plot sizes.png]

One quality, `balanced`. Under the seconds of the stages stands the slope between the two largest sizes: 1 is
in proportion, 0 is no cost.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from model import Reconstructor
from service.page.samples import SAMPLES
from tests.widening import widened
from worker.data.samples import large_sample

REPEATS = 2  # the faster counts
STAGES = ("encode", "extract", "flow", "fit", "write")
console = Console()

Sizes = dict[int, dict[str, float]]


def seconds(model: Reconstructor, points: Any, times: Any, **options: Any) -> dict[str, float]:
    runs = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        meshes = model(points, times, refine="off", **options)
        written = time.perf_counter()
        meshes.to_glb()
        end = time.perf_counter()
        runs.append(dict(meshes.timings) | {"write": end - written, "all": end - began})
    return min(runs, key=lambda run: run["all"])


def of_width(shipped: Reconstructor, width: int) -> Reconstructor:
    if width == 128:
        return shipped
    kwargs = {"hidden_dim": width}
    model = {
        "c_dim": width,
        "encoder_kwargs": kwargs,
        "encoder_temporal_kwargs": kwargs,
        "velocity_field_kwargs": {"hidden_size": width},
    }
    return widened(shipped, "pointcloud/oflow", model)


def measure(shipped: Reconstructor) -> Iterator[tuple[str, Sizes]]:
    sample = np.load(SAMPLES["knees"].path)
    points, times = sample["points"], sample["times"]
    yield (
        "output frames",
        {n: seconds(shipped, points, times, frames=n) for n in (2, 5, 10, 20, 50, 100, 200)},
    )
    dense = large_sample()
    rng = np.random.default_rng(0)
    # Beyond those of the sample, points stand there several times, with a little noise.
    drawn = {n: rng.choice(20_000, n, replace=n > 20_000) for n in (32, 100, 300, 1000, 10_000, 100_000)}
    clouds: dict[int, NDArray[Any]] = {n: dense["points"][:, rows] for n, rows in drawn.items()}
    noisy = {n: cloud + rng.normal(0, 1e-3, cloud.shape) for n, cloud in clouds.items()}
    yield "points a frame", {n: seconds(shipped, cloud, dense["times"]) for n, cloud in noisy.items()}
    grids = (32, 64, 128, 256, 512)
    yield "cells a side", {n: seconds(shipped, points, times, resolution=n) for n in grids}
    yield "width", {n: seconds(of_width(shipped, n), points, times) for n in (128, 256, 512, 1024)}


def slope(sizes: Sizes, stage: str) -> float:
    (small, before), (large, after) = list(sizes.items())[-2:]
    return math.log(after[stage] / before[stage]) / math.log(large / small)


def show(title: str, sizes: Sizes) -> None:
    table = Table(title, *STAGES, "all")
    for size, row in sizes.items():
        table.add_row(f"{size:,}", *(f"{row[stage]:.3f}" for stage in (*STAGES, "all")))
    table.add_row("slope", *(f"{slope(sizes, stage):.1f}" for stage in (*STAGES, "all")))
    console.print(table)


def plot(found: dict[str, Sizes], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, sizes) in zip(figure.subplots(2, 2).flat, found.items(), strict=True):
        for stage in STAGES:
            axes.plot(list(sizes), [row[stage] for row in sizes.values()], "o-", markersize=3, label=stage)
        axes.plot(list(sizes), [row["all"] for row in sizes.values()], "k--", label="all")
        axes.set(xscale="log", yscale="log", xlabel=title, ylabel="seconds")
        axes.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    shipped = Reconstructor.from_config("bodies")
    found = {}
    for title, sizes in measure(shipped):
        found[title] = sizes
        show(title, sizes)
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1))
    if asked.plot is not None:
        plot(found, asked.plot)


if __name__ == "__main__":
    main()
