"""How long jobs wait for N workers: a simulation of a day with 10⁶ jobs, from measured times of jobs.

    python -m tests.benchmarks.scaling [--jobs 1000000] [--workers 60 80 …] [--json FILE] [--plot FILE]

Jobs arrive in batches of callers, more at noon than at night. They run in order of arrival on whichever
worker is free, as long as jobs of their kind take (`KINDS`). Workers die at random: the job returns to the
queue after the visibility timeout, and a new worker needs a start to load its model. A scaled service wants
one worker per queued or running job up to a limit, adds them after a start, and takes one away per minute
once it is idle.
"""

import argparse
import heapq
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service.core.settings import Settings

DAY = 86_400.0
# Seconds on two cores (docs/performance.md, Registration), and shares assumed.
KINDS = {
    "17 frames of 300 corresponding points": (0.46, 0.3),
    "17 frames of 2,000 points": (3.3, 0.4),
    "60 frames of 1,000 points": (2.7, 0.25),
    "300 frames of 5,000 points": (25.0, 0.05),
}
SPREAD = 0.25  # standard deviation of the logarithm, around each of these
OVERHEAD = 0.15  # seconds per job for reading, writing and storing
BATCH = 40.0  # jobs that a caller submits at once, on average: geometric
NIGHT = 0.25  # arrivals at midnight, as a share of those at noon
START = 45.0  # seconds from the wish for a worker to a loaded model: scheduling, image present
LIFE = 2 * DAY  # mean time until a worker dies
VISIBILITY = float(Settings.model_fields["visibility_timeout_seconds"].default)
STEP = 15.0  # seconds between two decisions of the scaler
MINUTE = 60.0
ENDED, READY, DIED, REDELIVERED, DECIDE, ARRIVED = range(6)  # events; those at one time happen in this order


@dataclass(frozen=True)
class Outcome:
    workers: int
    scaled: bool
    waits: NDArray[np.float64]  # [J] seconds from arrival to the start of the attempt that succeeded
    busy: float  # worker seconds spent on jobs
    paid: float  # worker seconds
    deaths: int

    def row(self) -> dict[str, float | int | bool]:
        median, p95, p99 = np.percentile(self.waits, [50, 95, 99])
        return {
            "workers": self.workers,
            "scaled": self.scaled,
            "wait_median": float(median),
            "wait_p95": float(p95),
            "wait_p99": float(p99),
            "within_a_minute": float((self.waits <= MINUTE).mean()),
            "use": self.busy / self.paid,
            "worker_hours": self.paid / 3600,
            "deaths": self.deaths,
        }


