"""What sequences that can be reconstructed are like; messages say what was found, wanted, and what to do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.canceling import cancelable
from model.compiled import Floats
from model.errors import InputError
from model.registration.masks import LEAST_POINTS

MIN_FRAMES, MAX_FRAMES = 2, 1000
LARGEST, SMALLEST = 1e30, 1e-30  # coordinates of which squares and float32 are still numbers
COARSE = 0.03  # steps between coordinates, of the size, beyond which no shape is left
FLAT = 0.004  # thickness over width, under which no frame shows a thing with a volume


def check_clouds(points: Sequence[ArrayLike] | NDArray[Any]) -> list[Floats]:
    """T arrays [N_t, 3] as float64, some of which may be empty: `model.reconstruction.gaps` tells which show
    the object. Raises InputError with what was found and what is wanted."""
    if not MIN_FRAMES <= len(points) <= MAX_FRAMES:
        raise InputError(f"found {len(points)} frames; wanted {MIN_FRAMES} to {MAX_FRAMES}")
    clouds = [_numbers(cloud, number) for number, cloud in enumerate(points)]
    for number, cloud in enumerate(clouds):
        if cloud.ndim != 2 or cloud.shape[1] != 3:
            raise InputError(
                f"frame {number} is an array {list(cloud.shape)}; wanted [N, 3], N at least {LEAST_POINTS}, "
                "or 0 where nothing was measured"
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
        if array.shape == (0,):  # as an empty list
            return np.empty((0, 3))
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
    for kind in (np.float16, np.float32, np.float64):
        if not np.finfo(kind).tiny < largest < np.finfo(kind).max:
            continue
        step, name = float(np.spacing(kind(largest))), kind.__name__
        if step > COARSE * size > 0 and np.array_equal(cloud, cloud.astype(kind)):
            raise InputError(
                f"frame {number} lies {largest:.2g} from the origin, where {name} has steps of {step:.2g}, "
                f"{step / size:.0%} of the size of what it shows: the shape is lost. Subtract one "
                f"offset from all frames before they become {name}"
                + ("" if kind is np.float64 else ", or send float64")
            )


def check_depth(clouds: list[Floats]) -> None:
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
