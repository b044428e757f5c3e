"""Whether anything moves at all: a sequence of one pose is worth a word to whoever sent it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.cells import Cells, nearest_in_cells, sort_into_cells
from model.compiled import Floats
from model.frames import even_frames
from model.registration.correspondence import often_seen
from model.registration.keyframes import VARIED
from model.registration.parallel import side_by_side

SAMPLE, FRAMES = 1000, 24  # points of a frame, and frames of a longer sequence, that are looked at
# Of the size: half of the rows of a thing that stands still move less than the first in any frame, which is
# noise, and nearly all rows less than the second. Else a part of it moves.
STILL, PARTS, NEARLY_ALL = 0.002, 0.005, 0.99
LEAST = 200  # random points: of fewer the parts are not seen to move
# Distance to another sample of a surface over that within the sample: 1 on average where it stands still. One
# frame in which a part has moved is beyond what sampling explains: by so many standard deviations.
SAME_SURFACE, CLEAR = 1.05, 6.0


def is_still(frames: Sequence[Floats], valid: NDArray[np.bool_] | None = None) -> bool:
    """Whether all clouds [N_t, 3] show one pose, as far as their sampling tells.

    Of rows that correspond, `valid` [T, N] says which points to believe.
    """
    rng = np.random.default_rng(0)
    if valid is not None:
        rows = rng.permutation(np.flatnonzero(often_seen(valid)))[:SAMPLE]
        paths, seen = np.stack([np.asarray(cloud, np.float64)[rows] for cloud in frames]), valid[:, rows]
        first = paths[seen.argmax(axis=0), np.arange(len(rows))]  # [n, 3], where each was first seen
        moved = [
            np.quantile(np.linalg.norm(cloud - first, axis=1)[mask], (0.5, NEARLY_ALL))
            for cloud, mask in zip(paths, seen, strict=True)
            if mask.any()
        ]
        size = np.ptp(first, axis=0).max()
        return bool((np.max(moved, axis=0) < (STILL * size, PARTS * size)).all())
    some = [frames[t] for t in even_frames(len(frames), FRAMES)]
    clouds = [np.asarray(cloud, np.float64)[rng.permutation(len(cloud))[:SAMPLE]] for cloud in some]
    cells = [sort_into_cells(cloud) for cloud in cancelable(clouds)]
    apart = side_by_side(lambda other: _apart(cells[0], other), cells[1:])
    least = min(map(len, clouds))
    return bool(least >= LEAST and np.mean(apart) < SAME_SURFACE and max(apart) < _clear(least))


def stays(first: Cells, others: Sequence[Cells]) -> bool:
    """Whether points in cells may be samples of one surface that stays in its place, and no part moves."""
    return all(
        _apart(first, other) < _clear(min(len(first.points), len(other.points)))
        for other in cancelable(others)
    )


def _clear(count: int) -> float:
    """What `_apart` of so many points is beyond in no sample of the same surface."""
    return 1 + CLEAR * VARIED / float(np.sqrt(count))


def _apart(a: Cells, b: Cells) -> float:
    """Distance between nearest points of two samples over that within them."""
    within = [nearest_in_cells(own, own.points, 2, np.inf)[0][:, 1].mean() for own in (a, b)]
    across = [nearest_in_cells(there, here.points, 1, np.inf)[0].mean() for here, there in ((a, b), (b, a))]
    return float(sum(across) / max(sum(within), np.finfo(np.float64).tiny))
