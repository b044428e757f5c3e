"""The commands that make data sets: `worker data bodies`, `build`, `download` and `migrate`."""

from pathlib import Path
from typing import Annotated

import typer

Points = Annotated[int, typer.Option(min=1, help="On the surface, and as many in the box, a frame.")]
Seed = Annotated[int, typer.Option(min=0, help="Everything drawn follows from it.")]
Meshes = Annotated[bool, typer.Option(help="Write each frame as OBJ as well.")]
Images = Annotated[
    int, typer.Option(metavar="N_VIEWS", min=0, help="Render each frame from so many sides (RGB, JPEG).")
]
ImageSize = Annotated[int, typer.Option(min=16, help="Pixels a side of the images.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")]


def bodies(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Gets a folder `bodies` of sequences.")],
    people: Annotated[
        int,
        typer.Option(min=1, help="Each does ten motions: eight to train on, one each to validate and test."),
    ] = 10,
    new_people: Annotated[int, typer.Option(min=0, help="Kept for the split test_new_individual.")] = 2,
    frames: Annotated[int, typer.Option(min=2, help="Of each sequence, 60 a second.")] = 50,
    points: Points = 20_000,
    variety: Annotated[float, typer.Option(min=0, max=1, help="As data.bodies.variety.")] = 1.0,
    turn: Annotated[float, typer.Option(min=0, max=180, help="As data.bodies.turn, in degrees.")] = 30.0,
    seed: Seed = 0,
    meshes: Meshes = False,
    images: Images = 0,
    image_size: ImageSize = 224,
    workers: Workers = None,
) -> None:
    """Write moving bodies in the published layout, with a contact sheet and the recipe.

    Call it again after an interruption: what is done is kept.
    """
    from worker.data.bodies_writer import BodiesRecipe, write_bodies
    from worker.data.frame_writer import Sampling
    from worker.data.sequence_writer import available_cores

    recipe = BodiesRecipe(people, new_people, frames, variety, turn)
    sampling = Sampling(points, seed, meshes, images, image_size)
    raise typer.Exit(write_bodies(out, recipe, sampling, workers or available_cores()))


def build(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="MESHES... OUT", help="Folders of OBJ, PLY or OFF files; the data set last."),
    ],
    category: Annotated[
        str, typer.Option("--class", help="The folder of OUT that gets the sequences.")
    ] = "D-FAUST",
    points: Points = 100_000,
    seed: Seed = 0,
    meshes: Meshes = False,
    images: Images = 0,
    image_size: ImageSize = 224,
    workers: Workers = None,
) -> None:
    """Make a data set in the published layout from registered mesh sequences, one closed mesh a frame.

    Call it again after an interruption: what is done is kept.
    """
    from worker.data.build import build as run
    from worker.data.frame_writer import Sampling
    from worker.data.sequence_writer import available_cores

    *sources, out = folders
    if not sources:
        raise typer.BadParameter("expected one or more folders of meshes, then the data set's folder")
    sampling = Sampling(points, seed, meshes, images, image_size)
    raise typer.Exit(run(sources, out, category, sampling, workers or available_cores()))


def download(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Gets the folder `Humans`.")] = Path("data"),
    url: Annotated[str | None, typer.Option(help="A zip archive elsewhere.")] = None,
    sha256: Annotated[str | None, typer.Option(help="What the archive's checksum has to be.")] = None,
    keep: Annotated[bool, typer.Option(help="Do not delete the archive when it is unpacked.")] = False,
) -> None:
    """Fetch the published point data of D-FAUST (42 GB, and as much again while it is unpacked).

    Call it again after an interruption: it goes on where it was.
    """
    from worker.data.download import PUBLISHED
    from worker.data.download import download as run

    raise typer.Exit(run(url or PUBLISHED, out, sha256, keep))


def migrate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="MESHES... CLASS", help="Folders of meshes; last, the likes of data/Humans/D-FAUST."
        ),
    ],
) -> None:
    """Copy the meshes of D-FAUST, as OBJ, PLY or OFF, to the sequences of an existing data set."""
    from worker.data.migrate import migrate as run

    *sources, target = folders
    if not sources:
        raise typer.BadParameter("expected one or more folders of meshes, then the data set's class")
    raise typer.Exit(run(sources, target))
