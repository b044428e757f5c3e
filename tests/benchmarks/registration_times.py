"""Where registration spends its time: CPU and wall seconds of the stages, peak memory, growth with T and N.

    python -m tests.benchmarks.registration_times [--cases NAME...] [--quality draft...] [--threads 1 2]
    [--repeats 1] [--json times.json] [--plot times.png]

A drawn body moves; every frame of the cases that do not correspond is sampled anew. Each case runs in a
process of its own, so that its peak memory is its own, and once on few points before it is timed: imports,
weights and compiled kernels are the stage `cold`. Stages are CPU seconds of all threads that run them, each
without the stages within it, so that with `other`, what no stage accounts for, they add up to `cpu`. CPU
seconds depend less on what else the machine does than `wall`.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from threading import Lock, local
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from worker.memory import share_arenas

QUALITIES = ("balanced", "draft")
NOISE = 0.002  # metres
SECONDS = 2.0  # of motion


class Case(NamedTuple):
    frames: int
    points: int
    corresponding: bool = False


CASES = {
    "corresponding": Case(17, 300, True),
    "unordered": Case(17, 2000),
    "long": Case(60, 1000),
    "large": Case(300, 5000),
    "few frames": Case(15, 1000),  # with "more frames" and "long": the slope against T
    "more frames": Case(30, 1000),
    "few points": Case(17, 500),  # with "more points" and "unordered": the slope against N
    "more points": Case(17, 1000),
}
DEFAULT = tuple(name for name in CASES if name != "large")  # it takes minutes
# Cases that differ in one number only, growing.
GROWING = {
    "frames": ("few frames", "more frames", "long"),
    "points": ("few points", "more points", "unordered"),
}
# Functions that are timed, where they are used.
STAGES = {
    "prepare": "model.reconstruction.reconstructor.prepare",
    "one-sided": "model.reconstruction.registered.is_one_sided",
    "clouds": "model.registration.tracking.make_cloud",
    "keyframes": "model.registration.tracking.candidates",
    "extract": "model.reconstruction.registered.surface_of",
    "pull": "model.registration.tracking.pull",
    "pull (corresponding)": "model.registration.corresponding.pull",
    "carry": "model.registration.interpolation.Carrier.carry",
    "graph": "model.registration.tracking.make_template",
    "encode": "model.networks.moving_clouds.MovingClouds._encode",
    "match": "model.networks.moving_clouds.MovingClouds._match",
    "read the match": "model.networks.moving_clouds.MovingClouds.displacement",
    "transport": "model.registration.backends.transport_targets",
    "descend": "model.registration.backends.descend",
    "descend (torch)": "model.registration.torch_backend.TorchBackend.descend_all",
    "misfit (torch)": "model.registration.torch_backend.TorchBackend.misfit_all",
    "follow": "model.registration.attempts.follow",
    "guess": "model.registration.following.register",
    "improve": "model.registration.sweeping.fit",
    "sweep": "model.registration.attempts.sweep",
    "refine": "model.registration.attempts.refined",
    "move": "model.registration.template.Template.move",
    "fit": "model.reconstruction.reconstructor.fit",
    "find": "model.reconstruction.reconstructor.find",
}
OTHER = "other"


def draw(case: Case, seed: int = 0) -> list[NDArray[np.float64]]:
    """Clouds [N, 3] of a body in motion."""
    from worker.bodies import animate, load_rig

    rig, rng = load_rig(), np.random.default_rng(seed)
    body, rate = rig.body(rig.adults[3]), case.frames / SECONDS
    moved = animate(rig, body, "knees", np.random.default_rng(1), case.frames, rate)  # [T, V, 3]
    a, b, c = (moved[0][rig.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    clouds: list[NDArray[np.float64]] = []
    chosen: tuple[NDArray[Any], NDArray[Any]] | None = None
    for frame in moved:
        if chosen is None or not case.corresponding:
            face = rng.choice(len(area), case.points, p=area / area.sum())
            chosen = face, rng.dirichlet(np.ones(3), case.points)
        face, weights = chosen
        points = (frame[rig.faces[face]] * weights[..., None]).sum(axis=1)
        clouds.append(points + rng.normal(0, NOISE, points.shape))
    return clouds


class Stopwatch:
    """Seconds of functions without those that they call, added over the threads that run them.

    By default of CPU time.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock
        self._lock, self._thread = Lock(), local()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            # Seconds of the timed functions that each of those now running in this thread has called.
            within: list[float] = self._thread.__dict__.setdefault("within", [])
            within.append(0.0)
            began = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                spent, others = self._clock() - began, within.pop()
                if within:
                    within[-1] += spent
                with self._lock:
                    self.seconds[name] += spent - others

        return run

    @contextmanager
    def on_stages(self) -> Iterator[None]:
        """Time the functions of `STAGES`."""
        with ExitStack() as patches:
            for name, path in STAGES.items():
                patches.enter_context(_patch(self, name, path))
            yield


