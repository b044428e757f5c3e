"""`worker data bodies`: moving bodies written to disk in the published layout."""

from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from worker.data.bodies_sheet import draw_sheet
from worker.data.body_sequences import split_bodies
from worker.data.errors import DataError
from worker.data.frame_writer import Sampling
from worker.data.recipe import keep_recipe
from worker.data.sequence_writer import write_sequences

CLASS = "bodies"  # the folder below the data set's that holds the sequences
SHEET = "contact_sheet.png"
console = Console(soft_wrap=True)


@dataclass(frozen=True)
class BodiesRecipe:
    """All that the data set depends on."""

    people: int  # each does all ten actions, of which one is kept for validation and one for testing
    new_people: int  # of `test_new_individual` alone
    frames: int
    variety: float
    turn: float


def write_bodies(root: Path, recipe: BodiesRecipe, sampling: Sampling, workers: int) -> int:
    """Write `root`/bodies with sequences, lists, recipe and contact sheet. Returns the exit code: 0 or 2."""
    folder = root / CLASS
    splits = split_bodies(seed=sampling.seed, **asdict(recipe))
    sequences = [sequence for split in splits.values() for sequence in split]
    try:
        keep_recipe(folder, {"made_by": "worker data bodies", **asdict(recipe), **asdict(sampling)})
        for name, split in splits.items():
            names = "".join(f"{sequence.name}\n" for sequence in split)
            (folder / f"{name}.lst").write_text(names, encoding="ascii")
        draw_sheet(sequences).save(folder / SHEET)
        console.print(
            f"{len(sequences)} sequences of {recipe.frames} frames; see {folder / SHEET}", markup=False
        )
        before = write_sequences(sequences, folder, sampling, workers, console)
    except (DataError, OSError) as error:
        console.print(f"[red]not written[/]: {error}", highlight=False)
        return 2
    console.print(f"{len(sequences) - before} sequences written to {folder}, {before} were there before")
    console.print(f"Train on them with data.path={root} data.classes='[{CLASS}]'.", markup=False)
    return 0
