"""Process samples through the HTTP API of a temporary stack."""

import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from service.client import Client, JobFailedError
from service.client.job_bar import JobBar
from service.core.jobs.formats import Format
from service.core.jobs.views import JobView, ResultView
from service.local.directories import data_directory
from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.stack import LocalStack
from service.page.samples import SAMPLES

POLL_SECONDS = 0.2
FORMATS = (Format.GLB, Format.OBJ)
SHOWN = ("jumping_jacks", "walker")  # unless one is asked for


def run_demo(sample: str | None, out: Path, log: MergedLog) -> None:
    """Start a stack, reconstruct one sample or those of SHOWN, write GLB, OBJ and a contact sheet of each to
    `out`, and stop.

    Raises LocalStackError, ServiceError or JobFailedError.
    """
    names = (sample,) if sample else SHOWN
    if sample and sample not in SAMPLES:
        raise LocalStackError(f"Unknown sample {sample!r}: choose one of {', '.join(SAMPLES)}")
    console = Console(highlight=False)
    start = time.monotonic()
    with (
        JobBar(console, "starting the servers") as bar,
        data_directory(None) as directory,
        LocalStack(directory, log) as stack,
        Client(stack.address) as client,
    ):
        rows = []
        for name in names:
            files = {file_format: out / f"{name}{file_format.suffix}" for file_format in FORMATS}
            picture = out / f"{name}.png"
            job = client.reconstruct(SAMPLES[name].path, formats=FORMATS, color="correspondence")
            job, result = _follow(client, job, stack, bar)
            for file_format, file in files.items():
                client.download(job, file, file_format)
            bar.phase(f"rendering {name}")
            _render(SAMPLES[name].path, files[Format.OBJ], picture, result)
            rows += _report(name, result, [*files.values(), picture])
        bar.phase("stopping the servers")
    rows += [
        ("seconds", f"start-up {stack.timings['worker']:.1f}, total {time.monotonic() - start:.1f}"),
        ("address", f"{stack.address} (now stopped; `make up` starts a stack that keeps running)"),
    ]
    lines = [Text.assemble((f"{label:>22}  ", "bold"), text) for label, text in rows]
    console.print(Text("\n").join(lines), soft_wrap=True)


def _follow(client: Client, job: JobView, stack: LocalStack, bar: JobBar) -> tuple[JobView, ResultView]:
    """Wait for the job by polling, which notices immediately if a part of the stack dies."""
    while job.state.open:
        stack.check()
        time.sleep(POLL_SECONDS)
        job = client.job(job.id)
        bar.show(job)
    if job.result is None:
        raise JobFailedError(job)
    return job, job.result


def _render(source: Path, obj_archive: Path, target: Path, result: ResultView) -> None:
    """Render the contact sheet in a subprocess, since `service` must not import `worker`."""
    command = [sys.executable, "-m", "worker", "render", str(source), str(obj_archive), str(target)]
    labels = [
        "--title",
        source.stem,
        "--caption",
        f"{_size(result)}; {_fit(result)}; verdict: {result.verdict}.",
    ]
    done = subprocess.run(command + labels, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise LocalStackError("Rendering failed", (done.stdout + done.stderr).splitlines()[-5:])


def _report(name: str, result: ResultView, files: list[Path]) -> list[tuple[str, str]]:
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in result.timings.items())
    return [
        (f"sample {name!r}", SAMPLES[name].description),
        *(("file", str(file)) for file in files),
        ("mesh", _size(result)),
        ("fit", _fit(result)),
        ("verdict", str(result.verdict)),
        *(("reason", reason) for reason in result.reasons),
        *(("warning", warning) for warning in result.warnings),
        ("job", f"{stages} (seconds)"),
    ]


def _size(result: ResultView) -> str:
    mesh = result.mesh
    return f"{mesh.frames} frames, {mesh.vertices} vertices, {mesh.faces} faces"


def _fit(result: ResultView) -> str:
    mean, worst = result.fit.average, result.fit.worst
    return (
        f"mean distance from input points to mesh {mean:.4f}, 95th percentile of the worst frame {worst:.4f}"
    )