def measure(case: Case, quality: str, threads: int, repeats: int) -> dict[str, Any]:
    """Seconds of one case in this process, the run with the least CPU seconds."""
    began = time.process_time()
    share_arenas()  # as the worker does
    import torch

    from model import Reconstructor

    torch.set_num_threads(threads)
    model = Reconstructor.from_config("local_oflow")
    warm = Case(3, 300, case.corresponding)
    model(draw(warm), corresponding=warm.corresponding, quality=quality)
    cold = time.process_time() - began
    clouds = draw(case)
    runs: list[dict[str, Any]] = []
    for _ in range(repeats):
        watch = Stopwatch()
        with watch.on_stages():
            cpu, wall = time.process_time(), time.perf_counter()
            meshes = model(clouds, corresponding=case.corresponding, quality=quality)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stages = watch.seconds | {OTHER: cpu - sum(watch.seconds.values())}
        runs.append({"cpu": cpu, "wall": wall, "stages": stages, "steps": dict(meshes.timings)})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return min(runs, key=lambda run: float(run["cpu"])) | {"cold": cold, "peak_gb": peak}


def _patch(watch: Stopwatch, name: str, path: str) -> Any:
    owner_path, attribute = path.rsplit(".", 1)
    try:
        owner: Any = import_module(owner_path)
    except ModuleNotFoundError:  # a method of a class
        module, kind = owner_path.rsplit(".", 1)
        owner = getattr(import_module(module), kind)
    return patch.object(owner, attribute, watch.timed(name, getattr(owner, attribute)))


def in_own_process(name: str, quality: str, threads: int, repeats: int) -> dict[str, Any]:
    command = [sys.executable, "-m", __spec__.name, "--one", name, "--quality", quality]
    command += ["--threads", str(threads), "--repeats", str(repeats)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(title: str, rows: dict[str, dict[str, Any]]) -> None:
    stages = [s for s in (*STAGES, OTHER) if any(s in row["stages"] for row in rows.values())]
    table = Table("", *rows, title=f"{title}: CPU seconds")
    for stage in stages:
        table.add_row(stage, *(f"{row['stages'].get(stage, 0):.2f}" for row in rows.values()))
    table.add_section()
    for total in ("cpu", "wall", "cold"):
        table.add_row(total, *(f"{row[total]:.2f}" for row in rows.values()))
    table.add_row("peak GB", *(f"{row['peak_gb']:.2f}" for row in rows.values()))
    console = Console()
    console.print(table)
    for against, slope in slopes(rows).items():
        console.print(f"{title}: CPU seconds grow with the {against} to the power of {slope:.2f}")


def slopes(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Exponents of the growth of CPU seconds from the smallest to the largest of cases."""
    found = {}
    for against, (small, *_, large) in GROWING.items():
        if small in rows and large in rows:
            growth = getattr(CASES[large], against) / getattr(CASES[small], against)
            found[against] = math.log(rows[large]["cpu"] / rows[small]["cpu"]) / math.log(growth)
    return found


def plot(found: dict[str, dict[str, Any]], path: Path) -> None:
    """CPU seconds against frames and against points, with lines in proportion to the smallest case."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (against, names) in zip(figure.subplots(1, 2), GROWING.items(), strict=True):
        for title, run in found.items():
            known = [name for name in names if name in run["cases"]]
            sizes = [getattr(CASES[name], against) for name in known]
            seconds = [run["cases"][name]["cpu"] for name in known]
            axes.loglog(sizes, seconds, "o-", markersize=4, label=title)
            proportional = [seconds[0] * size / sizes[0] for size in sizes]
            axes.loglog(sizes, proportional, "k:", linewidth=1)
        axes.plot([], [], "k:", linewidth=1, label=f"in proportion to {against}")
        first = CASES[names[0]]
        fixed = f"{first.points:,} points a frame" if against == "frames" else f"{first.frames} frames"
        axes.set(xlabel=against, ylabel="CPU seconds", title=fixed)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        low, high = axes.get_ylim()
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.legend()
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(DEFAULT))
    parser.add_argument("--quality", nargs="+", default=list(QUALITIES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", choices=list(CASES), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        print(json.dumps(measure(CASES[asked.one], asked.quality[0], asked.threads[0], asked.repeats)))
        return
    found = {}
    for quality in asked.quality:
        for threads in asked.threads:
            title = f"{quality}, {threads} thread{'s' * (threads > 1)}"
            rows = {name: in_own_process(name, quality, threads, asked.repeats) for name in asked.cases}
            found[title] = {"cases": rows, "slopes": slopes(rows)}
            show(title, rows)
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1))
    if asked.plot is not None:
        plot(found, asked.plot)


if __name__ == "__main__":
    main()
