"""Mesh simplification by quadric edge collapse (Garland and Heckbert 1997)."""

from threading import Lock

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.topology import is_closed

# Growth of the permitted error per collapse: the library's default, then gentler values that stop earlier.
AGGRESSIVENESS = (7.0, 5.0, 3.0)
TETRAHEDRON = 4
ONE_AT_A_TIME = Lock()  # between its calls the library keeps the mesh in global variables


def simplify(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], target_faces: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Reduce a mesh of vertices [V, 3] and faces [F, 3] to about `target_faces` faces, if it has more.

    A target too small for the topology of the shape would tear or collapse it. A closed mesh is then
    simplified less aggressively until it stays closed, which leaves more faces than requested; if it does not
    stay closed at any setting, the gentlest result is returned. Raises InputError for a target below 4.
    """
    if target_faces < TETRAHEDRON:
        raise InputError(f"simplify is {target_faces}: a closed surface has at least {TETRAHEDRON} faces.")
    if target_faces >= len(faces):
        return vertices, faces
    closed = is_closed(faces)
    for aggressiveness in AGGRESSIVENESS:
        with ONE_AT_A_TIME:
            fewer_vertices, fewer_faces = fast_simplification.simplify(
                vertices, faces, target_count=target_faces, agg=aggressiveness
            )
        if not closed or (len(fewer_faces) >= TETRAHEDRON and is_closed(fewer_faces)):
            break
    return np.asarray(fewer_vertices, np.float64), np.asarray(fewer_faces, np.int64)
