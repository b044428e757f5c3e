"""`worker encode`, `worker sample`, `worker latent-interpolate` and `worker transfer`: generative models."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from worker.commands.evaluate import (
    Checkpoint,
    ConfigName,
    Device,
    Limit,
    Overrides,
    Split,
    bar,
    console,
    load,
    refusals,
)

if TYPE_CHECKING:
    from model.config.schema import Config
    from model.meshes.sequence import MeshSequence

Out = Annotated[Path | None, typer.Option(help="A folder; by default one in training.out_dir.")]
SpaceFile = Annotated[
    Path | None, typer.Option(help="A latent_space.npz; by default the one that `worker encode` wrote.")
]
SHEET = "contact_sheet.png"


class Code(StrEnum):
    MOTION = "motion"
    SHAPE = "shape"


def encode(
    config: ConfigName,
    overrides: Overrides = None,
    checkpoint: Checkpoint = None,
    split: Split = None,
    out: Out = None,
    tsne: Annotated[bool, typer.Option("--tsne", help="Draw the codes in the plane.")] = False,
    tsne_max_n: Annotated[
        int | None, typer.Option(min=10, help="Windows in that picture, drawn at random; all by default.")
    ] = None,
    device: Device = "auto",
    limit: Limit = None,
) -> None:
    """Write the latent codes of all windows of a split, of their shapes and of their motions."""
    with refusals():
        from worker.device import pick_device
        from worker.evaluation.layout import chosen
        from worker.tasks.generative import check_generative
        from worker.tasks.latent_space import encode as run
        from worker.tasks.latent_space import open_windows
        from worker.tasks.loaded import load_model

        if tsne:
            from worker.tasks.tsne import plot_latent_space  # first of all: its library may be missing

        settings = load(config, overrides, split)
        check_generative(settings)
        dataset = open_windows(settings)
        model = load_model(settings, checkpoint, pick_device(device))
        indices = chosen(settings, len(dataset), limit)
        with bar("encode", len(indices)) as advance:
            space = run(model, dataset, indices, advance)
        folder = out or _folder(settings)
        files = space.save(folder)
        console.print(f"{len(indices)} windows in {files[0]}, and in {files[1].name} for the published tools")
        if tsne:
            with console.status("t-SNE"):
                plot_latent_space(space, folder / "tsne.png", most=tsne_max_n)
            console.print(f"picture in {folder / 'tsne.png'}")


def sample(
    config: ConfigName,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 8,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of generation.rand_seed.")] = None,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Make moving meshes up: animated GLBs from the prior, and a contact sheet.

    Sample i of a seed is always the same. generation.fix_z=true holds one shape for all, generation.fix_zt
    one motion.
    """
    with refusals():
        from model.errors import EmptySurfaceError
        from worker.device import pick_device
        from worker.tasks.decoding import Decoding
        from worker.tasks.generative import Prior, check_unconditional, codes_of
        from worker.tasks.loaded import load_model

        settings = load(config, overrides)
        check_unconditional(settings)
        model = load_model(settings, checkpoint, pick_device(device))
        seed = settings.generation.rand_seed if seed is None else seed
        folder = out or _folder(settings) / "samples" / f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        prior, decoding = Prior(model, seed), Decoding(model)
        made = {}
        with bar("sample", count) as advance:
            for number in range(count):
                try:
                    made[number] = decoding(codes_of(model, *prior.draw(number)))
                except EmptySurfaceError as error:
                    console.print(f"[yellow]nothing[/] of sample {number}: {escape(str(error))}")
                else:
                    (folder / f"sample_{number:04d}.glb").write_bytes(made[number].to_glb())
                advance()
        if not made:
            raise EmptySurfaceError(
                f"none of {count} samples has a surface; train longer, or lower test.threshold"
            )
        _draw(list(made.values()), [f"sample {number}" for number in made], folder)
        console.print(f"{folder}: {len(made)} animated meshes, {SHEET}")


