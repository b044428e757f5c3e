"""Move a surface onto the points measured near it, without following their noise.

Every point says how far it lies off the surface along the normal. These residuals are averaged over the
surface by normalized convolution (Knutsson and Westin, 1993): sums of weighted residuals and of weights
diffuse over the mesh and are then divided, so that a place with many points follows them and a place without
keeps its shape.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_array, diags_array, eye_array
from scipy.sparse.linalg import splu

from model.canceling import cancelable, cancellation_point
from model.compiled import Floats, Ints
from model.registration.backends import NUMBA
from model.registration.graph import vertex_normals
from model.registration.parallel import side_by_side

GATHERED = 6.0  # points that one place averages over, at least
BELIEF = 0.5  # weight of the surface as it is, in points
REACH = 0.05  # how far from its points the surface of a network may be, in units of registration
Smooth = Callable[[Floats], Floats]  # values [V] → values [V]
Nearest = Callable[[Floats, Floats, int, float], tuple[Floats, Ints]]  # as `Backend.nearest`


def pull(
    vertices: Floats,
    faces: Ints,
    points: Floats,
    reach: float,
    rounds: int = 3,
    nearest: Nearest = NUMBA.nearest,
) -> Floats:
    """Vertices [V, 3] moved along their normals onto points [N, 3] nearer than `reach`."""
    # The number of points within reach hardly changes, so one factorization serves all rounds.
    smooth = diffusion(vertices, faces, _share(len(vertices), len(points)))
    for _ in range(rounds):
        vertices = vertices + offsets(vertices, faces, [vertices], [points], reach, smooth, nearest)
    return vertices


def offsets(
    vertices: Floats,
    faces: Ints,
    moved: Sequence[Floats],
    clouds: Sequence[Floats],
    reach: float,
    smooth: Smooth | None = None,
    nearest: Nearest = NUMBA.nearest,
) -> Floats:
    """Offsets [V, 3] of the resting surface that put it, moved as in each frame, on the clouds of all frames.

    `moved` holds the vertices [V, 3] of each frame and `clouds` its points [N_t, 3]. Residuals along the
    normal are the same in every frame, however it turned, so they add up at rest; those that disagree with
    their surroundings count less. `smooth` is the `diffusion` of this mesh, where it is known already.
    """

    def residuals(frame: tuple[Floats, Floats]) -> tuple[Ints, Floats]:
        cancellation_point()
        return _residuals(frame[0], vertex_normals(frame[0], faces), frame[1], reach, nearest)

    found = side_by_side(residuals, list(zip(moved, clouds, strict=True)))
    at = np.concatenate([f[0] for f in found])
    residual = np.concatenate([f[1] for f in found])
    if not len(at):
        return np.zeros_like(vertices)
    smooth = smooth or diffusion(vertices, faces, _share(len(vertices), len(at)))
    weight = np.ones(len(at))
    height = np.zeros(len(vertices))
    for _ in cancelable(range(3)):
        mass = smooth(np.bincount(at, weight, len(vertices)).astype(np.float64))
        height = smooth(np.bincount(at, weight * residual, len(vertices)).astype(np.float64)) / (
            mass + BELIEF * len(at) / len(vertices) / len(moved)
        )
        off = residual - height[at]
        scale = 2 * 1.4826 * np.median(np.abs(off)) + 1e-12
        weight = 1 / (1 + (off / scale) ** 2) ** 2
    return height[:, None] * vertex_normals(vertices, faces)


def _residuals(
    vertices: Floats, normals: Floats, points: Floats, reach: float, nearest: Nearest
) -> tuple[Ints, Floats]:
    distance, index = nearest(vertices, points, 1, reach)
    near = distance[:, 0] < reach
    found = index[near, 0]
    return found, ((points[near] - vertices[found]) * normals[found]).sum(1)


def _share(vertices: int, points: int) -> float:
    """How many vertices to average over, so that they hold `GATHERED` points."""
    return max(1.0, GATHERED * vertices / points)


def diffusion(vertices: Floats, faces: Ints, share: float) -> Smooth:
    """A function that spreads values [V] over about `share` vertices around each."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    shape = (len(vertices), len(vertices))
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape).tocsr()
    links = links.maximum(links.T)
    laplacian = diags_array(links.sum(1)) - links
    matrix = eye_array(len(vertices)) + share / (4 * np.pi) * laplacian
    # Symmetric and diagonally dominant: pivots stay on the diagonal, in an order for such matrices.
    solve: Smooth = splu(
        matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    ).solve
    return solve
