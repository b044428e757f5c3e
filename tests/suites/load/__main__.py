"""`make load`: load test of the service on this machine, with a target for each number."""

import json
import os
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.suites.load.bare import Bare
from tests.suites.load.jobs import measure_jobs, own_sequences
from tests.suites.load.leak import measure_leak
from tests.suites.load.polling import measure_polling
from tests.suites.load.recovery import measure_recovery
from tests.suites.load.report import Report, console
from tests.suites.load.stack import running_stack
from tests.suites.load.submits import measure_submits
from tests.suites.load.throughput import measure_throughput
from tests.suites.load.workers import TENANTS, draw_rates, measure_workers, workers_report


class Part(StrEnum):
    JOBS = "jobs"
    LEAK = "leak"
    POLLING = "polling"
    SUBMITS = "submits"
    THROUGHPUT = "throughput"
    WORKERS = "workers"
    RECOVERY = "recovery"


def main(
    parts: Annotated[list[Part] | None, typer.Argument(help="Parts to run; all by default.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of jobs for `jobs`.")] = 200,
    clients: Annotated[int, typer.Option(min=1, help="Number of clients for `jobs` and `leak`.")] = 20,
    leak_jobs: Annotated[int, typer.Option(min=20)] = 1000,
    seconds: Annotated[float, typer.Option(min=1, help="Duration of `polling` and `submits`.")] = 20,
    model: Annotated[str, typer.Option(help="Config for `throughput`.")] = "local_oflow",
    model_jobs: Annotated[int, typer.Option(min=2, help="Number of jobs for `throughput`.")] = 20,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers to this JSON file.")
    ] = None,
    most_workers: Annotated[int, typer.Option(min=1, help="Largest number of workers for `workers`.")] = 3,
    worker_jobs: Annotated[int, typer.Option(min=1, help="Number of jobs per worker for `workers`.")] = 40,
    recovery_jobs: Annotated[int, typer.Option(min=6, help="Number of ended jobs for `recovery`.")] = 50,
    plot: Annotated[Path | None, typer.Option(help="Draw the result of `workers` to this file.")] = None,
) -> None:
    """Measure, print a table for each part, and exit with 1 if a target was missed."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for the bare Reconstructor, as in the worker
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    reports: dict[Part, Report] = {}
    counts = list(range(1, most_workers + 1))
    with (
        tempfile.TemporaryDirectory() as directory,
        Bare() as bare,
        Progress(*columns, console=console) as bar,
    ):
        folder = Path(directory)
        config, checkpoint = map(str, bare.small_model(folder))
        small: dict[str, Any] = {
            "model": config,
            "checkpoint": checkpoint,
            "default_model": "small",
            "max_queued": "1000000",
        }
        for part in dict.fromkeys(parts or Part):
            served: dict[str, Any] = (
                {"model": model, "default_model": model} if part is Part.THROUGHPUT else small
            )
            task = bar.add_task(part, total=None)
            if part is Part.WORKERS:
                bare.load(config, checkpoint)
                bar.update(task, total=2 * worker_jobs * sum(counts))
                sequences = own_sequences(bare, TENANTS)
                rates = measure_workers(
                    folder / part,
                    small,
                    sequences,
                    counts,
                    worker_jobs,
                    lambda: bar.advance(task),  # noqa: B023
                )
                reports[part] = workers_report(rates, worker_jobs)
                if plot is not None:
                    draw_rates(rates, plot)
                bar.remove_task(task)
                reports[part].print()
                continue
            with running_stack(folder / part, **served) as stack:
                if part is not Part.THROUGHPUT:
                    bare.load(config, checkpoint)
                if part is Part.JOBS:
                    bar.update(task, total=jobs)
                    sequences = own_sequences(bare, clients)
                    reports[part] = measure_jobs(stack, sequences, jobs, lambda: bar.advance(task))  # noqa: B023
                elif part is Part.LEAK:
                    bar.update(task, total=leak_jobs)
                    sequences = own_sequences(bare, clients)
                    reports[part] = measure_leak(stack, sequences, leak_jobs, lambda: bar.advance(task))  # noqa: B023
                elif part is Part.POLLING:
                    reports[part] = measure_polling(stack, own_sequences(bare, 1)[0], seconds)
                elif part is Part.RECOVERY:
                    sequences = own_sequences(bare, TENANTS)
                    reports[part] = measure_recovery(stack, sequences, recovery_jobs, folder / "backup")
                elif part is Part.SUBMITS:
                    stack.worker.stop()
                    reports[part] = measure_submits(stack, seconds)
                else:
                    reports[part] = measure_throughput(stack, bare, model, model_jobs)
            bar.remove_task(task)
            reports[part].print()
    if json_file is not None:
        memory = round(psutil.virtual_memory().total / 2**30)
        machine = {"cores": len(os.sched_getaffinity(0)), "memory_gib": memory}
        values = {str(part): report.as_dict() for part, report in reports.items()}
        json_file.write_text(json.dumps({"machine": machine} | values, indent=1), encoding="utf-8")
    sys.exit(0 if all(report.held for report in reports.values()) else 1)


if __name__ == "__main__":
    typer.run(main)
