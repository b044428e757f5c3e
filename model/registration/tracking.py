"""From unordered clouds to the paths of a template's particles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.compiled import Floats, Ints
from model.errors import InputError
from model.registration.attempts import Result, Scene, follow_through, improve, unlikelihood
from model.registration.backends import NUMBA, Backend
from model.registration.clouds import Cloud, canonical, distinct, make_cloud, thinned
from model.registration.following import Followed, Match
from model.registration.keyframes import ABOUT, CLOSE, candidates, jumps, preferred
from model.registration.motions import lapses, resample
from model.registration.options import Options
from model.registration.parallel import cores, side_by_side
from model.registration.pull import REACH, pull
from model.registration.reporting import Report
from model.registration.template import Template, make_template
from model.registration.visibility import towards_camera

Extract = Callable[[Floats], tuple[Floats, Ints]]
TRIED = 16  # frames or more of a long sequence, evenly chosen, tell which template to follow through all
# Points of a frame up to which more templates are tried, and all that fit about as well are swept: in longer
# sequences, whose templates are told apart by more frames, that gains nothing.
FEW = 600
# Work in units of a frame in a sweep, as measured: to prepare a cloud, to make a template, to follow a frame,
# to look for lost parts in a frame (a tenth where none is lost, several where many are).
CLOUD, TEMPLATE, FOLLOW, TURN = 1, 20, 3, 0.5
SIZE = 3.5  # of the root mean square distance from the centroid; lengths in this package are in units of it


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
    few = len(clouds) < 2 * TRIED and float(np.median([len(cloud) for cloud in points])) <= FEW
    count = options.keyframes_of_few if few else options.keyframes
    stride = max(1, len(clouds) // TRIED) if count > 1 else 1
    spans = _spans(len(clouds), stride, count, count if few else 1, options)
    ordered = side_by_side(canonical, points)
    center = np.median([c.mean(0) for c in ordered], axis=0)
    size = SIZE * float(np.median([np.sqrt(((c - c.mean(0)) ** 2).sum(1).mean()) for c in ordered]))
    scaled = [(c - center) / size for c in ordered]

    def prepared(points: Floats) -> Cloud:
        return make_cloud(thinned(points, options.points))

    frames = side_by_side(report.each(prepared, 0.0, spans[0], len(scaled)), scaled)
    steps = lapses(instants)
    cuts = jumps(frames, steps)
    match = _scaled(match, center, size) if match is not None and options.matches else None
    keys = candidates(frames, count)
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
    scene = Scene(frames, cuts, steps, complete, match, options)
    reports = report.parts(spans[1], spans[2], len(keys))
    least = np.full(len(keys), np.inf)  # mean energies of the templates that were followed to the end
    close = CLOSE if complete and not few else ABOUT
    # The way from the first or last frame is the longest: none of the others should take turns with it.
    each = max(1, cores(backend.threads) // len(keys))

    def attempt(n: int) -> Followed:
        some = range(keys[n] % stride, len(frames), stride)

        def is_lost(energy: float) -> bool:
            """Whether it exceeds that of another template by so much that this one is not kept."""
            return energy > len(some) * close * float(least.min())

        found = follow_through(scene, templates[n], keys[n], some, reports[n], is_lost, each)
        least[n] = found.energy / len(some)
        return found

    attempts = side_by_side(attempt, range(len(keys)), backend.threads)
    if few:
        kept = np.flatnonzero(least <= close * least.min()).tolist()
    else:  # one camera sees most of the object where it is most spread out
        kept = [preferred(keys, list(least), 0 if complete else keys[0], close)]
    ways, turned, swept = (report.parts(spans[n], spans[n + 1], len(kept)) for n in (2, 3, 4))

    def finish(n: int) -> Result:
        at = kept[n]
        followed = attempts[at]
        if stride > 1:
            followed = follow_through(scene, templates[at], keys[at], range(len(frames)), ways[n])
        return improve(scene, templates[at], followed, turned[n], swept[n])

    results = side_by_side(finish, range(len(kept)), backend.threads)
    best = int(np.argmin([unlikelihood(scene, result) for result in results])) if len(results) > 1 else 0
    key, (template, motions) = keys[kept[best]], results[best]

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


def _spans(frames: int, stride: int, tried: int, kept: int, options: Options) -> list[float]:
    """The fractions of the work at which it goes on to the next part, see `track`; the last is 1.

    `tried` templates are followed, and up to `kept` of them swept.
    """
    followed = FOLLOW * tried * -(-frames // stride)
    whole = FOLLOW * frames if stride > 1 else 0  # of a long sequence one template is kept
    turned, swept = TURN * frames * kept, options.sweeps * frames * kept
    parts = [CLOUD * frames, TEMPLATE * tried, followed, whole, turned, swept, frames]
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


def residual(vertices: Floats, cloud: Cloud, backend: Backend = NUMBA) -> float:
    """Mean distance from the points of a cloud to the nearest vertex [V, 3]."""
    return float(backend.nearest(vertices, cloud.points, 1, np.inf)[0].mean())


def confidence_of(vertices: Floats, cloud: Cloud, backend: Backend = NUMBA) -> Floats:
    """How near points were measured to each vertex [V, 3], in (0, 1]: [V]."""
    distance = backend.nearest(cloud.points, vertices, 1, np.inf)[0][:, 0]
    result: Floats = np.exp(-((distance / (4 * cloud.spacing)) ** 2))
    return result
