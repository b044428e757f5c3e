"""`worker train` and `worker join`."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml


def train(
    config: Annotated[str, typer.Argument(help="A name under configs/, or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[key.sub=value]…", help="Settings instead of the file's."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1, …; auto: the GPU if there is one.")
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="Instead of training.out_dir.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, tf32 or bf16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of training.seed.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Instead of training.max_minutes.")] = None,
    exit_after: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Save and leave after this time, with exit code 3."),
    ] = None,
) -> None:
    """Train a model; run again, it goes on from model.pt in its folder.

    Exit codes: 0 reached training.max_iterations or training.max_minutes; 2 refused; 3 saved and left early
    (--exit-after, SIGTERM, SIGINT): run again to go on; 4 the loss was lost.

    Several GPUs: torchrun --nproc-per-node N -m worker train …
    """
    from model.config.files import merge
    from worker.training.run import run

    options: dict[str, Any] = {"out_dir": None if out is None else str(out), "precision": precision}
    options |= {"seed": seed, "max_minutes": minutes}
    chosen = {key: value for key, value in options.items() if value is not None}
    given = merge(parse_overrides(overrides or []), {"training": chosen} if chosen else {})
    raise typer.Exit(run(config, given, device, exit_after))


def join(
    shape: Annotated[Path, typer.Argument(metavar="SHAPE.pt", exists=True, dir_okay=False)],
    flow: Annotated[Path, typer.Argument(metavar="FLOW.pt", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.pt")],
    float16: Annotated[bool, typer.Option("--float16", help="Store the weights in half the bytes.")] = False,
) -> None:
    """Put the shape half of one checkpoint and the flow half of another into one."""
    from model.errors import ModelError
    from worker.training.parts import join_halves

    try:
        counts = join_halves(shape, flow, target, float16)
    except ModelError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{target}: {counts['shape']} tensors of {shape}, {counts['flow']} of {flow}")


def parse_overrides(texts: list[str]) -> dict[str, Any]:
    """`["model.c_dim=64", "data.classes=[a, b]"]` as nested sections; values are read as YAML."""
    from model.config.files import merge, parse_yaml

    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise typer.BadParameter(f"{text!r} is no setting; wanted key.sub=value, such as model.c_dim=64")
        try:
            nested: Any = parse_yaml(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"{text!r}: {value!r} cannot be read as YAML: {error}") from None
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = merge(values, nested)
    return values
