"""Points that are the same particles in every frame: whether they are, and the paths behind their noise."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.frames import even_frames
from model.registration.filling import fill
from model.registration.neighbors import Neighbors, neighbors, path_neighbors

LOOKED_AT = 600  # rows
LEAST = 16  # rows that two frames must share
PAIRS = 8  # of frames
BROKEN = 0.3  # of one step, beyond which rows became other particles
SCATTERED = 0.05  # beyond it rows do not correspond; clouds sorted alike, as scanners do, reach 0.08 and more
MOST_SAMPLES = 2000  # the side of the largest matrix that is decomposed
OUTLYING = 3.0  # isolation of a path
LEAST_SEEN = 0.05  # of the frames, or a row is dropped: gaps between many short paths add up
# Of the size, from which a row moves; of its way, up to which that is straight; share of rows that move so.
MOVING, STRAIGHT, NEARLY_ALL = 0.002, 0.01, 0.9
# Of pixels: but for a share of them they are within a cone, its cosine, and away from the camera, in widths.
OUTER, VIEW, BEFORE = 0.05, 0.5, 0.1
DISTANT = 10.0  # times as far apart as neighbors: rows picked at random count as no further


@dataclass(frozen=True)
class Correspondence:
    """`scatter` is 0 where neighbours stay as close as they were, 1 where rows are shuffled.

    `broken` are frames at which rows become other particles, though they correspond elsewhere; `pixels` says
    that rows are those of a depth camera.
    """

    holds: bool
    scatter: float
    broken: tuple[int, ...] = ()
    pixels: bool = False


def find_correspondence(frames: list[Floats], valid: NDArray[np.bool_] | None = None) -> Correspondence:
    """Whether row j is one particle in all frames [N_t, 3]: whether neighbours stay neighbours.

    The distance between rows that were nearest in one frame is compared, in another frame, with what it was
    (0) and with that of rows picked at random (1). Frames next to each other, and the first with the last.
    Neighboring pixels of a depth camera stay neighbors, too, but what they see moves along their rays only.
    `valid` [T, N] says which points to believe.
    """
    if len({len(cloud) for cloud in frames}) > 1:
        return Correspondence(False, 1.0)
    rows = np.random.default_rng(0).permutation(len(frames[0]))
    if valid is not None:  # rows that are seen most
        rows = rows[np.argsort(-valid[:, rows].sum(axis=0), kind="stable")]
    rows = rows[:LOOKED_AT]
    some = [np.asarray(cloud, np.float64)[rows] for cloud in frames]
    seen = np.ones((len(frames), len(rows)), bool) if valid is None else valid[:, rows]

    @cache
    def scatter_of(first: int, second: int) -> float:
        both = seen[first] & seen[second]
        return _scatter(some[first][both], some[second][both]) if both.sum() >= LEAST else np.nan

    starts = even_frames(len(frames) - 1, PAIRS)
    pairs = [(start, start + 1) for start in starts] + [(0, len(frames) - 1)]
    scatters = np.array([scatter_of(*pair) for pair in cancelable(pairs)])
    known = scatters[np.isfinite(scatters)]
    scatter = float(np.clip(np.median(known), 0, 1)) if len(known) else 1.0
    if scatter >= SCATTERED:
        return Correspondence(False, scatter)
    if _are_pixels(np.stack(some), seen):
        return Correspondence(False, scatter, pixels=True)
    steps = np.array([scatter_of(t, t + 1) for t in cancelable(range(len(frames) - 1))])
    broken = tuple(int(t) + 1 for t in np.flatnonzero(steps > BROKEN))
    return Correspondence(not broken, scatter, broken)


def _scatter(before: Floats, after: Floats) -> float:
    near = neighbors(before, max(3, min(8, len(before) // 16)))
    was = np.median(near.distance)
    now = np.median(np.linalg.norm(after[near.index] - after[:, None], axis=2))
    apart, chance = (
        np.median(np.linalg.norm(np.roll(side, len(side) // 2, axis=0) - side, axis=1))
        for side in (before, after)
    )
    if was > 0 < apart:  # of things far apart rows may be shuffled within each; what grows is no such
        chance = min(chance, DISTANT * was * max(1, chance / apart))
    # Where all lies closer than neighbors did, neighbors have stayed close.
    return float((now - was) / (chance - was)) if chance > was else 0.0


def _are_pixels(paths: Floats, seen: NDArray[np.bool_]) -> bool:
    """Whether the `seen` [T, R] points of rows [T, R, 3] move along rays through one point: the camera."""
    seen = seen & (seen.sum(axis=0) > 2)
    count = np.maximum(seen.sum(axis=0), 1)[:, None]  # [R, 1]
    middle = np.where(seen[..., None], paths, 0).sum(axis=0) / count  # [R, 3]
    offset = np.where(seen[..., None], paths - middle, 0)  # [T, R, 3]
    size = np.ptp(paths[seen], axis=0).max() if seen.any() else 0.0
    if size == 0:
        return False
    squares, axes = np.linalg.eigh(np.einsum("tri,trj->rij", offset, offset) / (count[..., None] * size**2))
    across, along = np.sqrt(np.maximum(squares[:, 1], 0)), np.sqrt(np.maximum(squares[:, 2], 0))
    moving = along > MOVING
    straight = moving & (across < STRAIGHT * along)
    if straight.sum() < max(LEAST, NEARLY_ALL * moving.sum()):
        return False
    along_rays = axes[straight, :, 2, None] * axes[straight, None, :, 2]  # [S, 3, 3]
    if np.linalg.eigvalsh(along_rays.mean(axis=0))[1] < STRAIGHT**2:  # parallel: all goes straight ahead
        return False
    planes = np.eye(3) - along_rays
    center = np.linalg.pinv(planes.sum(axis=0)) @ np.einsum("rij,rj->i", planes, middle[straight])
    missed = np.linalg.norm(np.einsum("rij,rj->ri", planes, center - middle[straight]), axis=1)
    wide = np.ptp(middle[straight], axis=0).max()
    ahead = middle[straight] - center
    distance = np.linalg.norm(ahead, axis=1)
    seen_by = ahead / np.maximum(distance, np.finfo(np.float64).tiny)[:, None]
    view = np.quantile(seen_by @ seen_by.mean(axis=0), OUTER) / np.linalg.norm(seen_by.mean(axis=0))
    before = np.quantile(distance, OUTER) > BEFORE * wide  # what grows does so from a place within
    return bool(np.median(missed) < STRAIGHT * wide and view > VIEW and before)


@dataclass(frozen=True)
class Paths:
    """`points` [T, R, 3] of the `rows` [R] kept; `noise` is the standard deviation that coordinates had."""

    points: Floats
    rows: Ints
    noise: float


def often_seen(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows have a path: those that are `valid` [T, N] in several frames. [N]."""
    return np.asarray((valid.mean(axis=0) >= LEAST_SEEN) & (valid.sum(axis=0) > 1))


