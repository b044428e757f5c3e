"""`worker render`: a contact sheet of input points and mesh, drawn without a display."""

from pathlib import Path
from typing import Annotated

import typer

from service.core.jobs.options import Up


def render(
    source: Annotated[Path, typer.Argument(metavar="IN.npz", exists=True, dir_okay=False)],
    meshes: Annotated[Path, typer.Argument(metavar="MESH.obj.zip", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.png")],
    title: Annotated[str, typer.Option(help="Printed above the sheet.")] = "",
    caption: Annotated[str, typer.Option(help="Printed below the sheet.")] = "",
    up: Annotated[Up, typer.Option(help="Axis that points up; guessed by default.")] = Up.AUTO,
) -> None:
    """Draw the points of a sequence above the mesh made of them, frame by frame."""
    from model.errors import ModelError
    from model.meshes.upright import upright_rotation
    from model.registration.upright import guess_up
    from service.core.sequences.sequence import SequenceError, read_sequence
    from worker.rendering.obj_archive import read_obj_archive
    from worker.rendering.pictures import contact_sheet

    try:
        with source.open("rb") as file:
            sequence = read_sequence(file)
        mesh = read_obj_archive(meshes)
    except (SequenceError, ModelError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    turn = upright_rotation(guess_up(sequence.points) if up is Up.AUTO else up.value).T
    contact_sheet(
        [cloud @ turn for cloud in sequence.points],
        mesh.vertices @ turn,
        mesh.faces,
        mesh.colors,
        times=sequence.times.tolist(),
        mesh_times=mesh.times,
        title=title,
        caption=caption,
    ).save(target)
