"""What the faces of a mesh say, whatever place its vertices take."""

import numpy as np
from numpy.typing import NDArray


def is_closed(faces: NDArray[np.integer]) -> bool:
    """Whether every edge of faces [F, 3] lies on exactly two, which run along it in opposite directions."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)  # [3F, 2]
    count = int(faces.max()) + 1
    forth = np.sort(edges[:, 0] * count + edges[:, 1])
    back = np.sort(edges[:, 1] * count + edges[:, 0])
    # No edge is run along twice in one direction, and each has its way back.
    return bool((np.diff(forth) > 0).all() and np.array_equal(forth, back))
