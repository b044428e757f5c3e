"""Registered mesh sequences on disk: one OBJ, PLY, OFF or STL file a frame, all of one topology.

A sequence is a folder of such files. Below a root it is named by its path, so that both
<root>/50002/knees/00000.obj and <root>/50002_knees/00000.obj are 50002_knees.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from service.core.sequences.errors import SequenceError
from service.core.sequences.formats import FRAME_READERS
from service.core.sequences.names import frame_numbers, natural_order
from service.core.sequences.readers.frame import FileSource
from worker.bodies.rig import Floats
from worker.data.errors import DataError
from worker.data.orientation import outward_faces

EXTENSIONS = (".obj", ".ply", ".off", ".stl")
MAX_VERTICES = 4_000_000
MESH_FOLDER = "mesh_seq"  # in the published layout, inside the sequence


@dataclass(frozen=True)
class MeshSequence:
    """The frames of one folder, read when they are asked for. Raises DataError that names the file."""

    name: str
    files: tuple[Path, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers that the files are named by, else counted from 0."""
        if all(file.stem.isdecimal() for file in self.files):
            return tuple(int(file.stem) for file in self.files)
        return tuple(frame_numbers([file.name for file in self.files]) or range(len(self.files)))

    @cached_property
    def faces(self) -> NDArray[np.int32]:
        """Faces [F, 3] of the first frame: closed, counter-clockwise from outside."""
        mesh = read_mesh(self.files[0])
        check_closed(mesh, self.files[0])
        return outward_faces(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int32))

    @cached_property
    def all_vertices(self) -> Floats:
        """Vertices [T, V, 3]."""
        return np.stack([self.vertices(index) for index in range(len(self.files))])

    def vertices(self, index: int) -> Floats:
        """Vertices [V, 3] of a frame, whose faces must be those of the first."""
        file = self.files[index]
        mesh = read_mesh(file)
        own, shared = np.sort(np.asarray(mesh.faces), axis=1), np.sort(self.faces, axis=1)
        if own.shape != shared.shape or (own != shared).any():
            raise DataError(
                f"{file} has {len(own)} faces, not the same as the {len(shared)} of {self.files[0]}; wanted "
                "registered meshes, of which all frames share one topology"
            )
        return np.asarray(mesh.vertices, dtype=np.float64)


def find_mesh_sequences(roots: list[Path]) -> list[MeshSequence]:
    """All sequences in and below these folders, sorted by name."""
    sequences = []
    for root in roots:
        if not root.is_dir():
            raise DataError(f"there is no folder {root}")
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        found = {folder: _mesh_files(folder) for folder in folders}
        sequences += [MeshSequence(_name(folder, root), files) for folder, files in found.items() if files]
    if not sequences:
        places = ", ".join(map(str, roots))
        raise DataError(f"no meshes in or below {places}; wanted one {', '.join(EXTENSIONS)} file a frame")
    repeated = [name for name, count in Counter(s.name for s in sequences).items() if count > 1]
    if repeated:
        raise DataError(f"two folders give a sequence the name {repeated[0]}; give them apart")
    return sorted(sequences, key=lambda sequence: sequence.name)


def split_at_gaps(sequences: list[MeshSequence]) -> list[MeshSequence]:
    """Sequences whose frames have missing numbers as one sequence for each run without a gap.

    A window of successive frames then never skips time. Runs are named by their first number.
    """
    runs = []
    for sequence in sequences:
        numbers = np.array(sequence.numbers)
        steps = np.diff(numbers)
        gaps = np.flatnonzero(steps > steps.min()) + 1 if steps.size else steps
        for rows in np.split(np.arange(len(numbers)), gaps):
            name = f"{sequence.name}_{numbers[rows[0]]:05d}" if gaps.size else sequence.name
            runs.append(MeshSequence(name, tuple(sequence.files[row] for row in rows)))
    return runs


def read_mesh(file: Path) -> trimesh.Trimesh:
    """A mesh with the vertices that its faces use, in the order of the file. Raises DataError."""
    try:
        frame = FRAME_READERS[file.suffix.lower()](FileSource(file), MAX_VERTICES)
    except (SequenceError, OSError) as error:
        raise DataError(f"{file} cannot be read as a mesh: {error}") from None
    if frame.faces is None:
        raise DataError(f"{file} holds no triangles")
    if not np.isfinite(frame.points).all():
        raise DataError(f"{file} holds vertices that are not finite numbers")
    used, faces = np.unique(frame.faces, return_inverse=True)
    return trimesh.Trimesh(frame.points[used], faces.reshape(-1, 3), process=False)


def check_closed(mesh: trimesh.Trimesh, file: Path) -> None:
    """Raise DataError where inside and outside are not defined."""
    _, uses = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    if odd := int((uses != 2).sum()):
        raise DataError(
            f"{file} is not closed: {odd} of {len(uses)} edges do not join exactly two faces; wanted a "
            "watertight mesh, since occupancy says what is inside"
        )
    if not mesh.is_winding_consistent:
        raise DataError(f"{file}: neighbouring faces are turned against each other; wanted one orientation")


def _mesh_files(folder: Path) -> tuple[Path, ...]:
    files = [file for file in folder.iterdir() if file.suffix.lower() in EXTENSIONS and file.name[0] != "."]
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise DataError(f"{folder} holds {' and '.join(kinds)} files; wanted one kind a sequence")
    return tuple(sorted(files, key=lambda file: natural_order(file.name)))


def _name(folder: Path, root: Path) -> str:
    parts = [part for part in folder.relative_to(root).parts if part != MESH_FOLDER]
    return "_".join(parts) or (root.parent.name if root.name == MESH_FOLDER else root.resolve().name)
