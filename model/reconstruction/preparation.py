"""From what a caller sends to clouds that can be tracked, with a record of what was found and done."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.errors import InputError
from model.frames import named
from model.reconstruction.checks import check_depth
from model.reconstruction.gaps import require_shown, with_points
from model.registration.cleanup import CleanupReport, clean
from model.registration.clouds import distinct
from model.registration.correspondence import Correspondence, breaks, find_correspondence, often_seen
from model.registration.masks import LEAST_POINTS, LEAST_VALID, keep_frames
from model.registration.parallel import side_by_side
from model.registration.room import drop_room
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

    They are of the frames `shown`, the others do not show the object; `removed` and the warnings count frames
    as the caller does. With `corresponding`, all clouds are whole and `valid` [U, N] says which points to
    believe; else what is not to be believed is gone. `found` is the correspondence that was measured.
    """

    frames: int  # of the input
    shown: Ints  # [U]
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

    Frames that do not show the object are left out. Of more than `MOST_POINTS` points in a frame a random
    selection of the finite ones is used, the same rows of all frames where they may correspond. Raises
    InputError for sequences that hold too little.
    """
    frames = len(clouds)
    finite = [np.asarray(np.isfinite(cloud).all(axis=1)) for cloud in cancelable(clouds)]
    shown = with_points(clouds, finite, rows=corresponding is not False)
    clouds, finite_rows = [clouds[t] for t in shown], [finite[t] for t in shown]
    full = remove and fill_volume([cloud[mask] for cloud, mask in zip(clouds, finite_rows, strict=True)])
    limit = FILLING * MOST_POINTS if full else MOST_POINTS
    clouds, kept, report = _cleaned(clouds, finite_rows, corresponding, remove, limit)
    report = report.among(shown, frames)
    report = replace(report, not_finite=np.array([(~mask).sum() for mask in finite]))  # of all points

    def leave(least: int) -> None:
        """Leave out frames of which fewer than `least` points are kept."""
        nonlocal shown, clouds, kept
        in_room = bool((report.floor + report.still).any())
        some = require_shown(keep_frames(kept, least), frames, in_room)
        shown, clouds, kept = shown[some], [clouds[t] for t in some], [kept[t] for t in some]

    leave(1)
    same = len({len(cloud) for cloud in clouds}) == 1
    clouds = [np.where(mask[:, None], cloud, 0) for cloud, mask in zip(clouds, kept, strict=True)]
    found = find_correspondence(clouds, np.stack(kept)) if same else Correspondence(False, 1.0)
    warnings = [STOOD_STILL] if report.still.any() else []
    if corresponding:
        _require_rows(clouds, found, shown)
        warnings += _doubts(found)
    check_depth([cloud[mask] for cloud, mask in zip(clouds, kept, strict=True)])
    along_rows = found.holds if corresponding is None else corresponding
    along_rows = along_rows and _has_paths(np.stack(kept), shown, required=bool(corresponding))
    if not along_rows:
        leave(LEAST_POINTS)
    if full:
        outer = _outer(clouds, kept, along_rows)
        report.inside[shown] = [(mask & ~rows).sum() for mask, rows in zip(kept, outer, strict=True)]
        clouds = [cloud[rows] for cloud, rows in zip(clouds, outer, strict=True)]
        kept = [mask[rows] for mask, rows in zip(kept, outer, strict=True)]
        warnings.append(INSIDE)
    if along_rows:
        return Prepared(frames, shown, clouds, np.stack(kept), True, found, report, warnings)
    # In an order that depends on nothing but the points.
    whole = [cloud[mask] for cloud, mask in zip(clouds, kept, strict=True)]
    cleaned = side_by_side(lambda cloud: cloud[distinct(cloud)], whole)
    return Prepared(frames, shown, cleaned, np.ones((0, 0), bool), False, found, report, warnings)


def _cleaned(
    clouds: list[Floats],
    finite: list[NDArray[np.bool_]],
    corresponding: bool | None,
    remove: bool,
    limit: int,
) -> tuple[list[Floats], list[NDArray[np.bool_]], CleanupReport]:
    """At most `limit` points of each cloud [N_t, 3], and as `clean`, which of them to keep."""
    floor = still = np.zeros(len(clouds), np.int64)
    in_room = True  # whether floor and walls may still be there
    if max(map(len, clouds)) > limit:
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
    return clouds, kept, replace(report, floor=report.floor + floor, still=report.still + still)


def _require_rows(clouds: list[Floats], found: Correspondence, shown: Ints) -> None:
    """Raise InputError where rows of clouds [N_t, 3], of the frames `shown`, cannot be the same particles."""
    least, most = min(map(len, clouds)), max(map(len, clouds))
    if least < most:
        raise InputError(
            f"corresponding is true, but frames have {least} to {most} points; wanted the same number in "
            "each, or corresponding=false"
        )
    if found.broken:
        raise InputError(
            f"corresponding is true, but before {named(shown[list(found.broken)])} the rows become other "
            "particles: cut the file there and send the parts separately, or send corresponding=false"
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


def _has_paths(valid: NDArray[np.bool_], shown: Ints, required: bool) -> bool:
    """Whether rows `valid` [U, N] lead through the frames `shown`. Raises InputError if `required` ones do
    not."""
    rows, broken = int(often_seen(valid).sum()), breaks(valid)
    found = None
    if rows < LEAST_POINTS:
        found = f"only {rows} rows have valid points in several frames; wanted at least {LEAST_POINTS}"
    elif broken:
        found = f"hardly a row has valid points both in frame {shown[broken[0]]} and in the one before"
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
