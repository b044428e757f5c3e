"""Parts that are joined where they touch in one frame, taken apart where another frame tears them apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.compiled import Floats, Ints, compiled
from model.frames import even_frames
from model.meshes.holes import fill_holes
from model.meshes.topology import connected_parts
from model.registration.clouds import Cloud
from model.registration.parallel import side_by_side

STRETCHED = 2.0  # times its length at rest, from which an edge bridges two parts: skin stretches less
OFTEN = 3  # frames in which it must be that long, for a few may have failed
BARE = 2.0  # spacings from its middle to the nearest point of the frame: what points show is no bridge
FRAMES = 24  # of a longer sequence that are looked at
SHORT = 0.5  # of the median length: shorter edges count as this long, for their ratios are noise
CRUMB = 0.01  # share of the faces, below which what is left of a bridge goes as well


def separate(
    vertices: Floats, faces: Ints, moved: Sequence[Floats], clouds: Sequence[Cloud]
) -> tuple[Floats, Ints] | None:
    """Take the faces out that stretch far as a surface moves, and close what can be; None where none do.

    Args:
        vertices: the surface at rest [V, 3].
        faces: [F, 3].
        moved: the same vertices [V, 3] in several frames, such as those of `looked_at`.
        clouds: what was measured in these frames.

    What two parts are joined by is drawn out like no skin as they come apart. Holes that would be drawn out
    as well, such as those of a web between fingers, stay open.
    """
    whole = ~_overstretched(vertices, faces, moved, clouds)
    if whole.all() or not whole.any():
        return None
    origin, kept = _split(faces[whole])
    size, before = _part_sizes(kept), _part_sizes(faces)[whole]
    kept = kept[(size >= CRUMB * len(faces)) | (size == before)]
    if not len(kept):
        return None
    stacked, closed, _ = fill_holes(np.stack([vertices, *moved])[:, origin], kept)
    rest, frames = stacked[0], list(stacked[1:])
    torn = np.zeros(len(rest), bool)
    torn[closed[_overstretched(rest, closed, frames, clouds), 2]] = True  # the middles of holes, among others
    torn[: len(origin)] = False
    used, closed = np.unique(closed[~torn[closed[:, 2]]], return_inverse=True)
    return rest[used], np.ascontiguousarray(closed.reshape(-1, 3))


def looked_at(frames: int) -> Ints:
    """Frames that tell what comes apart: all, or an even selection of many."""
    return even_frames(frames, FRAMES)


def _overstretched(
    vertices: Floats, faces: Ints, moved: Sequence[Floats], clouds: Sequence[Cloud]
) -> NDArray[np.bool_]:
    """Which faces [F] have, where no points are, an edge that is far longer than at rest."""
    rest = lengths(vertices, faces)  # [F, 3]
    rest = np.maximum(rest, SHORT * np.median(rest))

    def torn(seen: tuple[Floats, Cloud]) -> Ints:
        frame, cloud = seen
        far = np.flatnonzero(any_longer(frame, faces, STRETCHED * rest))
        distance, _ = cloud.nearest(frame[faces[far]].mean(axis=1))
        return np.asarray(far[distance > BARE * cloud.spacing])

    found = side_by_side(torn, list(zip(moved, clouds, strict=True)))
    times: Ints = np.bincount(np.concatenate([np.zeros(0, np.int64), *found]), minlength=len(faces))
    return np.asarray(times >= OFTEN)


@compiled
def any_longer(vertices: Floats, faces: Ints, most: Floats) -> NDArray[np.bool_]:
    """Which faces [F] have a side that is longer than `most` [F, 3] allows, in the order of `lengths`."""
    longer = np.zeros(len(faces), np.bool_)
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            square = 0.0
            for x in range(3):
                square += (vertices[a, x] - vertices[b, x]) ** 2
            longer[f] |= np.sqrt(square) > most[f, k]
    return longer


def lengths(vertices: Floats, faces: Ints) -> Floats:
    """Lengths [F, 3] of the sides of faces."""
    corners = vertices[faces]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2))


def _part_sizes(faces: Ints) -> Ints:
    """For each face, of how many faces its part consists: [F]."""
    part = connected_parts(faces, int(faces.max()) + 1)[faces[:, 0]]
    return np.asarray(np.bincount(part)[part])


def _split(faces: Ints) -> tuple[Ints, Ints]:
    """Faces whose corners are one vertex only where the faces around it hang together by edges.

    Returns the old number of each new vertex [V'] and the faces [F, 3] in new numbers.
    """
    corner = np.arange(faces.size).reshape(faces.shape)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    at, to = corner.ravel(), np.roll(corner, -1, axis=1).ravel()
    # Each edge from its lower to its higher vertex; those of two faces that share it stand side by side.
    low, high = np.minimum(start, end), np.maximum(start, end)
    first, second = np.where(start < end, at, to), np.where(start < end, to, at)
    order = np.lexsort((high, low))
    same = (np.diff(low[order]) == 0) & (np.diff(high[order]) == 0)
    one, other = order[:-1][same], order[1:][same]
    ends = np.concatenate([first[one], second[one]]), np.concatenate([first[other], second[other]])
    links = coo_array((np.ones(len(ends[0])), ends), shape=(faces.size, faces.size))
    count, new = connected_components(links, directed=False)
    origin = np.empty(count, np.int64)
    origin[new] = start
    return origin, new.reshape(faces.shape).astype(np.int64)
