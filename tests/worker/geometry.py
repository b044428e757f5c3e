"""Distances between point sets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def nearest(points: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.float64]:
    """How far each query [Q, 3] is from the nearest of the points [P, 3]: [Q]."""
    distances: Any = cKDTree(points).query(queries)[0]
    return np.asarray(distances, np.float64)
