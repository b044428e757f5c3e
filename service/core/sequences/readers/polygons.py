"""Polygons to triangles."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.readers.frame import MAX_FACES, Source, invalid, too_large


def triangles_of(polygons: Iterable[NDArray[np.int64]], source: Source, points: int) -> NDArray[np.int32]:
    """Faces [F, 3] from groups [K, n] of polygons with n corners each, as fans around their first corner.

    Raises SequenceError if a corner is not one of the `points`.
    """
    fans = [np.empty((0, 3), np.int64)]
    total = 0
    for group in polygons:
        if group.shape[1] < 3:
            continue  # points and lines, which bound nothing
        total += len(group) * (group.shape[1] - 2)
        if total > MAX_FACES:
            raise too_large(source, f"more than {MAX_FACES:,} faces", f"at most {MAX_FACES:,} in one frame")
        first = np.repeat(group[:, :1], group.shape[1] - 2, axis=1)
        fans.append(np.stack([first, group[:, 1:-1], group[:, 2:]], axis=-1).reshape(-1, 3))
    faces = np.concatenate(fans)
    if faces.size and (faces.min() < 0 or faces.max() >= points):
        found = f"corner {faces.min() if faces.min() < 0 else faces.max()} of {points:,} vertices"
        raise invalid(
            source, "has a face with a missing vertex", found, "corners that are vertices of the file"
        )
    return faces.astype(np.int32)


def grouped(polygons: list[list[int]]) -> list[NDArray[np.int64]]:
    """Polygons of any sizes as one array [K, n] for each run of neighbors of one size n, in their order."""
    groups: list[list[list[int]]] = []
    for polygon in polygons:
        if groups and len(groups[-1][0]) == len(polygon):
            groups[-1].append(polygon)
        else:
            groups.append([polygon])
    return [np.array(group, np.int64) for group in groups]
