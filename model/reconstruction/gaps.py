"""Frames that do not show the object: they are left out, and the motion is interpolated across them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.errors import InputError
from model.frames import named
from model.registration.cleanup import LEAST_POINTS, LEAST_VALID
from model.registration.clouds import distinct

LEAST_FRAMES = 2
SOME = 1024  # points that mostly tell whether enough are in different places


def with_points(clouds: Sequence[Floats], finite: Sequence[NDArray[np.bool_]], rows: bool) -> Ints:
    """The frames of clouds [N_t, 3] in which enough points, `finite` [N_t] and in different places: [U].

    Fewer are enough where `rows` may be the same particles in all of them. Raises InputError if hardly a
    frame has them.
    """
    pairs = cancelable(zip(clouds, finite, strict=True))
    counts = np.array([_places(cloud[mask]) for cloud, mask in pairs])  # [T]
    least = LEAST_VALID
    if not rows or len({len(cloud) for cloud, n in zip(clouds, counts, strict=True) if n >= least}) > 1:
        least = LEAST_POINTS
    found = np.flatnonzero(counts >= least)
    if len(found) < LEAST_FRAMES:
        first = int(np.argmax(counts < least))
        size, numbers = len(clouds[first]), int(finite[first].sum())
        raise InputError(
            f"{len(found)} of {len(clouds)} frames have {least} usable points; wanted {LEAST_FRAMES}: "
            f"frame {first} has {counts[first]} of {size}, {size - numbers} hold NaN or infinity, "
            f"{numbers - counts[first]} are copies of others"
        )
    return found


def require_shown(shown: list[int], frames: int) -> list[int]:
    """`shown`. Raises InputError where fewer than two of so many `frames` are."""
    if len(shown) < LEAST_FRAMES:
        raise InputError(
            f"{len(shown)} of {frames} frames show {LEAST_POINTS} points beside floor, walls and what stands "
            f"still; wanted {LEAST_FRAMES} or more: `cleanup=off` keeps all points"
        )
    return shown


def describe_gaps(shown: Ints, cleared: NDArray[np.bool_], cuts: Sequence[int]) -> list[str]:
    """What is done about frames that are not `shown` [U], for people.

    Of some of all frames, cleanup has `cleared` [T] what they show; takes begin at the frames of `cuts`.
    """
    missing = np.setdiff1d(np.arange(len(cleared)), shown)
    after = np.searchsorted(shown, missing)  # [M]; nothing is interpolated before the first, and over cuts
    held = (after == 0) | (after == len(shown)) | np.isin(np.append(shown, -1)[after], cuts)
    done = "the motion is interpolated there"
    if held.all():
        done = "the nearest pose is held there"
    elif held.any():
        done += f", and the nearest pose held in {named(missing[held])}"
    by_cleanup = cleared[missing]
    warnings = []
    if not by_cleanup.all():
        warnings.append(f"no points of the object, or too few, in {named(missing[~by_cleanup])}: {done}")
    if by_cleanup.any():
        warnings.append(
            f"nothing but floor, walls and what stands still in {named(missing[by_cleanup])}: {done}; "
            "`cleanup=off` keeps all points"
        )
    return warnings


def _places(points: Floats) -> int:
    """How many of the points [N, 3] are in different places; counted up to `LEAST_POINTS` at least."""
    some = len(distinct(points[:: len(points) // SOME + 1]))
    return some if some >= LEAST_POINTS else len(distinct(points))
