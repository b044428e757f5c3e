"""`make bench`: a sequence in memory to the bytes of a GLB, fast and reference in one run.

    python -m tests.benchmarks.inference [--rounds 3] [--json inference.json]

The paths take turns, so a ratio of two medians depends little on the machine. What a quality costs in
accuracy is measured against a tight solve of the same weights, in units of the box, whose longest side is 1,
and by the IoU with the true bodies of windows that the model has not seen.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model import MeshSequence, Reconstructor
from model.config.schema import load_config
from model.flow.ode import advect
from model.flow.step_doubling import StepDoubling
from model.meshes.fit import surface_distances
from model.metrics import iou
from model.reconstruction.normalization import UnitBox
from model.reconstruction.quality import QUALITIES
from model.reconstruction.reference import reconstruct_reference
from tests.widening import widened
from worker.data import build_dataset
from worker.data.inside import inside

WIDTHS = {"128 wide": "bodies", "512 wide": "pointcloud/oflow_w_correspond"}
WINDOWS = (0, 40)  # of the test split: two people, two motions
TIGHT = 2e-5  # of the box: a tenth of the least tolerance
FRAMES = (0, 8, 16)  # where surfaces are compared

console = Console()


class Case:
    """One window of drawn bodies with its truth, and the tight solve by the shipped weights."""

    def __init__(self, model: Reconstructor, window: Mapping[str, NDArray[Any]]) -> None:
        self.clouds, self.times = window["inputs"], window["inputs.time"]
        self.points, self.occupied = window["points"], window["points.occ"]  # [T, P, 3], [T, P]
        self.box = UnitBox.around(self.clouds[0].astype(np.float64))
        with torch.inference_mode():
            inputs = np.stack([self.box.normalize(cloud.astype(np.float64)) for cloud in self.clouds])
            c_t = model.occupancy_flow.encode_motion(torch.from_numpy(inputs)[None])
            self.field = model.occupancy_flow.vector_field.precompute(None, c_t)
        exact = model(self.clouds, self.times, quality="exact", refine="off")
        self.faces = exact.faces
        self.tight = self.carried(self.in_box(exact)[0])  # [T, V, 3]

    def in_box(self, meshes: MeshSequence) -> NDArray[np.float32]:
        return np.stack([self.box.normalize(frame) for frame in meshes.vertices])  # [T, V, 3]

    @torch.inference_mode()
    def carried(self, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        """The tight paths [T, V, 3] of vertices [V, 3]."""
        even = torch.from_numpy((self.times - self.times[0]) / (self.times[-1] - self.times[0]))
        solver = StepDoubling(TIGHT, max_steps=256)
        return advect(self.field, torch.from_numpy(vertices), even, solver).positions.numpy()

    def errors(self, meshes: MeshSequence) -> dict[str, float]:
        vertices = self.in_box(meshes)
        paths = np.linalg.norm(vertices - self.carried(vertices[0]), axis=2).max(axis=0)  # [V]
        surface = np.concatenate(
            [surface_distances(vertices[frame], self.tight[frame], self.faces) for frame in FRAMES]
        )
        found = [inside(meshes.vertices[frame], meshes.faces, self.points[frame]) for frame in FRAMES]
        return {
            "path_mean": float(paths.mean()),
            "path_p99": float(np.percentile(paths, 99)),
            "path_worst": float(paths.max()),
            "surface_p99": float(np.percentile(surface, 99)),
            "surface_worst": float(surface.max()),
            "iou": float(np.mean(iou(np.stack(found), self.occupied[list(FRAMES)]))),
        }


def timed(run: Callable[[], MeshSequence]) -> tuple[dict[str, float], MeshSequence]:
    began = time.perf_counter()
    meshes = run()
    written = time.perf_counter()
    meshes.to_glb()
    end = time.perf_counter()
    return dict(meshes.timings) | {"write": end - written, "all": end - began}, meshes


def measure(model: Reconstructor, case: Case, rounds: int, title: str) -> dict[str, Any]:
    runs: dict[str, Callable[[], MeshSequence]] = {
        "reference": lambda: reconstruct_reference(model, case.clouds, case.times)
    } | {
        quality: partial(model, case.clouds, case.times, quality=quality, refine="off")
        for quality in QUALITIES
    }
    laps: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    last: dict[str, MeshSequence] = {}
    for _ in track(range(rounds), title, console=console, transient=True):
        for name, run in runs.items():
            lap, last[name] = timed(run)
            laps[name].append(lap)
    rows = {}
    for name, took in laps.items():
        seconds = {stage: statistics.median(lap[stage] for lap in took) for stage in took[0]}
        ratio = statistics.median(p["all"] / q["all"] for p, q in zip(laps["reference"], took, strict=True))
        rows[name] = {"seconds": seconds, "ratio": ratio, **case.errors(last[name])}
    return {"vertices": len(last["reference"].vertices[0]), "paths": rows}


def show(title: str, measured: dict[str, Any]) -> None:
    stages = ("encode", "extract", "flow", "fit", "write", "all")
    table = Table("", *stages, "faster", "path mean", "p99", "worst", "surface p99", "worst", "IoU")
    table.title = f"{title}: {measured['vertices']} vertices; seconds, and errors in 1e-3 of the box"
    for name, row in measured["paths"].items():
        seconds = [f"{row['seconds'][stage]:.3f}" for stage in stages]
        kinds = ("path_mean", "path_p99", "path_worst", "surface_p99", "surface_worst")
        errors = [f"{1e3 * row[kind]:.2f}" for kind in kinds]
        table.add_row(name, *seconds, f"{row['ratio']:.1f}", *errors, f"{row['iou']:.4f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--widths", nargs="*", choices=list(WIDTHS), default=list(WIDTHS))
    asked = parser.parse_args()
    shipped = Reconstructor.from_config("bodies")
    windows = build_dataset(load_config("bodies", {"data": {"dataset": "bodies"}}), "test")
    found = {}
    for index in WINDOWS:
        with console.status(f"window {index}: its tight solve"):
            case = Case(shipped, windows[index])
        for width in asked.widths:
            config = WIDTHS[width]
            model = shipped if config == shipped.name else widened(shipped, config)
            title = f"window {index}, {width}"
            found[title] = measure(model, case, asked.rounds, title)
            show(title, found[title])
    if asked.json is not None:
        machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        asked.json.write_text(json.dumps({"machine": machine, "cases": found}, indent=1))


if __name__ == "__main__":
    main()