def latent_interpolate(
    config: ConfigName,
    first: Annotated[str, typer.Option("--from", metavar="SEQ:START", help="Sequence and first frame.")],
    last: Annotated[str, typer.Option("--to", metavar="SEQ:START", help="As --from.")],
    overrides: Overrides = None,
    code: Annotated[
        Code, typer.Option(help="What changes; the other code stays that of --from.")
    ] = Code.MOTION,
    steps: Annotated[int, typer.Option(min=2, help="Moving meshes, with both ends.")] = 5,
    latent_space: SpaceFile = None,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Go from one encoded sequence to another: an animated GLB a step, and a contact sheet."""
    with refusals():
        from worker.device import pick_device
        from worker.tasks.code_interpolation import interpolate_codes
        from worker.tasks.generative import check_unconditional
        from worker.tasks.latent_space import FILE, LatentSpace
        from worker.tasks.loaded import load_model

        settings = load(config, overrides)
        check_unconditional(settings)
        model = load_model(settings, checkpoint, pick_device(device))
        space = LatentSpace.load(latent_space or _folder(settings) / FILE, model)
        rows = space.find(first), space.find(last)
        names = [_stem(place) for place in (first, last)]
        folder = out or _folder(settings) / "latent_interpolation" / f"{code}_{'_to_'.join(names)}"
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("[0-9][0-9][0-9].glb"), *folder.glob("*.off")):  # of more steps
            old.unlink()
        made = []
        with bar("interpolate", steps) as advance:
            for number, meshes in enumerate(interpolate_codes(model, space, rows, code.value, steps)):
                (folder / f"{number:03d}.glb").write_bytes(meshes.to_glb())
                _write_frames(meshes, folder, f"{number:03d}")
                made.append(meshes)
                advance()
        labels = [f"{number / (steps - 1):.0%}" for number in range(steps)]
        _draw(made, [f"{code}\n{label}" for label in labels], folder)
        console.print(f"{folder}: {steps} animated meshes, {SHEET}")


def transfer(
    config: ConfigName,
    motion: Annotated[str, typer.Option(metavar="SEQ:START", help="Sequence and first frame.")],
    shape: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A mesh: OBJ, PLY or OFF.")],
    overrides: Overrides = None,
    latent_space: SpaceFile = None,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Move a mesh of your own by the motion of an encoded sequence: an animated GLB, and a contact sheet.

    The mesh has to stand as the sequence begins: a motion says how places move, not parts of a body.
    """
    with refusals():
        from worker.device import pick_device
        from worker.tasks.generative import check_unconditional
        from worker.tasks.latent_space import FILE, LatentSpace
        from worker.tasks.loaded import load_model
        from worker.tasks.motion_transfer import FAR, read_surface, transfer_motion

        settings = load(config, overrides)
        check_unconditional(settings)
        mesh = read_surface(shape)
        model = load_model(settings, checkpoint, pick_device(device))
        space = LatentSpace.load(latent_space or _folder(settings) / FILE, model)
        done = transfer_motion(model, space, space.find(motion), mesh)
        folder = out or _folder(settings) / "transfer" / f"{_stem(motion)}_to_{shape.stem}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "transfer.glb").write_bytes(done.meshes.to_glb())
        _write_frames(done.meshes, folder, "transfer")
        _draw([done.meshes], [shape.stem], folder)
        if done.apart > FAR:
            console.print(
                f"[yellow]doubtful[/]: {shape.name} is {done.apart:.1%} of its side away from the shape that "
                f"{motion} begins with, on average; wanted a mesh in that pose",
                highlight=False,
            )
        console.print(f"{folder / 'transfer.glb'}: {len(done.meshes.times)} frames; {SHEET} beside it")


def _folder(settings: "Config") -> Path:
    return Path(settings.training.out_dir) / settings.generation.generation_dir


def _stem(place: str) -> str:
    """SEQ:START, or CLASS/SEQ:START, as a part of a file name."""
    return place.replace("/", "_").replace(":", "_")


def _write_frames(meshes: "MeshSequence", folder: Path, stem: str) -> None:
    """One OFF a frame, numbered from 1, for the published tools."""
    from worker.evaluation.mesh_files import write_off

    for frame, vertices in enumerate(meshes.vertices, start=1):
        write_off(folder / f"{stem}_{frame:04d}.off", vertices, meshes.faces, meshes.colors is not None)


def _draw(rows: list[Any], labels: list[str], folder: Path) -> None:
    from worker.rendering.contact_sheets import draw_rows

    draw_rows(rows, labels).save(folder / SHEET)
