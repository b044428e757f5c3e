"""From unordered clouds to the paths of a template's particles."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.compiled import Floats, Ints
from model.errors import InputError
from model.registration.backends import NUMBA, Backend
from model.registration.clouds import Cloud, canonical, distinct, make_cloud, thinned
from model.registration.fitting import Stage
from model.registration.following import STARTS, Followed, Match, follow
from model.registration.keyframes import CLOSE, candidates, jumps, preferred
from model.registration.motions import lapses, resample
from model.registration.parallel import side_by_side
from model.registration.pull import pull
from model.registration.registering import NEAR
from model.registration.reporting import Report
from model.registration.sweeping import sweep
from model.registration.template import NODES, SAMPLES, Template, make_template, refined, taken_apart
from model.registration.turning import turn_parts
from model.registration.visibility import towards_camera

Extract = Callable[[Floats], tuple[Floats, Ints]]
REACH = 0.05  # how far from its points the surface of the network may be
TRIED = 16  # frames or more of a long sequence, evenly chosen, tell which template to follow through all
# Work in units of a frame in a sweep, as measured: to prepare a cloud, to make a template, to follow a frame,
# to look for lost parts in a frame (a tenth where none is lost, several where many are).
CLOUD, TEMPLATE, FOLLOW, TURN = 1, 20, 3, 0.5
SIZE = 3.5  # of the root mean square distance from the centroid; lengths in this package are in units of it


@dataclass(frozen=True)
class Options:
    """How much effort registration makes."""

    keyframes: int = 2  # templates that are tried
    starts: int = STARTS  # guesses of the motion of a frame that are tried
    matches: bool = True  # whether one of them may be where a network matches the frames
    stages: Sequence[Stage] = NEAR  # that a frame is fitted through, before the sweeps
    sweeps: int = 3  # passes over all frames after the tracking
    from_neighbors: bool = True  # whether frames are also tried from others, and parts that were lost turned
    points: int = 2500  # of a frame that are registered; the keyframe's surface is taken from all of them
    nodes: int = NODES  # of the deformation graph
    samples: int = SAMPLES  # of the surface that are compared with the points


@dataclass(frozen=True)
class Tracking:
    """A template and its way through the frames, in the units of the clouds."""

    vertices: Floats  # [T, V, 3]
    faces: Ints  # [F, 3]
    keyframe: int  # the frame that the template was taken from
    residuals: Floats  # [T], mean distance of a frame's points to the surface
    confidence: Floats  # [T, V], in (0, 1]: how near measured points are
    jumps: list[int]  # frames at which the motion breaks off
    at: Callable[[Floats], Floats]  # times [W] → vertices [W, V, 3]


def track(
    clouds: Sequence[Floats],
    times: Floats | None,
    extract: Extract,
    match: Match | None = None,
    complete: bool = True,
    progress: Callable[[float], None] | None = None,
    is_canceled: Callable[[], bool] | None = None,
    options: Options | None = None,
    backend: Backend = NUMBA,
) -> Tracking:
    """Follow a surface through clouds whose points do not correspond.

    Args:
        clouds: one array [N_t, 3] a frame, its points in any order.
        times: [T], increasing; 0, 1, … by default.
        extract: the surface of one cloud, points [N, 3] → vertices [V, 3], faces [F, 3]; called on threads.
        match: (i, j, queries [Q, 3]) → where what is there in frame i is in frame j [Q, 3], and how far off
            that is expected to be [Q]. Where it helps it is believed, so it need not be good. Called on
            threads.
        complete: whether the points of a frame cover the whole surface, not only what one camera sees.
        progress: called with the completed fraction, by one thread at a time.
        is_canceled: asked after every frame.
        backend: what computes the heavy loops.

    Raises InputError for fewer than 16 points in a frame and Canceled where `is_canceled` says so.
    """
    options = options or Options()
    report = Report(progress, is_canceled)
    instants = np.arange(len(clouds), dtype=float) if times is None else np.asarray(times, dtype=float)
    points = [np.asarray(cloud, dtype=np.float64) for cloud in clouds]
    # Copies hide how far apart points are.
    points = side_by_side(lambda cloud: cloud[distinct(cloud)], points)
    if not points or min(len(cloud) for cloud in points) < 16:
        raise InputError(
            "registration needs at least one frame and 16 different points in each, "
            f"found {[len(cloud) for cloud in points]}"
        )
    stride = max(1, len(clouds) // TRIED) if options.keyframes > 1 else 1
    spans = _spans(len(clouds), stride, options)
    ordered = side_by_side(canonical, points)
    center = np.median([c.mean(0) for c in ordered], axis=0)
    size = SIZE * float(np.median([np.sqrt(((c - c.mean(0)) ** 2).sum(1).mean()) for c in ordered]))
    scaled = [(c - center) / size for c in ordered]

    def prepared(points: Floats) -> Cloud:
        return make_cloud(thinned(points, options.points))

    frames = side_by_side(report.each(prepared, 0.0, spans[0], len(scaled)), scaled)
    cuts = jumps(frames, lapses(instants))
    match = _scaled(match, center, size) if match is not None and options.matches else None
    keys = candidates(frames, options.keyframes)
    if len(keys) == 1:
        stride = 1
    making = report.parts(spans[0], spans[1], len(keys))

    def make(n: int) -> Template:
        template = _template(scaled[keys[n]], extract, backend, options)
        making[n](1.0)
        return template

    templates = side_by_side(make, range(len(keys)))
    if not complete:
        faced = {k: t.faced(frames[k]) for k, t in zip(keys, templates, strict=True)}
        frames = towards_camera(frames, faced, cuts)
    reports = report.parts(spans[1], spans[2], len(keys))
    least = np.full(len(keys), np.inf)  # mean energies of the templates that were followed to the end

    def through(n: int, some: range, report: Callable[[float], None], most: Callable[[], float]) -> Followed:
        clouds = [frames[t] for t in some]
        begun = sorted({bisect_left(some, cut) for cut in cuts} - {0, len(some)})
        place, matching = some.index(keys[n]), _among(some, match)
        found = follow(
            templates[n], clouds, place, complete, matching, report, options.starts, begun,
            lambda energy: energy > len(some) * most(), options.stages,
        )  # fmt: skip
        report(1.0)
        return found

    def attempt(n: int) -> Followed:
        some = range(keys[n] % stride, len(frames), stride)
        # Once its energy exceeds that of another template it can only lose.
        found = through(n, some, reports[n], lambda: CLOSE * float(least.min()))
        least[n] = found.energy / len(some)
        return found

    attempts = side_by_side(attempt, range(len(keys)), backend.threads)
    # What one camera sees of the first frame is no better than what it sees of others.
    best = preferred(keys, list(least), CLOSE if complete else 1.0)
    key, template, followed = keys[best], templates[best], attempts[best]
    if stride > 1:
        (whole,) = report.parts(spans[2], spans[3], 1)
        followed = through(best, range(len(frames)), whole, lambda: np.inf)
    motions = followed.motions
    still = all(m is motions[0] for m in motions)
    if complete and not still and options.from_neighbors:
        (turning,) = report.parts(spans[3], spans[4], 1)
        motions = turn_parts(template, frames, *followed, turning, cuts)
    for n, part in enumerate(report.parts(spans[4], spans[5], 0 if still else options.sweeps)):
        motions = sweep(template, frames, motions, complete, n % 2 == 1, part, cuts, options.from_neighbors)
        if n + 1 < options.sweeps:
            template, motions = taken_apart(template, frames, motions) or (template, motions)
        template = refined(template, frames, motions, REACH)

    def measured(t: int) -> tuple[Floats, float, Floats]:
        vertices = template.move(motions[t])
        return vertices, residual(vertices, frames[t], backend), confidence_of(vertices, frames[t], backend)

    found = side_by_side(report.each(measured, spans[5], spans[6], len(frames)), range(len(frames)))
    moved, residuals, confidence = (np.stack(of_frames) for of_frames in zip(*found, strict=True))

    def at(wanted: Floats) -> Floats:
        between = resample(motions, instants, np.asarray(wanted, dtype=float), cuts)
        vertices: Floats = np.stack(side_by_side(template.move, between)) * size + center
        return vertices

    report(1.0)
    return Tracking(moved * size + center, template.faces, key, residuals * size, confidence, cuts, at)


def _spans(frames: int, stride: int, options: Options) -> list[float]:
    """The fractions of the work at which it goes on to the next part, see `track`; the last is 1."""
    tried = FOLLOW * options.keyframes * -(-frames // stride)
    whole = FOLLOW * frames if stride > 1 else 0
    turned, swept = TURN * frames, options.sweeps * frames
    parts = [CLOUD * frames, TEMPLATE * options.keyframes, tried, whole, turned, swept, frames]
    return [float(end) for end in np.cumsum(parts) / sum(parts)]


def _template(points: Floats, extract: Extract, backend: Backend, options: Options) -> Template:
    vertices, faces = extract(points)
    faces = np.ascontiguousarray(faces, dtype=np.int64)
    pulled = pull(np.asarray(vertices, np.float64), faces, points, REACH, nearest=backend.nearest)
    return make_template(pulled, faces, backend, options.nodes, options.samples)


def _scaled(match: Match, center: Floats, size: float) -> Match:
    """A match in the caller's units as one in ours."""

    def scaled(i: int, j: int, queries: Floats) -> tuple[Floats, Floats]:
        goals, error = match(i, j, queries * size + center)
        return (np.asarray(goals, np.float64) - center) / size, np.asarray(error, np.float64) / size

    return scaled


def _among(some: range, match: Match | None) -> Match | None:
    """The match between some of the frames, which are numbered anew."""
    if match is None:
        return None
    return lambda i, j, queries: match(some[i], some[j], queries)


def residual(vertices: Floats, cloud: Cloud, backend: Backend = NUMBA) -> float:
    """Mean distance from the points of a cloud to the nearest vertex [V, 3]."""
    return float(backend.nearest(vertices, cloud.points, 1, np.inf)[0].mean())


def confidence_of(vertices: Floats, cloud: Cloud, backend: Backend = NUMBA) -> Floats:
    """How near points were measured to each vertex [V, 3], in (0, 1]: [V]."""
    distance = backend.nearest(cloud.points, vertices, 1, np.inf)[0][:, 0]
    result: Floats = np.exp(-((distance / (4 * cloud.spacing)) ** 2))
    return result
