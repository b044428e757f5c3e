"""`worker interpolate` and `worker match`: models that move given meshes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.commands.evaluate import Checkpoint, ConfigName, Device, Overrides, bar, console, load, refusals

if TYPE_CHECKING:
    from model.config.schema import Config

Out = Annotated[Path | None, typer.Option(help="A folder; by default one in training.out_dir.")]


def interpolate(
    config: ConfigName,
    meshes: Annotated[Path, typer.Option(help="A folder of OBJ, PLY or OFF files with the same faces.")],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Meshes between each two neighbours.")] = 15,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second of the animation.")] = 30.0,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Put meshes between registered ones, whose order is that of the file names. The given ones stay."""
    with refusals():
        import numpy as np

        from model.meshes.colors import correspondence_colors
        from model.meshes.sequence import MeshSequence
        from worker.device import pick_device
        from worker.tasks.animation_files import write_animation
        from worker.tasks.in_betweens import in_betweens, write_record
        from worker.tasks.interpolation import Interpolation
        from worker.tasks.loaded import load_model
        from worker.tasks.registered import read_registered

        settings = load(config, overrides)
        Interpolation.check(settings)
        given = read_registered(meshes)
        model = load_model(settings, checkpoint, pick_device(device))
        folder = out or _default(settings, "interpolation", meshes.resolve().name)
        with bar("interpolate", len(given.files) - 1) as advance:
            made = in_betweens(model, given, steps, advance)
        times = np.arange(len(made.vertices)) / fps
        colors = correspondence_colors(given.vertices[0]) if settings.generation.mesh_color else None
        moving = MeshSequence(made.vertices, given.faces, times, colors)
        places = write_animation(moving, folder, "interpolation")
        write_record(folder, model, given, steps, moving, made)
        counts = f"{len(given.files)} given meshes, {steps} between each two: {len(times)} frames"
        console.print(f"{', '.join(map(str, places))}: {counts}", highlight=False)
        share = (made.misses / made.sides).mean()
        console.print(
            f"before blending, the flow from a mesh ends {made.misses.mean():.4g} from the next on average, "
            f"{share:.1%} of its longest side"
        )


def match(
    config: ConfigName,
    a: Annotated[Path, typer.Argument(metavar="A", exists=True, dir_okay=False)],
    b: Annotated[Path, typer.Argument(metavar="B", exists=True, dir_okay=False)],
    overrides: Overrides = None,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Carry shape A onto shape B, and say which point of B each vertex of A goes to.

    Both are meshes or point clouds: .obj, .ply, .off, or .npz with `points` [N, 3].
    """
    with refusals():
        from worker.device import pick_device
        from worker.tasks.loaded import load_model
        from worker.tasks.matching import doubt, write_match
        from worker.tasks.matching import match as run
        from worker.tasks.shape_matching import ShapeMatching
        from worker.tasks.shapes import read_shape

        settings = load(config, overrides)
        ShapeMatching.check(settings)
        shapes = read_shape(a), read_shape(b)
        if warning := doubt(*shapes):
            console.print(f"[yellow]doubtful[/]: {warning}", highlight=False)
        model = load_model(settings, checkpoint, pick_device(device))
        folder = out or _default(settings, "match", f"{a.stem}_{b.stem}")
        found = run(model, *shapes)
        write_match(found, *shapes, folder)
        console.print(
            f"{folder}: {len(found.partner)} points of {a.name} carried onto {b.name}; they end "
            f"{found.distance.mean():.4g} from its nearest points on average",
            highlight=False,
        )
        if found.errors is None:
            console.print(
                "no error is known: only meshes with the same faces say which vertices belong together"
            )
        else:
            for text, error in (
                ("carried vertices lie", found.errors.carried),
                ("the vertices of B nearest to them lie", found.errors.matched),
                ("those nearest to A as it was, without the model, lie", found.errors.unmoved),
            ):
                share = f"{error / found.side:.1%} of B's longest side"
                console.print(f"{text} {error:.4g} from their true partners, {share}", highlight=False)


def _default(settings: "Config", command: str, name: str) -> Path:
    return Path(settings.training.out_dir) / settings.generation.generation_dir / command / name
