"""From corresponding points to the paths of a template's particles: no search, for the paths are known."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.canceling import cancelable
from model.compiled import Floats, Ints
from model.errors import Canceled
from model.registration.clouds import canonical_order, make_cloud
from model.registration.correspondence import filter_paths
from model.registration.interpolation import Carrier
from model.registration.keyframes import jumps_along, single
from model.registration.motions import lapses
from model.registration.parallel import beside
from model.registration.pull import REACH, pull
from model.registration.separating import looked_at, separate
from model.registration.splines import interpolate
from model.registration.tracking import SIZE, Tracking, confidence_of, residual

TOGETHER = 2_000_000  # coordinates
Extract = Callable[[Floats, float], tuple[Floats, Ints]]


def track_corresponding(
    points: Floats,
    times: Floats,
    extract: Extract,
    valid: NDArray[np.bool_] | None = None,
    is_canceled: Callable[[], bool] | None = None,
) -> Tracking:
    """Carry a surface along corresponding points [T, N, 3] at times [T], as `track` does along others.

    `extract` is told the standard deviation that the points' coordinates had, too; the paths show it.
    `valid` [T, N] says which points to believe. The template is the surface of the first frame, or of one
    whose points lie clearly further apart, put on them, with what it joins there taken apart where another
    frame tears it.
    """
    order = canonical_order(points.mean(axis=0))  # results do not depend on that of the rows
    filtered = filter_paths(points[:, order], None if valid is None else valid[:, order])
    paths = filtered.points  # [T, R, 3]
    centers = paths.mean(axis=1)  # [T, 3]
    center = np.median(centers, axis=0)
    spread = ((paths - centers[:, None]) ** 2).sum(axis=2).mean(axis=1)  # [T], squared
    size = SIZE * float(np.median(np.sqrt(spread)))
    paths = np.ascontiguousarray((paths - center) / size)
    clouds = [make_cloud(cloud) for cloud in cancelable(paths)]
    key = single(clouds)
    with beside(lambda: (Carrier(paths, key), jumps_along(paths, lapses(times)))) as prepared:
        vertices, faces = extract(clouds[key].points, filtered.noise / size)
        faces = np.ascontiguousarray(faces, np.int64)
        if is_canceled is not None and is_canceled():
            raise Canceled("the registration was canceled")
        vertices = pull(np.asarray(vertices, np.float64), faces, clouds[key].points, REACH)
        carrier, cuts = prepared()
    moved = carrier.carry(vertices, faces)  # [T, V, 3]
    some = looked_at(len(moved))
    apart = separate(vertices, faces, list(moved[some]), [clouds[t] for t in some])
    if apart is not None:
        vertices, faces = apart
        moved = carrier.carry(vertices, faces)
    placed = moved * size + center
    return Tracking(
        vertices=placed,
        faces=faces,
        keyframe=key,
        residuals=size * np.array([residual(v, c) for v, c in cancelable(zip(moved, clouds, strict=True))]),
        confidence=np.broadcast_to(confidence_of(moved[key], clouds[key]), moved.shape[:2]),
        jumps=cuts,
        at=_between(placed, times, cuts),
    )


def _between(vertices: Floats, times: Floats, cuts: list[int]) -> Callable[[Floats], Floats]:
    """Times [W] → vertices [W, V, 3] smooth through the frames of each take."""

    def at(wanted: Floats) -> Floats:
        known = np.searchsorted(times, wanted).clip(max=len(times) - 1)
        if np.array_equal(times[known], wanted):
            return np.asarray(vertices[known])
        result = np.empty((len(wanted), *vertices.shape[1:]))
        wanted = np.clip(wanted, times[0], times[-1])
        bounds = [0, *cuts, len(times)]
        for begin, end in pairwise(bounds):
            # A time between two takes belongs to the nearer one.
            left = -np.inf if begin == 0 else (times[begin - 1] + times[begin]) / 2
            right = np.inf if end == len(times) else (times[end - 1] + times[end]) / 2
            inside = (wanted >= left) & (wanted < right)
            take = vertices[begin:end]
            if end - begin == 1:
                result[inside] = take
            elif inside.any():
                held = np.clip(wanted[inside], times[begin], times[end - 1])
                for part in cancelable(np.array_split(np.arange(vertices.shape[1]), _parts(take))):
                    result[np.ix_(inside, part)] = interpolate(times[begin:end], take[:, part], held)
        return result

    return at


def _parts(take: Floats) -> int:
    """Parts in which the vertices of a take are interpolated: each spline has four coefficients a frame."""
    return take.size // TOGETHER + 1
