"""The command `worker`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from service.core.jobs.options import EXTENSIONS, Format
from worker.commands.data import app as data
from worker.commands.data_creation import bodies, build, download, migrate
from worker.commands.evaluate import evaluate, generate, score
from worker.commands.generative import encode, latent_interpolate, transfer
from worker.commands.generative import sample as sample_prior
from worker.commands.given_meshes import interpolate, match
from worker.commands.render import render
from worker.commands.train import join, train

app = typer.Typer(
    help="Turn moving point clouds into animated meshes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
for make in (bodies, build, download, migrate):
    data.command()(make)
app.command()(train)
app.command()(join)
app.command()(generate)
app.command()(evaluate)
app.command()(score)
app.command()(interpolate)
app.command()(match)
app.command()(encode)
app.command("sample")(sample_prior)
app.command()(latent_interpolate)
app.command()(transfer)
app.command()(render)

# Packages of the extra `train`.
TRAINING_ONLY = {"PIL", "httpx", "matplotlib", "pandas", "sklearn", "tensorboard"}

Model = Annotated[str, typer.Option(help="A name under configs/, or a YAML file.")]
Checkpoint = Annotated[
    str | None, typer.Option(help="A .pt file or its URL instead of the one that the config names.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …; auto takes the GPU where there is one.")]


@app.command()
def serve(
    model: Annotated[str | None, typer.Option(help="Instead of OFLOW_MODEL.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Instead of OFLOW_CHECKPOINT.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of OFLOW_DEVICE.")] = None,
) -> None:
    """Run jobs from the queue of one model. Settings come from OFLOW_… environment variables."""
    # The environment and not an argument: the child that loads the model reads it as well.
    for name, value in (("OFLOW_MODEL", model), ("OFLOW_CHECKPOINT", checkpoint), ("OFLOW_DEVICE", device)):
        if value is not None:
            os.environ[name] = value
    from worker.serving.serve import serve as run

    raise typer.Exit(run())


@app.command()
def reconstruct(
    source: Annotated[Path, typer.Argument(metavar="IN.npz", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.{glb,npz,zip}")],
    model: Model = "bodies",
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    file_format: Annotated[
        Format | None,
        typer.Option("--format", help="What to write; else the ending of OUT decides (.zip: obj)."),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Output frames, evenly spaced.")] = None,
    fps: Annotated[float | None, typer.Option(help="Output frames a second.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Grid cells a side.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Occupancy of the surface, 0 to 1.")] = None,
    simplify: Annotated[int | None, typer.Option(help="Target number of faces.")] = None,
    color: Annotated[str, typer.Option(help="none, or correspondence.")] = "none",
    quality: Annotated[str, typer.Option(help="exact, balanced or draft.")] = "balanced",
) -> None:
    """Reconstruct one sequence here, with no server."""
    from worker.commands.reconstruct import reconstruct_file

    given = {
        "formats": file_format or _format_of(target),
        "frames": frames,
        "fps": fps,
        "resolution": resolution,
        "threshold": threshold,
        "simplify": simplify,
        "color": color,
        "quality": quality,
    }
    fields = [(name, str(value)) for name, value in given.items() if value is not None]
    raise typer.Exit(reconstruct_file(source, target, model, checkpoint, device, fields))


@app.command()
def models() -> None:
    """List the models that can be loaded here."""
    from worker.commands.reconstruct import print_models

    print_models()


@data.command()
def sample(
    name: Annotated[str, typer.Argument(help="jumping_jacks, knees, or large (20,000 points a frame).")],
    target: Annotated[Path, typer.Argument(metavar="OUT.npz")],
) -> None:
    """Write a sample sequence: a moving body, made from scratch."""
    from worker.data.samples import RECIPES, write_sample

    if name not in RECIPES:
        raise typer.BadParameter(f"there is no sample {name!r}: wants one of {', '.join(RECIPES)}")
    write_sample(name, target)
    typer.echo(f"{name} written to {target}")


def _format_of(target: Path) -> Format:
    if target.suffix not in EXTENSIONS:
        raise typer.BadParameter(f"{target.name} ends in {target.suffix!r}: wants .glb, .npz or .zip")
    return EXTENSIONS[target.suffix]


def main() -> None:
    """The command, which names the extra to install where its packages are missing."""
    try:
        app()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in TRAINING_ONLY:
            raise
        typer.echo(f"This command needs {error.name}: pip install 'oflow[train]'", err=True)
        raise SystemExit(2) from None
