"""Fewer faces for the same surface: quadric edge collapse (Garland and Heckbert 1997)."""

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.topology import is_closed

# How fast the error allowed to a collapse grows: the library's own, then gentler ones that stop earlier.
AGGRESSIVENESS = (7.0, 5.0, 3.0)
TETRAHEDRON = 4


def simplify(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], target_faces: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Reduce a mesh of vertices [V, 3] and faces [F, 3] to about `target_faces`, if it has more.

    A target too small for the shape (a ring cannot be had from a dozen faces) would tear it or crush it flat.
    A closed mesh is then reduced as far as it stays closed under a gentler setting, which leaves more faces
    than asked for. Where none keeps it closed, the gentlest is returned, open. Raises `InputError` where the
    target is below 4.
    """
    if target_faces < TETRAHEDRON:
        raise InputError(f"simplify is {target_faces}: a closed surface has at least {TETRAHEDRON} faces.")
    if target_faces >= len(faces):
        return vertices, faces
    closed = is_closed(faces)
    for aggressiveness in AGGRESSIVENESS:
        fewer_vertices, fewer_faces = fast_simplification.simplify(
            vertices, faces, target_count=target_faces, agg=aggressiveness
        )
        if not closed or (len(fewer_faces) >= TETRAHEDRON and is_closed(fewer_faces)):
            break
    return np.asarray(fewer_vertices, np.float64), np.asarray(fewer_faces, np.int64)
