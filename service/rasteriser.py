"""Which face of a mesh is seen at each pixel, by numpy alone: a z-buffer over all faces at once.

screen = camera.project(vertices, (width, height))          # [V, 3]: pixel position and depth
pixel, face, weights = rasterise(screen, faces, (width, height))
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
CANDIDATES = 1_000_000  # pixels tested at once; bounds the memory


def rasterise(
    screen: Floats, faces: NDArray[np.integer], size: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The nearest face at each covered pixel: pixel number [P], face number [P], barycentric weights [P, 3].

    `screen` [V, 3] are pixel position and depth. Each face is tested at all pixels of its bounding box.
    """
    width, height = size
    corner = screen[faces]  # [F, 3, 3]
    position = np.concatenate([corner[..., :2], np.ones((len(faces), 3, 1))], axis=2)  # (x, y, 1)
    area = doubled_area(screen, faces)
    # A corner's weight at (x, y) is plane · (x, y, 1); plane is the cross product of the other two corners.
    plane = np.cross(np.roll(position, -1, axis=1), np.roll(position, -2, axis=1))
    plane = np.moveaxis(plane / np.where(area == 0, np.inf, area)[:, None, None], 0, 2)  # [3, 3, F]
    # Pixel centres lie at halves. A face behind the viewer is not drawn.
    low = np.clip(np.ceil(corner[..., :2].min(axis=1) - 0.5), 0, size).astype(np.intp)  # [F, 2]
    high = np.clip(np.floor(corner[..., :2].max(axis=1) - 0.5) + 1, 0, size).astype(np.intp)
    box = np.maximum(high - low, 0)
    box[(area == 0) | (corner[..., 2].min(axis=1) <= 0)] = 0
    count = box.prod(axis=1)  # [F]
    # One over the depth, unlike the depth, is linear on the screen.
    closeness = (plane * (1 / np.maximum(corner[..., 2].T, 1e-9))[:, None]).sum(axis=0)  # [3, F]

    nearest = np.zeros(width * height)
    face_at = np.full(width * height, -1, dtype=np.intp)
    drawn = np.flatnonzero(count)
    batch = np.cumsum(count[drawn]) // CANDIDATES
    for rows in np.split(drawn, np.flatnonzero(np.diff(batch)) + 1):
        face = np.repeat(rows, count[rows])  # [C]
        within = np.arange(len(face)) - np.repeat(np.cumsum(count[rows]) - count[rows], count[rows])
        down, across = np.divmod(within, box[face, 0])
        x, y = low[face, 0] + across, low[face, 1] + down
        first, second, third = (_linear_at(weight, face, x, y) for weight in plane)
        inside = np.flatnonzero((first >= 0) & (second >= 0) & (third >= 0))
        x, y, face = x[inside], y[inside], face[inside]
        pixel, close = y * width + x, _linear_at(closeness, face, x, y)
        np.maximum.at(nearest, pixel, close)
        wins = close == nearest[pixel]
        face_at[pixel[wins]] = face[wins]
    covered = np.flatnonzero(face_at >= 0)
    face = face_at[covered]
    y, x = np.divmod(covered, width)
    return covered, face, np.stack([_linear_at(weight, face, x, y) for weight in plane], axis=1)


def doubled_area(screen: Floats, faces: NDArray[np.integer]) -> Floats:
    """Signed, twice the area [F] of each face in pixels: positive where its corners run clockwise as seen."""
    (x0, y0), (x1, y1), (x2, y2) = (screen[faces[:, k], :2].T for k in range(3))
    area: Floats = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    return area


def vertex_normals(vertices: Floats, faces: NDArray[np.integer]) -> Floats:
    """Mean normal [V, 3] of the faces around each vertex, weighted by area; not of unit length."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)  # [F, 3]
    columns = [
        np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), minlength=len(vertices))
        for axis in range(3)
    ]
    return np.stack(columns, axis=1)


def _linear_at(plane: Floats, face: NDArray[np.intp], x: NDArray[np.intp], y: NDArray[np.intp]) -> Floats:
    """Values [C] of linear functions, one a face ([3, F]), at the centres of pixels (x, y)."""
    value: Floats = plane[0, face] * (x + 0.5) + plane[1, face] * (y + 0.5) + plane[2, face]
    return value
