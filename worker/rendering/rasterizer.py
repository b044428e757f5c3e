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
    x, y, depth = screen.T[:, faces.T]  # [3, F] each, a row a corner
    # Pixel centres lie at halves. A face behind the viewer is not drawn.
    low = np.ceil(np.stack([x.min(axis=0), y.min(axis=0)]) - 0.5)  # [2, F]
    high = np.floor(np.stack([x.max(axis=0), y.max(axis=0)]) - 0.5) + 1
    low, high = (np.clip(edge, 0, np.array(size)[:, None]) for edge in (low, high))
    area = doubled_area(screen, faces)
    # [D]: of a fine mesh, few faces hold the centre of a pixel
    drawn = np.flatnonzero((high > low).all(axis=0) & (area != 0) & (depth.min(axis=0) > 0))
    x, y, depth, area = x[:, drawn], y[:, drawn], depth[:, drawn], area[drawn]
    left, top = low[:, drawn].astype(np.intp)
    across, down = (high - low)[:, drawn].astype(np.intp)
    count = across * down
    # A corner's weight at (x, y) is plane · (x, y, 1): the cross product of the other two corners' (x, y, 1).
    second, third = [1, 2, 0], [2, 0, 1]
    normal = (y[second] - y[third], x[third] - x[second], x[second] * y[third] - x[third] * y[second])
    plane = np.stack(normal, axis=1) / area  # [3 corners, 3, D]
    closeness = (plane / depth[:, None]).sum(
        axis=0
    )  # [3, D]; 1 / depth is linear on the screen, depth is not

    nearest = np.zeros(width * height)
    row_at = np.full(width * height, -1, dtype=np.intp)
    batch = np.cumsum(count) // CANDIDATES
    for rows in np.split(np.arange(len(drawn)), np.flatnonzero(np.diff(batch)) + 1):
        row = np.repeat(rows, count[rows])  # [C]
        within = np.arange(len(row)) - np.repeat(np.cumsum(count[rows]) - count[rows], count[rows])
        rows_down, columns = np.divmod(within, across[row])
        px, py = left[row] + columns, top[row] + rows_down
        weights = [_linear_at(weight, row, px, py) for weight in plane]
        inside = np.flatnonzero((weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0))
        px, py, row = px[inside], py[inside], row[inside]
        pixel, close = py * width + px, _linear_at(closeness, row, px, py)
        np.maximum.at(nearest, pixel, close)
        wins = close == nearest[pixel]
        row_at[pixel[wins]] = row[wins]
    covered = np.flatnonzero(row_at >= 0)
    row = row_at[covered]
    py, px = np.divmod(covered, width)
    return covered, drawn[row], np.stack([_linear_at(weight, row, px, py) for weight in plane], axis=1)


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
    """Values [C] of linear functions, one a face ([3, D]), at the centres of pixels (x, y)."""
    value: Floats = plane[0, face] * (x + 0.5) + plane[1, face] * (y + 0.5) + plane[2, face]
    return value