def breaks(valid: NDArray[np.bool_]) -> list[int]:
    """Frames that no paths lead to: hardly a row is `valid` [T, N] in them and in the frame before."""
    seen = valid[:, often_seen(valid)]
    return [int(t) + 1 for t in np.flatnonzero((seen[1:] & seen[:-1]).sum(axis=1) < LEAST)]


def filter_paths(points: Floats, valid: NDArray[np.bool_] | None = None) -> Paths:
    """The paths behind noisy corresponding points [T, N, 3], where `valid` [T, N] says which to believe.

    Rows valid in hardly a frame, or whose path leads away from all others, are dropped; gaps are filled.
    Noise is taken out by shrinking the singular values of the matrix of all paths: what moves together
    spans few directions, noise all of them, so the motion is not damped.
    """
    points = np.array(points, np.float64)
    rows = np.arange(points.shape[1])
    if valid is not None and not valid.all():
        rows = np.flatnonzero(often_seen(valid))
        points = fill(points[:, rows], valid[:, rows])
    if len(rows) < 4:
        return Paths(points, rows, 0.0)
    near = path_neighbors(points, 8)
    belongs = near.isolation() < OUTLYING
    if not belongs.all() and belongs.sum() >= 0.9 * len(rows):
        points, rows = points[:, belongs], rows[belongs]
        near = path_neighbors(points, 8)
    return Paths(*_without_noise(points, _noise_of_steps(points, near), rows))


def _noise_of_steps(points: Floats, near: Neighbors) -> float:
    """Standard deviation of a coordinate: what no affine motion of a neighbourhood explains of a step."""
    picked = np.random.default_rng(0).permutation(points.shape[1])[:LOOKED_AT]
    group = np.concatenate([picked[:, None], near.index[picked]], axis=1)  # [R, K + 1]
    starts = even_frames(len(points) - 1, PAIRS)
    left = []
    for start in starts:
        before, after = points[start][group], points[start + 1][group]  # [R, K + 1, 3]
        before, after = (side - side.mean(axis=1, keepdims=True) for side in (before, after))
        # Least squares, without directions in which the neighborhood is flat: of squares, 1e-3 is 1e-6.
        turned = before.transpose(0, 2, 1)
        affine = np.linalg.pinv(turned @ before, rcond=1e-6, hermitian=True) @ (turned @ after)  # [R, 3, 3]
        left.append(after - before @ affine)
    freedom = (group.shape[1] - 4) / group.shape[1]
    return float(np.median(np.abs(np.stack(left))) / 0.6745 / np.sqrt(2 * max(freedom, 0.1)))


def _without_noise(points: Floats, noise: float, rows: Ints) -> tuple[Floats, Ints, float]:
    """Optimal shrinkage (Gavish and Donoho 2017, Frobenius loss) of the singular values of all paths."""
    frames, count = points.shape[:2]
    table = points.transpose(1, 0, 2).reshape(count, 3 * frames)  # [N, 3 T]
    center = table.mean(axis=0)
    table = table - center
    picked = table
    if min(table.shape) > MOST_SAMPLES:  # the directions are found from some of the rows
        picked = table[np.random.default_rng(0).permutation(count)[:MOST_SAMPLES]]
    _, values, directions = np.linalg.svd(picked, full_matrices=False)  # [R], [R, 3 T]
    long, short = max(picked.shape), min(picked.shape)
    ratio = short / long
    # Both estimates hold motion beside noise: the smaller one is nearer to the noise.
    noise = min(noise, float(np.median(values)) / np.sqrt(long * _median_of_noise(ratio)))
    if noise <= 0:
        return points, rows, 0.0
    scaled = values / (noise * np.sqrt(long))
    square = np.maximum((scaled**2 - ratio - 1) ** 2 - 4 * ratio, 0)
    shrunk = np.where(scaled > 1 + np.sqrt(ratio), np.sqrt(square) / np.maximum(scaled, 1e-12) ** 2, 0)  # [R]
    smooth = (table @ (directions.T * shrunk)) @ directions + center
    return smooth.reshape(count, frames, 3).transpose(1, 0, 2), rows, noise


def _median_of_noise(ratio: float) -> float:
    """Median of the Marchenko–Pastur distribution: of squared singular values of unit noise, per row."""
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    at = np.linspace(low, high, 4001)[1:-1]
    density = np.sqrt((high - at) * (at - low)) / at
    return float(at[np.searchsorted(np.cumsum(density), density.sum() / 2)])
