"""One sample through the whole service, by HTTP alone, as any client would send it."""

import hashlib
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from service.local.directories import data_directory
from service.local.errors import LocalStackError
from service.local.log import MergedLog
from service.local.obj_archive import read_obj_archive
from service.local.stack import LocalStack
from service.pictures import contact_sheet
from service.samples import SAMPLES
from service.sequences import read_sequence

POLL_SECONDS = 0.2
EXTENSIONS = {"glb": ".glb", "obj": ".obj.zip"}
Job = dict[str, Any]  # the JSON of `GET /jobs/{id}`


def run_demo(sample: str | None, out: Path, log: MergedLog) -> None:
    """Start a stack, reconstruct the sample, write GLB, OBJ and a contact sheet to `out`, and stop the stack.

    Raises LocalStackError or httpx.HTTPError.
    """
    name = sample or next(iter(SAMPLES))
    if name not in SAMPLES:
        raise LocalStackError(f"There is no sample {name!r}: choose one of {', '.join(SAMPLES)}")
    files = {file_format: out / f"{name}{extension}" for file_format, extension in EXTENSIONS.items()}
    picture = out / f"{name}.png"
    console = Console(highlight=False)
    began = time.monotonic()
    with _progress(console) as bar, data_directory(None) as directory:
        task = bar.add_task("starting the servers", total=None, eta="")
        with (
            LocalStack(directory, log) as stack,
            httpx.Client(
                base_url=stack.address, trust_env=False, follow_redirects=True, timeout=30
            ) as client,
        ):
            job = _follow(client, _submit(client, SAMPLES[name].path), stack, bar, task)
            for file in job["result"]["files"]:
                _download(client, file, files[file["format"]])
            bar.update(task, description="drawing", eta="")
            _draw(SAMPLES[name].path, files["obj"], picture, job)
            bar.update(task, description="stopping the servers")
    seconds = {"start": stack.timings["worker"], "all": time.monotonic() - began}
    console.print(_report(name, job, [*files.values(), picture], seconds, stack.address), soft_wrap=True)


def _progress(console: Console) -> Progress:
    columns = ("{task.description:>22}", BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[eta]}"))
    return Progress(*columns, console=console, transient=True)


def _submit(client: httpx.Client, source: Path) -> str:
    """Send the sample; returns where its job is read."""
    options = {"formats": ",".join(EXTENSIONS), "color": "correspondence"}
    with source.open("rb") as file:
        answer = client.post("/reconstruct", files={"file": (source.name, file)}, data=options)
    return str(_checked(answer).headers["Location"])


def _follow(client: httpx.Client, location: str, stack: LocalStack, bar: Progress, task: TaskID) -> Job:
    """Wait for the job to end and show how far it is; returns it, or raises with what went wrong."""
    bar.update(task, total=100)
    while True:
        job: Job = _checked(client.get(location)).json()
        progress = job["progress"]
        eta = progress.get("eta_seconds")
        bar.update(
            task,
            description=progress["stage"],
            completed=progress["percent"],
            eta="" if eta is None else f"{eta:.0f} s left",
        )
        if job["state"] == "succeeded":
            return job
        if job["state"] not in ("queued", "running"):
            error = job.get("error") or {"message": "no reason given"}
            raise LocalStackError(f"The job {job['state']}: {error['message']}")
        stack.check()
        time.sleep(POLL_SECONDS)


def _download(client: httpx.Client, file: dict[str, Any], target: Path) -> None:
    content = _checked(client.get(file["href"])).content  # through the redirect to the object store
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise LocalStackError(f"{target.name} arrived damaged: its SHA-256 is not the one in the job")
    target.write_bytes(content)


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer; a refusal raises with the problem's own words."""
    if answer.is_success:
        return answer
    words = answer.text
    if "json" in answer.headers.get("Content-Type", ""):
        problem = answer.json()
        words = problem.get("detail") or problem.get("title") or words
    raise LocalStackError(f"{answer.request.method} {answer.url.path} answered {answer.status_code}: {words}")


def _draw(source: Path, obj_archive: Path, target: Path, job: Job) -> None:
    with source.open("rb") as file:
        sequence = read_sequence(file)
    mesh = read_obj_archive(obj_archive)
    contact_sheet(
        sequence.points,
        mesh.vertices,
        mesh.faces,
        mesh.colors,
        times=sequence.times.tolist(),
        mesh_times=mesh.times,
        title=source.stem,
        caption=f"{_size(job)}. {_fit(job)}.",
    ).save(target)


def _report(name: str, job: Job, files: list[Path], seconds: dict[str, float], address: str) -> Text:
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in job["result"]["timings"].items())
    rows = [(f"sample {name!r}", SAMPLES[name].description)]
    rows += [("file", str(file)) for file in files]
    rows += [
        ("mesh", _size(job)),
        ("fit", _fit(job)),
        ("seconds", f"servers up after {seconds['start']:.1f}, everything {seconds['all']:.1f}"),
        ("job", f"{stages} (seconds)"),
        ("address", f"{address}, stopped now; `make up` keeps one running"),
    ]
    lines = [Text.assemble((f"{label:>22}  ", "bold"), text) for label, text in rows]
    return Text("\n").join(lines)


def _size(job: Job) -> str:
    mesh = job["result"]["mesh"]
    return f"{mesh['frames']} frames, {mesh['vertices']} vertices, {mesh['faces']} faces"


def _fit(job: Job) -> str:
    fit = job["result"]["fit"]
    mean = sum(fit["mean"]) / len(fit["mean"])
    worst = max(fit["p95"])
    return (
        f"input points lie {mean:.4f} from the mesh on average, 95 % of the worst frame's within {worst:.4f}"
    )
