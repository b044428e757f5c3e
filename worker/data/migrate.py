"""`worker data migrate`: the meshes of D-FAUST, which each user asks for, into the published data set."""

import shutil
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from worker.data.dfaust import tell_splits
from worker.data.errors import DataError
from worker.data.frames import Frames
from worker.data.mesh_sequences import MESH_FOLDER, MeshSequence, find_mesh_sequences, read_mesh
from worker.data.windows import open_frames

TOLERANCE = 0.01  # in longest sides of the box: float16 stores its centre and its points

console = Console(soft_wrap=True)


def migrate(sources: list[Path], target: Path) -> int:
    """Copy meshes to the sequences of the same names in `target`, such as data/Humans/D-FAUST.

    Returns the exit code: 0 or 2. What is there already is kept; meshes of other sequences are left out.
    """
    try:
        if not target.is_dir():
            raise DataError(f"there is no folder {target}; wanted a class of a data set, such as D-FAUST")
        found = find_mesh_sequences(sources)
        known = [sequence for sequence in found if (target / sequence.name).is_dir()]
        if not known:
            raise DataError(
                f"none of the {len(found)} sequences of meshes is in {target}; the first is {found[0].name}"
            )
        for sequence in track(known, "meshes", console=console):
            _migrate_sequence(sequence, target / sequence.name)
    except (DataError, OSError) as error:
        console.print(f"[red]not migrated[/]: {error}", highlight=False)
        return 2
    without = sorted(
        folder.name
        for folder in target.iterdir()
        if _is_sequence(folder) and not (folder / MESH_FOLDER).is_dir()
    )
    tell_splits(target, console)
    console.print(f"{len(known)} sequences have meshes, {len(found) - len(known)} others were left out")
    if without:
        console.print(f"{len(without)} sequences have none: {', '.join(without[:5])}", highlight=False)
    return 0


def _is_sequence(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(".")


def _migrate_sequence(meshes: MeshSequence, sequence: Path) -> None:
    frames = open_frames(sequence / "pcl_seq")
    files = dict(zip(meshes.numbers, meshes.files, strict=True))
    if missing := [number for number in frames.numbers if number not in files]:
        raise DataError(
            f"{sequence} has frame {missing[0]}, and {meshes.files[0].parent} no mesh of it; wanted all of "
            f"{len(frames.numbers)} frames"
        )
    for index in {0, len(frames.numbers) - 1}:
        _check_same_body(files[frames.numbers[index]], frames, index)
    folder = sequence / MESH_FOLDER
    folder.mkdir(exist_ok=True)
    for number in frames.numbers:
        copy = folder / f"{number:05d}.obj"
        if not copy.exists():
            part = copy.with_name(f".{copy.name}.part")
            if files[number].suffix.lower() == ".obj":
                shutil.copyfile(files[number], part)
            else:
                read_mesh(files[number]).export(part, file_type="obj")
            part.replace(copy)


def _check_same_body(file: Path, frames: Frames, index: int) -> None:
    """Raise DataError where a mesh is not the one that the frame's points were drawn on."""
    frame = frames[index]
    low, high = np.asarray(read_mesh(file).bounds, dtype=np.float64)  # [3] each
    away = np.abs((low + high) / 2 - frame.loc).max() / frame.scale
    larger = abs((high - low).max() / frame.scale - 1)
    if max(away, larger) > TOLERANCE:
        raise DataError(
            f"{file} is not the mesh of {frame.source}: its box is {away:.0%} of a side away and "
            f"{larger:.0%} off in size; wanted the registrations that the data set was made from, in their "
            "units and place"
        )
