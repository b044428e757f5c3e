"""Frames that do not show the object: they are left out, and the motion is interpolated across them.

Where time passes without any frame, it is interpolated as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.errors import InputError
from model.frames import named
from model.registration.clouds import distinct
from model.registration.masks import LEAST_POINTS, LEAST_VALID
from model.registration.splines import interpolate

LEAST_FRAMES = 2
PAUSE = 2.5  # usual steps of time, from which frames are apart as if others were missing between them
LOOKED_AT = 24  # pauses of a sequence
TRIED, BESIDE, VERTICES = 8, 3, 500  # places and vertices that tell what a gap costs, and frames beside them
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


def require_shown(shown: list[int], frames: int, in_room: bool) -> list[int]:
    """`shown`. Raises InputError where fewer than two of so many `frames` are.

    `in_room` is whether floor, walls or what stands still were removed.
    """
    if len(shown) >= LEAST_FRAMES:
        return shown
    if in_room:
        raise InputError(
            f"{len(shown)} of {frames} frames show {LEAST_POINTS} points beside floor, walls and what stands "
            f"still; wanted {LEAST_FRAMES} or more: `cleanup=off` keeps all points"
        )
    raise InputError(
        f"{len(shown)} of {frames} frames have {LEAST_POINTS} points that are finite and in different "
        f"places; wanted {LEAST_FRAMES} or more"
    )


@dataclass(frozen=True)
class Gaps:
    """Frames that are missing: all but those `shown` [U] of so many `frames`. Takes begin at `cuts`."""

    frames: int
    shown: Ints
    cuts: Ints

    @property
    def missing(self) -> Ints:
        return np.setdiff1d(np.arange(self.frames), self.shown)  # [M]

    @property
    def held(self) -> NDArray[np.bool_]:
        """In which of the missing frames [M] a pose is held: at the ends, and where a cut is next to them."""
        after = np.searchsorted(self.shown, self.missing)
        next_shown = np.append(self.shown, -1)[after]
        return np.asarray((after == 0) | (after == len(self.shown)) | np.isin(next_shown, self.cuts))

    def describe(self, cleared: NDArray[np.bool_]) -> list[str]:
        """What is done about them, for people: of some of all frames, cleanup has `cleared` [T] all."""
        by_cleanup = cleared[self.missing]
        warnings = []
        if not by_cleanup.all():
            warnings.append(f"no points of the object, or too few, in {self._done(~by_cleanup)}")
        if by_cleanup.any():
            warnings.append(
                f"nothing but floor, walls and what stands still in {self._done(by_cleanup)}; `cleanup=off` "
                "keeps all points"
            )
        return warnings

    def _done(self, some: NDArray[np.bool_]) -> str:
        """Which `some` of the missing frames [M] are, and what is done about these."""
        missing, held = self.missing[some], self.held[some]
        done = "the motion is interpolated there"
        if held.all():
            done = "the nearest pose is held there"
        elif held.any():
            done += f", and the nearest pose held in {named(missing[held])}"
        return f"{named(missing)}: {done}"

    def pauses(self, times: Floats) -> Ints:
        """Frames [P] with so much time before them, by the times [T], that others could be missing there.

        They are those after the longest steps, `LOOKED_AT` at most, and none after missing frames or a cut.
        """
        steps = np.diff(times)
        late = 1 + np.flatnonzero(steps > PAUSE * np.median(steps))
        late = late[np.isin(late, self.shown) & np.isin(late - 1, self.shown) & ~np.isin(late, self.cuts)]
        return np.sort(late[np.argsort(-steps[late - 1], kind="stable")[:LOOKED_AT]])

    def errors(self, vertices: Floats, times: Floats) -> tuple[Floats, Floats]:
        """How far vertices are expected to be off on average, in each missing frame [M] and pause [P].

        That is what it would be where they are known: frames next to the gap, as many as usually take its
        time, are hidden and put in between others in the same way. `vertices` [U, V, 3] are those of the
        frames that are shown, `times` [T] of all.
        """
        shown = times[self.shown]
        some = vertices[:, :: vertices.shape[1] // VERTICES + 1]
        cuts = np.searchsorted(self.shown, self.cuts)
        after = np.searchsorted(self.shown, self.missing)  # [M], the same in all frames of a gap
        errors = np.zeros(len(after))
        for end in cancelable(np.unique(after)):
            of_gap = after == end
            gap, held = self.missing[of_gap], bool(self.held[of_gap].any())
            length = _length(times, gap[0] - 1, gap[-1] + 1)
            errors[of_gap] = _error(some, shown, length, int(end), held, cuts)
        in_pauses = []
        for end in cancelable(self.pauses(times)):
            place, length = int(np.searchsorted(self.shown, end)), _length(times, end - 1, end)
            in_pauses.append(_error(some, shown, length, place, False, cuts))
        return errors, np.array(in_pauses)


def _length(times: Floats, before: int, after: int) -> int:
    """How many frames, at the usual step of the times [T], would fill a gap, and as many as do at least.

    It lies between the frames `before`, -1 at the beginning, and `after`, T at the end.
    """
    last = len(times) - 1
    between = 1 if before >= 0 and after <= last else 0  # else it has a frame at one end only
    steps = (times[min(after, last)] - times[max(before, 0)]) / np.median(np.diff(times))
    return max(round(min(float(steps), len(times))) - between, after - before - 1)


def _error(vertices: Floats, times: Floats, length: int, end: int, held: bool, cuts: Ints) -> float:
    """What hiding so many frames costs, near frame `end`: mean distance of vertices [U, V, 3]."""
    last = len(vertices) - length
    starts = [s for s in range(1, last) if not ((s <= cuts) & (cuts <= s + length)).any()]
    starts = sorted(starts, key=lambda s: abs(s + length / 2 - end))[:TRIED]
    if not starts:  # more is missing than is known: as far as the motion goes
        return float(np.linalg.norm(vertices - vertices[0], axis=2).mean(axis=1).max())
    errors = []
    for start in starts:
        hidden = np.arange(start, start + length)
        rest = [t for t in range(start - BESIDE, start + length + BESIDE) if 0 <= t < len(vertices)]
        rest = [t for t in rest if t not in hidden]
        guess = vertices[start - 1] if held else interpolate(times[rest], vertices[rest], times[hidden])
        errors.append(np.linalg.norm(guess - vertices[hidden], axis=-1).mean())
    return float(np.median(errors))


def _places(points: Floats) -> int:
    """How many of the points [N, 3] are in different places; counted up to `LEAST_POINTS` at least."""
    some = len(distinct(points[:: len(points) // SOME + 1]))
    return some if some >= LEAST_POINTS else len(distinct(points))
