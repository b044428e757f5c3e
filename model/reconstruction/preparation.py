"""From what a caller sends to clouds that can be tracked, with a record of what was found and done."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats
from model.errors import InputError
from model.reconstruction.checks import check_depth
from model.registration.cleanup import (
    LEAST_POINTS,
    LEAST_VALID,
    CleanupReport,
    clean,
    drop_room,
    require_points,
)
from model.registration.clouds import distinct
from model.registration.correspondence import Correspondence, breaks, find_correspondence, often_seen
from model.registration.parallel import side_by_side
from model.registration.volumes import fill_volume, outermost

MOST_POINTS = 8192  # of a frame that are used: more show no more of a shape, and networks learn from as many
STOOD_STILL = (
    "points that stand still, apart from the moving object, were removed with the floor and the walls: "
    "`cleanup=off` keeps everything"
)
INSIDE = (
    "the points fill a volume: those inside it were left out, because the surface encloses the outer ones"
)
FILLING = 3  # times as many, of which those inside are left out, where points fill a volume


@dataclass(frozen=True)
class Prepared:
    """Clouds [N_t, 3] in the caller's units, without what does not belong to them.

    With `corresponding`, all clouds are whole and `valid` [T, N] says which points to believe; else what is
    not to be believed is gone. `found` is the correspondence that was measured, None where it was given.
    """

    clouds: list[Floats]
    valid: NDArray[np.bool_]
    corresponding: bool
    found: Correspondence
    removed: CleanupReport
    warnings: list[str]

    @property
    def believed(self) -> list[Floats]:
        """The clouds without points that are not to be believed."""
        if not self.corresponding:
            return self.clouds
        return [cloud[mask] for cloud, mask in zip(self.clouds, self.valid, strict=True)]


def prepare(clouds: list[Floats], corresponding: bool | None, remove: bool = True) -> Prepared:
    """Clean T clouds [N_t, 3]; find out whether their rows correspond where that is not told.

    Of more than `MOST_POINTS` points in a frame a random selection of the finite ones is used, the same rows
    of all frames where they may correspond. Raises InputError for frames that hold too little.
    """
    finite = [np.asarray(np.isfinite(cloud).all(axis=1)) for cloud in cancelable(clouds)]
    full = remove and fill_volume([cloud[mask] for cloud, mask in zip(clouds, finite, strict=True)])
    floor = still = np.zeros(len(clouds), np.int64)
    in_room = True  # whether floor and walls may still be there
    if max(map(len, clouds)) > (limit := FILLING * MOST_POINTS if full else MOST_POINTS):
        rows = _may_correspond(clouds, finite, corresponding)
        if not rows:
            clouds = [cloud[mask] for cloud, mask in zip(clouds, finite, strict=True)]
        if remove and not rows:  # first, for of all the points in a room few may show the thing
            masks = [np.ones(len(cloud), bool) for cloud in clouds]
            floor, still = drop_room(clouds, masks)
            clouds = [cloud[mask] for cloud, mask in zip(clouds, masks, strict=True)]
            in_room = False
        clouds = _thinned(clouds, finite if rows else None, limit)
    same = len({len(cloud) for cloud in clouds}) == 1
    paths = same and corresponding is not False  # neighbors lead over the gaps
    kept, report = clean(clouds, remove, in_room, LEAST_VALID if paths else LEAST_POINTS)
    not_finite = np.array([(~mask).sum() for mask in finite])  # of all points
    report = replace(report, not_finite=not_finite, floor=report.floor + floor, still=report.still + still)
    filled = [np.where(mask[:, None], cloud, 0) for cloud, mask in zip(clouds, kept, strict=True)]
    found = find_correspondence(filled, np.stack(kept)) if same else Correspondence(False, 1.0)
    warnings = [STOOD_STILL] if report.still.any() else []
    if corresponding:
        _require_rows(clouds, found)
        warnings += _doubts(found)
    check_depth([cloud[mask] for cloud, mask in zip(clouds, kept, strict=True)])
    valid = np.stack(kept) if same else np.zeros((0, 0), bool)
    along_rows = found.holds if corresponding is None else corresponding
    along_rows = along_rows and _has_paths(valid, required=bool(corresponding))
    if not along_rows:
        require_points(kept, report)
    if full:
        outer = _outer(filled, kept, along_rows)
        report = replace(report, inside=np.array([(m & ~o).sum() for m, o in zip(kept, outer, strict=True)]))
        filled = [cloud[rows] for cloud, rows in zip(filled, outer, strict=True)]
        kept = [mask[rows] for mask, rows in zip(kept, outer, strict=True)]
        warnings.append(INSIDE)
    if along_rows:
        return Prepared(filled, np.stack(kept), True, found, report, warnings)
    # In an order that depends on nothing but the points.
    whole = [cloud[mask] for cloud, mask in zip(filled, kept, strict=True)]
    cleaned = side_by_side(lambda cloud: cloud[distinct(cloud)], whole)
    return Prepared(cleaned, np.ones((0, 0), bool), False, found, report, warnings)


def _require_rows(clouds: list[Floats], found: Correspondence) -> None:
    """Raise InputError where rows of clouds [N_t, 3] cannot be the same particles, as they are said to be."""
    least, most = min(map(len, clouds)), max(map(len, clouds))
    if least < most:
        raise InputError(
            f"corresponding is true, but frames have {least} to {most} points; wanted the same number in "
            "each, or corresponding=false"
        )
    if found.broken:
        frames = ", ".join(map(str, found.broken[:8]))
        raise InputError(
            f"corresponding is true, but before frame {frames} the rows become other particles: cut the "
            "file there and send the parts separately, or send corresponding=false"
        )


def _doubts(found: Correspondence) -> list[str]:
    """What makes it unlikely that rows are the same particles, though they are said to be."""
    doubts = []
    if found.pixels:
        doubts.append(
            "the rows are said to be the same particles in every frame, but they move like the pixels of a "
            "depth camera, along its rays only: send corresponding=false to have the sequence tracked instead"
        )
    if found.scatter > 0.5:
        doubts.append(
            "the rows are said to be the same particles in every frame, but neighbors do not stay "
            "neighbors: leave `corresponding` out to have points matched instead"
        )
    return doubts


def _has_paths(valid: NDArray[np.bool_], required: bool) -> bool:
    """Whether rows `valid` [T, N] lead through all frames. Raises InputError if `required` ones do not."""
    rows, broken = int(often_seen(valid).sum()), breaks(valid)
    found = None
    if rows < LEAST_POINTS:
        found = f"only {rows} rows have valid points in several frames; wanted at least {LEAST_POINTS}"
    elif broken:
        found = f"hardly a row has valid points both in frame {broken[0]} and in the one before"
    if found and required:
        raise InputError(f"corresponding is true, but {found}. Send corresponding=false to have them tracked")
    return found is None


def _thinned(clouds: list[Floats], finite: list[NDArray[np.bool_]] | None, limit: int) -> list[Floats]:
    """At most `limit` points of each cloud [N_t, 3]; where rows may correspond, those `finite` [N] most."""
    order = np.random.default_rng(0).permutation(max(map(len, clouds)))  # the same rows of frames of one size
    if finite is not None:
        order = order[np.argsort(-np.sum(finite, axis=0)[order], kind="stable")]
    return [cloud[np.sort(order[order < len(cloud)][:limit])] for cloud in clouds]


def _outer(
    clouds: list[Floats], kept: list[NDArray[np.bool_]], corresponding: bool
) -> list[NDArray[np.bool_]]:
    """Rows [N_t] of clouds that fill a volume, at most `MOST_POINTS`, that show its surface.

    Of rows that correspond the same ones in each frame, those of the first frame that has the most.
    """

    def shown(cloud: Floats, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        rows = np.flatnonzero(mask)
        rows = rows[outermost(cloud[rows])]
        result = np.zeros(len(mask), bool)
        result[np.random.default_rng(0).permutation(rows)[:MOST_POINTS]] = True
        return result

    if corresponding:
        most = int(np.argmax([mask.sum() for mask in kept]))
        return [shown(clouds[most], kept[most])] * len(clouds)
    return [shown(cloud, mask) for cloud, mask in cancelable(zip(clouds, kept, strict=True))]


def _may_correspond(clouds: list[Floats], finite: list[NDArray[np.bool_]], told: bool | None) -> bool:
    if told is not None or len({len(cloud) for cloud in clouds}) > 1:
        return bool(told)
    return find_correspondence(clouds, np.stack(finite)).holds
