"""Node motions over time: extrapolated, averaged, and continuous between frames."""

from collections.abc import Sequence

import numpy as np

from model.compiled import Floats, Ints
from model.registration.graph import Motion
from model.registration.rotations import nearest_rotations
from model.registration.splines import interpolate

PERSISTENCE = 0.8  # share of the last step that the next one is expected to repeat
LONGEST = 8  # usual steps that a longer one counts as, at most: beyond, nothing tells how things moved


def lapses(times: Floats) -> Ints:
    """How many usual steps of time lie between frames at `times` [T], more than one across a gap: [T - 1]."""
    steps = np.diff(times)
    usual = np.median(steps) if len(steps) else 1.0
    return np.asarray(np.rint(steps / usual).clip(1, LONGEST).astype(np.int64))


def extrapolate(now: Motion, before: Motion) -> Motion:
    """The motion one step on from `before` and `now`."""
    turn = now.rotations @ before.rotations.transpose(0, 2, 1)
    rotations = nearest_rotations(turn @ now.rotations)  # else rounding grows by 1 + √2 a frame
    return Motion(rotations, now.positions + PERSISTENCE * (now.positions - before.positions))


def between(motions: Sequence[Motion], weights: Sequence[float]) -> Motion:
    """The weighted mean of motions; the weights add to one and may be negative."""
    rotations = sum(w * m.rotations for w, m in zip(weights, motions, strict=True))
    positions = sum(w * m.positions for w, m in zip(weights, motions, strict=True))
    return Motion(np.ascontiguousarray(nearest_rotations(np.asarray(rotations))), np.asarray(positions))


def take(frame: int, frames: int, cuts: Sequence[int]) -> tuple[int, int]:
    """The frames from and up to which a sequence of `frames` is one take around `frame`."""
    return max([c for c in cuts if c <= frame], default=0), min(
        [c for c in cuts if c > frame], default=frames
    )


def resample(
    motions: Sequence[Motion], times: Floats, wanted: Floats, breaks: Sequence[int] = ()
) -> list[Motion]:
    """Motions at the times `wanted` [W], smooth from frame to frame at `times` [T] but for those in `breaks`.

    Positions and the rows of rotations are interpolated, the latter projected back to rotations. Times
    outside the sequence take the motion at its end.
    """
    result: list[Motion] = []
    for t in np.clip(wanted, times[0], times[-1]):
        frame = int(np.searchsorted(times, t, "right")) - 1
        if times[frame] == t:
            result.append(motions[frame])
            continue
        begin, end = take(frame, len(times), breaks)
        if frame + 1 == end:  # between two takes
            nearer = frame if t - times[frame] < times[frame + 1] - t else frame + 1
            result.append(motions[nearer])
            continue
        near = range(
            max(begin, frame - 2), min(end, frame + 4)
        )  # a local window: cost linear in what is asked
        x = times[near.start : near.stop]
        positions = interpolate(x, np.stack([motions[i].positions for i in near]), t)
        rotations = interpolate(x, np.stack([motions[i].rotations for i in near]), t)
        result.append(
            Motion(np.ascontiguousarray(nearest_rotations(rotations)), np.ascontiguousarray(positions))
        )
    return result
