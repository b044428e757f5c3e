"""`worker data build`: registered mesh sequences to a data set in the published layout."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from worker.data.dfaust import tell_splits
from worker.data.errors import DataError
from worker.data.frame_writer import Sampling
from worker.data.mesh_sequences import find_mesh_sequences, split_at_gaps
from worker.data.recipe import keep_recipe
from worker.data.sequence_writer import write_sequences

console = Console(soft_wrap=True)


def build(sources: list[Path], root: Path, category: str, sampling: Sampling, workers: int) -> int:
    """Write the sequences below `sources` to `root`/<category>/<sequence>. Returns the exit code: 0 or 2."""
    folder = root / category
    try:
        found = find_mesh_sequences(sources)
        sequences = split_at_gaps(found)
        if len(sequences) > len(found):
            console.print(
                f"{len(sequences) - len(found)} gaps in the numbers of frames: each run becomes a sequence"
            )
        frames = sum(len(sequence.files) for sequence in sequences)
        console.print(f"{len(sequences)} sequences, {frames} frames")
        keep_recipe(folder, {"made_by": "worker data build", **asdict(sampling)})
        before = write_sequences(sequences, folder, sampling, workers, console)
    except (DataError, OSError) as error:
        console.print(f"[red]not built[/]: {error}", highlight=False)
        return 2
    console.print(f"{len(sequences) - before} sequences written to {folder}, {before} were there before")
    console.print(f"Train on them with data.path={root} data.classes='[{category}]'.", markup=False)
    tell_splits(folder, console)
    if not list(folder.glob("*.lst")):
        console.print(
            "Name the sequences of each split, one a line, in train.lst, val.lst and test.lst there."
        )
    return 0
