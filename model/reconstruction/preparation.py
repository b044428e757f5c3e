"""From what a caller sends to clouds that can be tracked, with a record of what was found and done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.canceling import cancelable
from model.compiled import Floats
from model.errors import InputError
from model.registration.cleanup import LEAST_POINTS, CleanupReport, clean, drop_room
from model.registration.clouds import distinct
from model.registration.correspondence import Correspondence, breaks, find_correspondence, often_seen
from model.registration.volumes import fill_volume, outermost

MIN_FRAMES, MAX_FRAMES = 2, 1000
LARGEST, SMALLEST = 1e30, 1e-30  # coordinates of which squares and float32 are still numbers
COARSE = 0.03  # steps between coordinates, of the size, beyond which no shape is left
FLAT = 0.004  # thickness over width, under which no frame shows a thing with a volume
MOST_POINTS = 8192  # of a frame that are used: more show no more of a shape, and networks learn from as many
STOOD_STILL = (
    "what stands still in the room, apart from what moves, was removed with floor and walls: "
    "`cleanup` off keeps everything"
)
INSIDE = "the points fill a volume: those inside it were left out, for the surface lies around the others"
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
    limit = FILLING * MOST_POINTS if full else MOST_POINTS
    floor = still = np.zeros(len(clouds), np.int64)
    if max(map(len, clouds)) > limit:
        rows = _may_correspond(clouds, finite, corresponding)
        if not rows:
            clouds = [cloud[mask] for cloud, mask in zip(clouds, finite, strict=True)]
        if remove and not rows:  # first, for of all the points in a room few may show the thing
            masks = [np.ones(len(cloud), bool) for cloud in clouds]
            floor, still = drop_room(clouds, masks)
            clouds = [cloud[mask] for cloud, mask in zip(clouds, masks, strict=True)]
        clouds = _thinned(clouds, finite if rows else None, limit)
    kept, report = clean(clouds, remove)
    not_finite = np.array([(~mask).sum() for mask in finite])  # of all points
    report = replace(report, not_finite=not_finite, floor=report.floor + floor, still=report.still + still)
    same = len({len(cloud) for cloud in clouds}) == 1
    filled = [np.where(mask[:, None], cloud, 0) for cloud, mask in zip(clouds, kept, strict=True)]
    found = find_correspondence(filled, np.stack(kept)) if same else Correspondence(False, 1.0)
    if corresponding and not same:
        sizes = f"{min(map(len, clouds))} to {max(map(len, clouds))}"
        raise InputError(
            f"corresponding is true, but frames have {sizes} points; wanted the same number in each, "
            "or corresponding false"
        )
    if corresponding and found.broken:
        frames = ", ".join(map(str, found.broken[:8]))
        raise InputError(
            f"corresponding is true, but before frame {frames} the rows become other particles: cut the "
            "file there and send the parts separately, or send corresponding false"
        )
    warnings = [STOOD_STILL] if report.still.any() else []
    if corresponding and found.pixels:
        warnings.append(
            "the rows are said to be the same particles in every frame, but they move like the pixels of a "
            "depth camera, along its rays only: send corresponding false to have the sequence tracked instead"
        )
    if corresponding and found.scatter > 0.5:
        warnings.append(
            "rows are declared to be the same particles in every frame, but neighbors do not stay "
            "neighbors: leave `corresponding` out to have points matched instead"
        )
    _check_depth([cloud[mask] for cloud, mask in zip(clouds, kept, strict=True)])
    rows_correspond = found.holds if corresponding is None else bool(corresponding)
    valid = np.stack(kept) if same else np.zeros((0, 0), bool)
    corresponding = rows_correspond and _has_paths(valid, required=bool(corresponding))
    if full:
        outer = _outer(filled, kept, corresponding)
        report = replace(report, inside=np.array([(m & ~o).sum() for m, o in zip(kept, outer, strict=True)]))
        filled = [cloud[rows] for cloud, rows in zip(filled, outer, strict=True)]
        kept = [mask[rows] for mask, rows in zip(kept, outer, strict=True)]
        warnings.append(INSIDE)
    if corresponding:
        return Prepared(filled, np.stack(kept), True, found, report, warnings)
    # In an order that depends on nothing but the points.
    whole = [cloud[mask] for cloud, mask in zip(filled, kept, strict=True)]
    cleaned = [cloud[distinct(cloud)] for cloud in cancelable(whole)]
    return Prepared(cleaned, np.ones((0, 0), bool), False, found, report, warnings)


def _has_paths(valid: NDArray[np.bool_], required: bool) -> bool:
    """Whether rows `valid` [T, N] lead through all frames. Raises InputError if `required` ones do not."""
    rows, broken = int(often_seen(valid).sum()), breaks(valid)
    found = None
    if rows < LEAST_POINTS:
        found = f"only {rows} rows have valid points in several frames; wanted at least {LEAST_POINTS}"
    elif broken:
        found = f"hardly a row has valid points both in frame {broken[0]} and in the one before"
    if found and required:
        raise InputError(f"corresponding is true, but {found}. Send corresponding false to have them tracked")
    return found is None


def check_clouds(points: Sequence[ArrayLike] | NDArray[Any]) -> list[Floats]:
    """T arrays [N_t, 3] as float64. Raises InputError with what was found and what is wanted."""
    if not MIN_FRAMES <= len(points) <= MAX_FRAMES:
        raise InputError(f"found {len(points)} frames; wanted {MIN_FRAMES} to {MAX_FRAMES}")
    clouds = [_numbers(cloud, number) for number, cloud in enumerate(points)]
    for number, cloud in enumerate(clouds):
        if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) < LEAST_POINTS:
            raise InputError(
                f"frame {number} is an array {list(cloud.shape)}; wanted [N, 3], N at least {LEAST_POINTS}"
            )
        finite = cloud[np.isfinite(cloud)]
        largest = np.abs(finite).max(initial=0)
        if largest > LARGEST or 0 < largest < SMALLEST:
            raise InputError(
                f"the coordinates of frame {number} are up to {largest:.0e}; wanted another unit, with "
                f"coordinates between {SMALLEST:.0e} and {LARGEST:.0e}"
            )
        _check_digits(cloud[np.isfinite(cloud).all(axis=1)], number)
    return clouds


def _numbers(cloud: ArrayLike, number: int) -> Floats:
    try:
        array = np.asarray(cloud)
        if array.dtype.kind in "fiub":
            return array.astype(np.float64)
        found = f"an array of {array.dtype}"
    except ValueError:
        found = "a list of lists of different lengths"
    raise InputError(f"frame {number} is {found}; wanted real numbers, an array [N, 3]")


def _check_digits(cloud: Floats, number: int) -> None:
    """Raise InputError where points [N, 3] far from the origin were rounded until no shape was left."""
    largest = np.abs(cloud).max(initial=0)
    size = np.ptp(cloud, axis=0).max() if len(cloud) else 0
    for kind in (np.float32, np.float16):
        if not np.finfo(kind).tiny < largest < np.finfo(kind).max:
            continue
        step, name = float(np.spacing(kind(largest))), kind.__name__
        if step > COARSE * size > 0 and np.array_equal(cloud, cloud.astype(kind)):
            raise InputError(
                f"frame {number} lies {largest:.2g} from the origin, where {name} has steps of {step:.2g}, "
                f"{step / size:.0%} of the size of what it shows: the shape is lost. Subtract one "
                f"offset from all frames before they become {name}, or send float64"
            )


def _check_depth(clouds: list[Floats]) -> None:
    """Raise InputError where clouds [N_t, 3] are flat in all frames, so that no surface encloses anything."""
    thickest = 0.0
    for cloud in cancelable(clouds):
        widths = np.linalg.svd(cloud - cloud.mean(axis=0), compute_uv=False)
        thickest = max(thickest, widths[2] / widths[0])
        if thickest > FLAT:
            return
    raise InputError(
        "the points of every frame lie in one plane or on a line, which no surface encloses: they are at "
        f"most {thickest:.2g} times as thick as wide, wanted {FLAT} or more. Send points from all around a "
        "thing, or what a camera sees of it, with their depth, and things that are far apart separately"
    )


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
