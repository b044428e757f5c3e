"""The command `worker`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from service.core.flags import Commands, Version, takes_options
from service.core.jobs.options import ReconstructionOptions
from service.core.jobs.targets import SUFFIXES, TargetError, plan_targets
from service.core.sequences.sources import SourceError, find_source
from worker.commands.data import app as data
from worker.commands.data_creation import bodies, build, download, migrate
from worker.commands.evaluate import evaluate, generate, score
from worker.commands.generative import encode, latent_interpolate, transfer
from worker.commands.generative import sample as sample_prior
from worker.commands.given_meshes import interpolate, match
from worker.commands.render import render
from worker.commands.train import join, train


class PublishedFlags(Commands):
    """Understands the flags of the published scripts as well."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {"--eval_input": ["--eval-input"], "--no-cuda": ["--device", "cpu"]}
        if args[:1] == ["evaluate"]:  # which never uses a GPU
            known["--no-cuda"] = []
        return super().parse_args(ctx, [new for old in args for new in known.get(old, [old])])


app = typer.Typer(
    cls=PublishedFlags,
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


@app.callback()
def root(version: Version = False) -> None:
    pass


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
@takes_options(ReconstructionOptions)
def reconstruct(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... OUT",
            help="A file, a folder or pattern of frames, several frames, or a ROS bag; last, "
            f"a file ({SUFFIXES}) or a folder for the result.",
        ),
    ],
    options: ReconstructionOptions,
    topic: Annotated[str | None, typer.Option(help="Of the point clouds in a ROS bag.")] = None,
    model: Model = "local_oflow",
    checkpoint: Checkpoint = None,
    device: Device = "auto",
) -> None:
    """Reconstruct one sequence without a server."""
    from worker.commands.reconstruct import reconstruct_source

    *sources, target = places
    formats = options.formats if "formats" in options.model_fields_set else ()
    try:
        source = find_source(sources)
        same = source.files[0][1] if source.is_single else None
        targets = plan_targets(Path(target), formats, stem=source.stem, source=same)
    except (TargetError, SourceError) as error:
        raise typer.BadParameter(str(error)) from None
    options = options.model_copy(update={"formats": tuple(targets)})
    raise typer.Exit(reconstruct_source(source, topic, targets, model, checkpoint, device, options))


@app.command()
def models() -> None:
    """List the models that can be loaded here."""
    from worker.commands.reconstruct import print_models

    print_models()


@data.command()
def sample(
    name: Annotated[
        str, typer.Argument(help="jumping_jacks, walker, knees or large (20,000 points a frame).")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.npz")],
) -> None:
    """Write a sample sequence: a moving person or animal, made from scratch."""
    from worker.data.samples import RECIPES, write_sample

    if name not in RECIPES:
        raise typer.BadParameter(f"unknown sample {name!r}: expected one of {', '.join(RECIPES)}")
    write_sample(name, target)
    typer.echo(f"{name} written to {target}")