def arrivals(jobs: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sorted times [J] of a day: batches of geometric size, by a rate that is largest at noon."""
    sizes = rng.geometric(1 / BATCH, size=int(2 * jobs / BATCH) + 10)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), jobs)) + 1]
    grid = np.linspace(0, DAY, 2000)
    rate = NIGHT + (1 - NIGHT) * (1 - np.cos(2 * np.pi * grid / DAY)) / 2
    cumulated = np.cumsum(rate) / rate.sum()
    starts = np.interp(rng.random(len(sizes)), cumulated, grid)
    times = np.repeat(starts, sizes)[:jobs]
    # A caller submits ten jobs a second.
    place = np.concatenate([np.arange(size) for size in sizes])[:jobs]
    return np.sort(times + 0.1 * place)


def durations(jobs: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Seconds [J] that each job takes."""
    seconds, shares = (np.array(values) for values in zip(*KINDS.values(), strict=True))
    kinds = rng.choice(len(seconds), size=jobs, p=shares / shares.sum())
    return np.asarray(seconds[kinds] * np.exp(SPREAD * rng.standard_normal(jobs)) + OVERHEAD)


def simulate(
    come: NDArray[np.float64], take: NDArray[np.float64], limit: int, scaled: bool, seed: int = 0
) -> Outcome:
    """One day of jobs that arrive at `come` [J] and take `take` [J] seconds, on at most `limit` workers."""
    rng = np.random.default_rng(seed)
    waits = np.zeros(len(come))
    queue: deque[int] = deque()
    idle: list[float] = []  # since when, a heap
    events: list[tuple[float, int, int]] = []  # time, kind, job
    alive = starting = deaths = running = 0
    busy = paid = clock = 0.0
    arrived = done = 0
    last_removed = 0.0

    def start(now: float) -> None:
        nonlocal running, deaths, busy
        job = queue.popleft()
        heapq.heappop(idle)
        running += 1
        life = rng.exponential(LIFE)
        if life < take[job]:
            deaths += 1
            busy += life
            heapq.heappush(events, (now + life, DIED, job))
        else:
            waits[job] = now - come[job]
            busy += take[job]
            heapq.heappush(events, (now + take[job], ENDED, job))

    if scaled:
        heapq.heappush(events, (0.0, DECIDE, 0))
    else:
        alive = limit
        idle = [0.0] * limit
    while done < len(come):
        upcoming = come[arrived] if arrived < len(come) else np.inf
        if events and events[0][0] <= upcoming:
            now, kind, job = heapq.heappop(events)
        else:
            now, kind, job = upcoming, ARRIVED, arrived
        paid += (now - clock) * (alive + starting)
        clock = now
        if kind == ARRIVED:
            arrived += 1
            queue.append(job)
        elif kind == ENDED:
            done += 1
            running -= 1
            heapq.heappush(idle, now)
        elif kind == READY:
            starting -= 1
            alive += 1
            heapq.heappush(idle, now)
        elif kind == DIED:  # a worker died: the broker redelivers later, another worker starts at once
            running -= 1
            alive -= 1
            starting += 1
            heapq.heappush(events, (now + START, READY, 0))
            heapq.heappush(events, (now + VISIBILITY, REDELIVERED, job))
        elif kind == REDELIVERED:
            queue.appendleft(job)
        else:
            wanted = min(limit, len(queue) + running)
            for _ in range(wanted - alive - starting):
                starting += 1
                heapq.heappush(events, (now + START, READY, 0))
            if alive > wanted and idle and now - last_removed >= MINUTE:
                heapq.heappop(idle)
                alive -= 1
                last_removed = now
            heapq.heappush(events, (now + STEP, DECIDE, 0))
        while queue and idle:
            start(now)
    return Outcome(limit, scaled, waits, busy, paid, deaths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    come, take = arrivals(options.jobs, rng), durations(options.jobs, rng)
    load = float(take.sum()) / DAY  # workers that are busy on average
    sizes = options.workers or [int(np.ceil(load * factor)) for factor in (1.1, 1.3, 1.5, 1.75, 2, 2.5, 3)]
    runs = [(size, scaled) for scaled in (False, True) for size in sizes]
    rows = [
        simulate(come, take, size, scaled, options.seed).row()
        for size, scaled in track(runs, "days", console=Console(stderr=True))
    ]
    show(options.jobs, load, float(take.mean()), rows)
    if options.json:
        options.json.write_text(json.dumps({"jobs": options.jobs, "load": load, "runs": rows}, indent=1))
    if options.plot:
        plot(rows, options.plot)


def show(jobs: int, load: float, mean: float, rows: Sequence[dict[str, float | int | bool]]) -> None:
    title = f"{jobs:,} jobs a day, {mean:.1f} s on average: {load:.0f} workers' work"
    table = Table(title=title)
    names = ("workers", "median wait", "95 %", "99 %", "within 60 s", "in use", "worker hours", "deaths")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        size = f"0 to {row['workers']}" if row["scaled"] else str(row["workers"])
        waits = [f"{row[name]:.0f} s" for name in ("wait_median", "wait_p95", "wait_p99")]
        shares = [f"{row[name]:.0%}" for name in ("within_a_minute", "use")]
        table.add_row(size, *waits, *shares, f"{row['worker_hours']:,.0f}", str(row["deaths"]))
    Console(width=120).print(table)


def plot(rows: Sequence[dict[str, float | int | bool]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for scaled, label, marker in ((False, "always on", "o-"), (True, "scaled from 0", "s--")):
        chosen = [row for row in rows if row["scaled"] is scaled]
        sizes = [row["workers"] for row in chosen]
        left.plot(sizes, [row["wait_p95"] for row in chosen], marker, label=label)
        right.plot(sizes, [row["worker_hours"] for row in chosen], marker, label=label)
    left.axhline(MINUTE, color="0.6", lw=1)
    left.set(yscale="symlog", xlabel="workers at most", ylabel="95 % of jobs start within … s")
    left.set_ylim(0, None)
    right.set(xlabel="workers at most", ylabel="worker hours a day", ylim=(0, None))
    left.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
