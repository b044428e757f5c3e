"""The motion of an encoded sequence moves a given mesh.

A motion says how the places of the unit box move, wherever the shape is: the mesh has to stand as the
sequence begins.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.meshes.sequence import MeshSequence
from model.metrics import nearest
from model.reconstruction.normalization import UnitBox
from worker.data.errors import DataError
from worker.tasks.decoding import Decoding
from worker.tasks.generative import codes_of
from worker.tasks.latent_space import LatentSpace
from worker.tasks.loaded import LoadedModel
from worker.tasks.shapes import read_shape

Mesh = tuple[NDArray[np.float64], NDArray[np.int32]]

FAR = 0.05  # more and the mesh hardly stands as the sequence begins


@dataclass(frozen=True, eq=False)
class Transferred:
    """The mesh in motion, in its own units, and how unlike the sequence's own shape it stands."""

    meshes: MeshSequence
    apart: float  # mean distance of its vertices to that shape's, in longest sides of its box


def read_surface(file: Path) -> Mesh:
    """Vertices [V, 3] and faces [F, 3] of an OBJ, PLY or OFF file. Raises DataError where it has no faces."""
    shape = read_shape(file)
    if shape.faces is None:
        raise DataError(f"{file} holds points alone; wanted a mesh, whose faces are moved along")
    return shape.points, shape.faces


def transfer_motion(model: LoadedModel, space: LatentSpace, row: int, mesh: Mesh) -> Transferred:
    """The motion of a row of the latent space on a mesh, whose first frame stays as it is.

    Raises EmptySurfaceError where the row's own shape has no surface.
    """
    given, faces = mesh
    decoding, codes = Decoding(model), codes_of(model, *space.mean(row, model.device))
    own, _ = decoding.extract(codes)
    box = UnitBox.around(given)
    inside = box.normalize(given)  # [V, 3]
    apart, _ = nearest(inside, own)
    moved = decoding.carry((inside, faces), codes)
    vertices = box.denormalize(moved.vertices)  # [T, V, 3]
    vertices[0] = given
    return Transferred(MeshSequence(vertices, moved.faces, moved.times, moved.colors), float(np.mean(apart)))
