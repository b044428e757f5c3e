"""A folder of registered meshes: the same faces in each, vertex i the same particle."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.data.errors import DataError
from worker.data.mesh_sequences import find_mesh_sequences, read_mesh

INSTEAD = "wanted registered meshes; `worker match` carries a mesh onto one of another topology"


@dataclass(frozen=True, eq=False)
class RegisteredMeshes:
    """At least two meshes, in the order of their file names. They need not be closed."""

    files: tuple[Path, ...]
    vertices: NDArray[np.float64]  # [K, V, 3]
    faces: NDArray[np.int32]  # [F, 3]


def read_registered(folder: Path) -> RegisteredMeshes:
    """Read the OBJ, PLY or OFF files of a folder. Raises DataError where they are not registered."""
    sequences = find_mesh_sequences([folder])
    if len(sequences) > 1:
        names = ", ".join(str(sequence.files[0].parent) for sequence in sequences[:4])
        raise DataError(f"{folder} holds {len(sequences)} sequences ({names}, …); wanted the folder of one")
    files = sequences[0].files
    if len(files) < 2:
        raise DataError(f"{folder} holds one mesh, {files[0].name}; wanted two at least, to go between")
    meshes = [read_mesh(file) for file in files]
    first = meshes[0]
    for file, mesh in zip(files, meshes, strict=True):
        if len(mesh.vertices) != len(first.vertices):
            raise DataError(
                f"{file.name} has {len(mesh.vertices)} vertices and {files[0].name} {len(first.vertices)}; "
                f"{INSTEAD}"
            )
        if not np.array_equal(_corners(mesh.faces), _corners(first.faces)):
            raise DataError(
                f"{file.name} has {len(mesh.faces)} faces, not the same as the {len(first.faces)} of "
                f"{files[0].name}; {INSTEAD}"
            )
    vertices = np.stack([np.asarray(mesh.vertices, np.float64) for mesh in meshes])
    return RegisteredMeshes(files, vertices, np.asarray(first.faces, np.int32))


def _corners(faces: NDArray[np.integer]) -> NDArray[np.integer]:
    """Whichever corner a face begins with, and whichever way it runs."""
    return np.sort(np.asarray(faces), axis=1)
