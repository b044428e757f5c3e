"""Registered mesh sequences on disk: one OBJ, PLY or OFF file a frame, of one topology, as D-FAUST has them.

A sequence is a folder of such files. Below a root it is named by its path, so that both
<root>/50002/knees/00000.obj and <root>/50002_knees/00000.obj are 50002_knees.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from worker.bodies.rig import Floats
from worker.data.errors import DataError

EXTENSIONS = (".obj", ".ply", ".off")
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
        return tuple(range(len(self.files)))

    @cached_property
    def faces(self) -> NDArray[np.int32]:
        """Faces [F, 3] of the first frame: closed, counter-clockwise from outside."""
        mesh = read_mesh(self.files[0])
        check_closed(mesh, self.files[0])
        faces = np.asarray(mesh.faces, dtype=np.int32)
        return faces if mesh.volume > 0 else np.ascontiguousarray(faces[:, ::-1])

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


def read_mesh(file: Path) -> trimesh.Trimesh:
    """A mesh with its vertices in the order of the file."""
    try:
        mesh = trimesh.load_mesh(file, process=False, maintain_order=True, skip_materials=True)
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise DataError(f"{file} cannot be read as a mesh: {error}") from None
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        raise DataError(f"{file} holds no triangles")
    if not np.isfinite(mesh.vertices).all():
        raise DataError(f"{file} holds vertices that are not finite numbers")
    return mesh


def natural_order(stem: str) -> list[tuple[int, str]]:
    """Sorts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", stem)]


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
    return tuple(sorted(files, key=lambda file: natural_order(file.stem)))


def _name(folder: Path, root: Path) -> str:
    parts = [part for part in folder.relative_to(root).parts if part != MESH_FOLDER]
    return "_".join(parts) or (root.parent.name if root.name == MESH_FOLDER else root.resolve().name)
