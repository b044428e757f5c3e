"""The commands of `service` that talk to a gateway: reconstruct, status, download, list, cancel."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from service.client.client import ADDRESS, Client, JobFailedError, suffix_of
from service.client.retrying import ServiceError
from service.core.jobs.options import EXTENSIONS, Format
from service.core.jobs.record import JobEvent, State
from service.core.jobs.views import JobView

told = Console(stderr=True, highlight=False)

Address = Annotated[str, typer.Option(envvar="OFLOW_ADDRESS", help="Where the gateway is.")]
Key = Annotated[str | None, typer.Option(envvar="OFLOW_KEY", help="A bearer key, where it wants one.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of a job.")]
Formats = Annotated[
    list[Format] | None, typer.Option("--format", help="What to write; else the ending of --out decides.")
]


def reconstruct(
    source: Annotated[Path, typer.Argument(metavar="IN.npz", exists=True, dir_okay=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write (.glb, .npz, .zip of OBJ), or a folder."),
    ] = None,
    address: Address = ADDRESS,
    key: Key = None,
    formats: Formats = None,
    model: Annotated[str | None, typer.Option(help="One of `GET /models`.")] = None,
    frames: Annotated[int | None, typer.Option(help="Output frames, evenly spaced.")] = None,
    fps: Annotated[float | None, typer.Option(help="Output frames a second.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Grid cells a side.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Occupancy of the surface, 0 to 1.")] = None,
    simplify: Annotated[int | None, typer.Option(help="Target number of faces.")] = None,
    color: Annotated[str | None, typer.Option(help="none, or correspondence.")] = None,
    quality: Annotated[str | None, typer.Option(help="exact, balanced or draft.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object, returned as sent.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and do not wait.")] = False,
) -> None:
    """Turn a moving point cloud into an animated mesh. Ctrl-C cancels the job."""
    target = out or source.with_suffix(f".{(formats or [Format.GLB])[0]}")
    options: dict[str, Any] = {
        "formats": formats or [_format_of(target)],
        "model": model,
        "frames": frames,
        "fps": fps,
        "resolution": resolution,
        "threshold": threshold,
        "simplify": simplify,
        "color": color,
        "quality": quality,
        "metadata": None if metadata is None else json.loads(metadata),
    }
    with _client(address, key) as client:
        job = client.reconstruct(source, **options)
        if detach:
            typer.echo(job.id)
            return
        job = _follow(client, job)
        _save(client, job, target)


def status(job: JobId, address: Address = ADDRESS, key: Key = None) -> None:
    """Print a job as JSON."""
    with _client(address, key) as client:
        typer.echo(client.job(job).model_dump_json(indent=2, exclude_none=True))


def download(
    job: JobId,
    out: Annotated[Path, typer.Option("--out", "-o", help="A file, or a folder for all of them.")] = Path(),
    address: Address = ADDRESS,
    key: Key = None,
) -> None:
    """Download what a job made; wait for it if it is not done."""
    with _client(address, key) as client:
        _save(client, _follow(client, client.job(job)), out)


def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    address: Address = ADDRESS,
    key: Key = None,
) -> None:
    """List your jobs, the newest first: id, when it was made (UTC), state, model."""
    with _client(address, key) as client:
        for _, job in zip(range(limit), client.jobs(state), strict=False):
            typer.echo(f"{job.id}  {job.created_at:%Y-%m-%d %H:%M:%S}  {job.state:<9}  {job.model}")


def cancel(job: JobId, address: Address = ADDRESS, key: Key = None) -> None:
    """Cancel an open job; of one that has ended, delete the files."""
    with _client(address, key) as client:
        typer.echo(f"{job} is {client.cancel(job).state}")


def _follow(client: Client, job: JobView) -> JobView:
    """The job once it has ended well; Ctrl-C cancels it."""
    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=told, transient=True) as bar:
        task = bar.add_task("queued", total=100, left="")

        def show(event: JobEvent) -> None:
            eta, progress = event.progress.eta_seconds, event.progress
            left = "" if eta is None else f"{eta:.0f} s left"
            bar.update(task, description=progress.stage, completed=progress.percent, left=left)

        try:
            return client.wait(job.id, show)
        except KeyboardInterrupt:
            client.cancel(job.id)
            told.print(f"job {job.id} is canceled")
            raise typer.Exit(130) from None


def _save(client: Client, job: JobView, out: Path) -> None:
    assert job.result is not None  # noqa: S101 - it has succeeded
    into_folder = out.is_dir() or len(job.result.files) > 1
    if into_folder:
        out.mkdir(parents=True, exist_ok=True)
    for file in job.result.files:
        target = out / f"{job.id[:8]}{suffix_of(file.format)}" if into_folder else out
        client.download(job, target, file.format)
        typer.echo(target)
    fit = job.result.fit
    told.print(f"the input lies {sum(fit.mean) / len(fit.mean):.3g} from the mesh on average")


def _format_of(target: Path) -> Format:
    if target.is_dir():
        return Format.GLB
    if target.suffix not in EXTENSIONS:
        raise typer.BadParameter(f"{target.name} ends in {target.suffix!r}: wants .glb, .npz or .zip")
    return EXTENSIONS[target.suffix]


@contextmanager
def _client(address: str, key: str | None) -> Iterator[Client]:
    """A client whose refusals are one line."""
    with Client(address, key) as client:
        try:
            yield client
        except JobFailedError as error:
            told.print(f"[red]the job {error.job.state}[/]: {error}", soft_wrap=True)
            raise typer.Exit(1) from None
        except ServiceError as error:
            told.print(f"[red]refused[/]: {error}" if error.status else f"[red]{error}[/]", soft_wrap=True)
            raise typer.Exit(2) from None
