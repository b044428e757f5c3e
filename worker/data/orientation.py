"""Faces of closed meshes turned outwards, part by part."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from worker.data.inside import winding_numbers

Floats = NDArray[np.float64]
Faces = NDArray[np.int32]


def outward_faces(vertices: Floats, faces: Faces) -> Faces:
    """The faces [F, 3] counter-clockwise from outside, in their order.

    Each part must be closed and turned one way. A part that is turned inwards is a cavity if it lies inside
    another part, and else one that was mirrored.
    """
    parts = _parts(len(vertices), faces)  # [F]
    corners = vertices[faces] - vertices.mean(axis=0)  # [F, 3, 3]; large coordinates would cancel
    sizes = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    volumes = np.bincount(parts, sizes)  # [parts], six times the volume
    if volumes[np.abs(volumes).argmax()] < 0:  # all inside out, so that cavities are turned as well
        faces, volumes = np.ascontiguousarray(faces[:, ::-1]), -volumes
    solid = volumes[parts] > 0  # [F]
    if solid.all():
        return faces
    turned = np.zeros(len(volumes), bool)
    for part in np.flatnonzero(volumes < 0):
        inner = vertices[faces[parts == part][:, 0]]
        turned[part] = not (winding_numbers(vertices, faces[solid], inner) > 0).all()
    flipped: Faces = np.where(turned[parts][:, None], faces[:, ::-1], faces)
    return flipped


def _parts(count: int, faces: Faces) -> NDArray[np.int32]:
    """The number of the connected part that each face belongs to [F]."""
    a, b, c = faces.T
    rows, columns = np.concatenate([a, b]), np.concatenate([b, c])
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, parts = np.unique(labels[a], return_inverse=True)
    return np.asarray(parts, np.int32)
