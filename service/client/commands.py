"""The commands of `oflow` that talk to a server."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from service.client.client import Client
from service.client.connection import ADDRESS, JobFailedError
from service.client.job_bar import JobBar
from service.client.retrying import ServiceError
from service.core.flags import takes_options
from service.core.jobs.formats import Format
from service.core.jobs.options import Options
from service.core.jobs.record import State
from service.core.jobs.targets import SUFFIXES, TargetError, plan_targets
from service.core.jobs.views import JobView
from service.core.sequences.errors import SequenceError
from service.core.sequences.sources import SourceError, find_source, is_url

console = Console(stderr=True, highlight=False)

Address = Annotated[str, typer.Option(envvar="OFLOW_ADDRESS", help="Address of the server.")]
Key = Annotated[str | None, typer.Option(envvar="OFLOW_KEY", help="Bearer key, if the server requires one.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.")]


@takes_options(Options)
def reconstruct(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="A file, a folder or pattern of frames, several frames, a ROS bag, or a URL.",
        ),
    ],
    options: Options,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help=f"A file ({SUFFIXES}) or a folder; beside the input by default."),
    ] = None,
    address: Address = ADDRESS,
    key: Key = None,
    topic: Annotated[str | None, typer.Option(help="Of the point clouds in a ROS bag.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and do not wait.")] = False,
) -> None:
    """Turn a moving point cloud into an animated mesh. Ctrl-C cancels the job."""
    formats = options.formats if "formats" in options.model_fields_set else ()
    targets = _plan(out, formats, **_places(sources))
    options = options.model_copy(update={"formats": tuple(targets)})
    with _client(address, key) as client:
        given = options.model_dump(mode="json", exclude_unset=True)
        job = client.reconstruct(sources, topic=topic, **given)
        if detach:
            typer.echo(job.id)
            return
        _save(client, _follow(client, job), targets)


def status(job: JobId, address: Address = ADDRESS, key: Key = None) -> None:
    """Print a job as JSON."""
    with _client(address, key) as client:
        typer.echo(client.job(job).model_dump_json(indent=2, exclude_none=True))


def download(
    job: JobId,
    out: Annotated[
        Path, typer.Option("--out", "-o", help=f"A file ({SUFFIXES}), or a folder for all files.")
    ] = Path(),
    address: Address = ADDRESS,
    key: Key = None,
) -> None:
    """Download the results of a job, once it is done."""
    with _client(address, key) as client:
        current = client.job(job)
        formats = [file_format for file_format in Format if file_format in current.options["formats"]]
        by_name = len(formats) > 1 and not out.is_dir()
        targets = _plan(out, [] if by_name else formats, stem=job[:8])
        _save(client, _follow(client, current), targets)


def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of jobs.")] = 20,
    address: Address = ADDRESS,
    key: Key = None,
) -> None:
    """List your jobs, newest first: id, time of creation (UTC), state, verdict, model, name of the input."""
    with _client(address, key) as client:
        for _, job in zip(range(limit), client.jobs(state), strict=False):
            created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
            verdict = (job.result and job.result.verdict) or "-"
            name = f"  {job.input.name}" if job.input.name else ""
            typer.echo(f"{job.id}  {created}  {job.state:<9}  {verdict:<8}  {job.model}{name}")


def cancel(job: JobId, address: Address = ADDRESS, key: Key = None) -> None:
    """Cancel an open job, or delete the files of one that has ended."""
    with _client(address, key) as client:
        typer.echo(f"{job} is {client.cancel(job).state}")


def models(address: Address = ADDRESS, key: Key = None) -> None:
    """List the models of the server: name, task, the input it reads, workers; `*` marks the default."""
    with _client(address, key) as client:
        for model in client.models():
            reads = f"{model['input']['min_frames']} to {model['input']['max_frames']} frames"
            mark = "*" if model["default"] else " "
            workers = "1 worker" if model["workers"] == 1 else f"{model['workers']} workers"
            typer.echo(f"{mark} {model['name']}  {model['task']}  {reads}  {workers}")


def _follow(client: Client, job: JobView) -> JobView:
    """The job once it has succeeded; Ctrl-C cancels it."""
    with JobBar(console, "queued") as bar:
        try:
            return client.wait(job.id, bar.show)
        except KeyboardInterrupt:
            client.cancel(job.id)
            console.print(f"job {job.id} is canceled")
            raise typer.Exit(130) from None


def _save(client: Client, job: JobView, targets: Mapping[Format, Path]) -> None:
    assert job.result is not None  # noqa: S101 - it has succeeded
    for file_format, target in targets.items():
        client.download(job, target, file_format)
        typer.echo(target)
    console.print(f"the input points lie {job.result.fit.average:.3g} from the mesh on average")
    if job.result.verdict is not None:
        console.print(f"verdict: {job.result.verdict}")
    for line in job.result.reasons + job.result.warnings:
        console.print(f"  {line}", soft_wrap=True)
    glb = [target for file_format, target in targets.items() if file_format is Format.GLB]
    where = f"open {glb[0]} in Blender or any glTF viewer, or " if glb else ""
    console.print(f"{where}see {client.address}/?job={job.id}", soft_wrap=True)


def _places(sources: Sequence[str]) -> dict[str, Any]:
    """Names of the results, and the file that they must not replace."""
    if len(sources) == 1 and is_url(sources[0]):
        return {"stem": Path(urlsplit(sources[0]).path).stem or "result"}
    try:
        source = find_source(sources)
    except SourceError as error:
        raise typer.BadParameter(str(error)) from None
    single = source.files[0][1] if source.is_single else source.folder / source.name
    return {"stem": source.stem, "source": single}


def _plan(out: Path | None, formats: Sequence[Format], **names: Any) -> dict[Format, Path]:
    try:
        return plan_targets(out, formats, **names)
    except TargetError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _client(address: str, key: str | None) -> Iterator[Client]:
    """A client whose errors are printed without a traceback."""
    try:
        with Client(address, key) as client:
            yield client
    except JobFailedError as error:
        _exit(f"the job {error.job.state}", str(error), 1)
    except ServiceError as error:
        _exit("refused" if error.status else "error", str(error), 2)
    except BrokenPipeError:  # as of `head`: whoever reads the output has enough
        raise
    except (SequenceError, SourceError, OSError) as error:
        _exit("error", str(error), 2)


def _exit(title: str, message: str, code: int) -> NoReturn:
    console.print(Text.assemble((title, "red"), f": {message}"), soft_wrap=True)
    raise typer.Exit(code)
