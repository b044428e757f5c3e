"""Whether to trust a reconstruction, told from what is known without the truth.

`measure` compares the surface with the points that it was made from, and with itself over time; `judge` turns
the measures into a word and reasons. The limits were set on drawn things whose truth is known (see
`worker.evaluation.verdicts`): of those that are called good, at least 95 % have a Chamfer distance below
0.01 of their size.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.cells import nearest_in_cells, sort_into_cells
from model.frames import even_frames
from model.meshes.sampling import SurfacePoints, draw_surface_points, face_normals
from model.meshes.topology import connected_parts
from model.registration.coverage import roughness
from model.registration.parallel import side_by_side

Word = Literal["good", "doubtful", "poor"]

FRAMES = 8  # looked at, of a longer sequence
POINTS = 2000  # of a frame, and as many particles of its surface, to which four times as many are near
OFF_SURFACE = 0.03  # of the size: a point further from the surface is not explained by it
SINGLE = 2.5  # times the distance to the nearest point, the most to the fourth one: else points are copies
# A particle lies in a fold where several of as many that are next to it come from another part of the shape.
AROUND, ALIEN, ELSEWHERE = 8, 2, 0.15  # of the size, how far away they were in the keyframe
UNSEEN = 4.0  # distances between points: a piece of surface further from all of them was not measured


@dataclass(frozen=True)
class Measures:
    """What is known of a result; lengths as shares of the size, the longest side of the keyframe's points."""

    fit: float  # mean distance of the points to the surface, of all frames
    worst_fit: float  # the same of the worst frame
    off_surface: float  # share of the points that lie off the surface
    unseen: float  # share of the surface that lies far from all points
    spacing: float  # mean distance between neighbouring points
    stretch: float  # logarithm by which an edge is stretched or shrunk over time, 95th percentile
    volume: float  # logarithm by which the volume changes over time, at most
    confidence: float  # mean over the vertices and frames
    coarseness: float = 0.0  # mean edge over the longest side of the largest part of the surface
    one_sided: float = 0.0  # 1 where each frame shows one side only, or has too few points to tell
    guessed: float = 0.0  # share of the surface that has no points on its side in any frame
    folded: float = 0.0  # share of the surface that lies on other parts of it, in the worst frame
    roughness: float = 0.0  # how far unordered points scatter across the surface, over how far along it

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Limit:
    """Beyond `doubtful` a measure casts doubt, beyond `poor` nothing can be trusted; `reason` says why."""

    measure: str
    doubtful: float
    poor: float
    reason: str


LIMITS = (
    Limit("fit", 0.0112, 0.03, "on average, points lie {value:.1%} of the object's size from the surface"),
    Limit(
        "worst_fit",
        0.0135,
        0.06,
        "in the worst frame, points lie {value:.1%} of the object's size from the surface",
    ),
    Limit("off_surface", 0.02, 0.3, "{value:.0%} of the points have no surface near them"),
    Limit("unseen", 0.08, 0.6, "{value:.0%} of the surface is far from any point"),
    Limit(
        "spacing",
        0.036,
        0.1,
        "points are too sparse to show the shape: {value:.1%} of the object's size apart",
    ),
    Limit("stretch", 1.1, 2.0, "parts of the surface are stretched by a factor of {factor} over time"),
    Limit("volume", 0.7, 1.4, "the volume changes by a factor of {factor} over time"),
    Limit(
        "coarseness",
        0.15,
        0.4,
        "an edge of the surface is {value:.0%} as long as its largest part: send objects that are far apart "
        "separately, or raise `resolution`",
    ),
    Limit("guessed", 0.15, 0.9, "no frame has points on {value:.0%} of the surface"),
    Limit(
        "folded",
        0.08,
        0.5,
        "in the worst frame, {value:.0%} of the surface is crumpled: parts of the object may be out of view",
    ),
    Limit("roughness", 0.59, 2.0, "the points are too noisy, or too few, to show how thick the object is"),
    Limit(
        "one_sided",
        0.5,
        2.0,
        "one side of the surface is guessed: the points do not show it, or are too few to tell",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """`word` and the `reasons` for it, sentences without a full stop; none where it is good."""

    word: Word
    reasons: list[str]


def judge(measures: Measures) -> Verdict:
    """Good where no measure is beyond its limit, poor where one is far beyond it, doubtful between."""
    values = measures.to_dict()
    beyond = [limit for limit in LIMITS if not values[limit.measure] <= limit.doubtful]
    word: Word = "good"
    if beyond:
        word = "poor" if any(not values[limit.measure] <= limit.poor for limit in beyond) else "doubtful"
    return Verdict(word, [_reason(limit, values[limit.measure]) for limit in beyond])


def _reason(limit: Limit, value: float) -> str:
    factor = f"{np.exp(value):.1f}" if value < np.log(100) else "over 100"
    return limit.reason.format(value=value, factor=factor)


def measure(
    clouds: Sequence[NDArray[np.floating]],
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    keyframe: int = 0,
    confidence: NDArray[np.floating] | None = None,
    one_sided: bool = False,
    unordered: bool = False,
) -> Measures:
    """Measures of clouds [N_t, 3] and the surface at their times, vertices [T, V, 3].

    `one_sided` is whether the clouds show one side only; of `unordered` ones no paths show the noise.
    """
    size = float(np.ptp(clouds[keyframe], axis=0).max())
    rng = np.random.default_rng(0)
    picked = even_frames(len(clouds), FRAMES)
    particles = draw_surface_points(vertices[keyframe], faces, 4 * POINTS, rng)
    places = particles.on(np.asarray(vertices[keyframe], np.float64))  # [4 P, 3]
    some = [np.asarray(clouds[frame], np.float64) for frame in picked]
    some = [cloud[rng.permutation(len(cloud))[:POINTS]] for cloud in some]
    meshes = [np.asarray(vertices[frame], np.float64) for frame in picked]
    found = side_by_side(
        lambda pair: _measure_frame(*pair, faces, particles, places, size),
        list(zip(some, meshes, strict=True)),
    )
    fits, off, unseen, shown, folded, spacings, lengths, volumes = zip(*found, strict=True)
    rest = np.maximum(_edge_lengths(np.asarray(vertices[keyframe], np.float64), faces), 1e-12 * size)
    stretches = np.abs(np.log(np.maximum(np.stack(lengths), 1e-12 * size) / rest))  # [P, E]
    ratios = np.maximum(volumes, 1e-12 * size**3) / max(_volume(vertices[keyframe], faces), 1e-12 * size**3)
    return Measures(
        fit=float(np.mean(fits)),
        worst_fit=float(np.max(fits)),
        off_surface=float(np.mean(off)),
        unseen=float(np.mean(unseen)),
        spacing=float(np.mean(spacings)),
        stretch=float(np.percentile(stretches.max(axis=0), 95)),
        volume=float(np.abs(np.log(ratios)).max()),
        confidence=1.0 if confidence is None else float(np.mean(confidence)),
        coarseness=_coarseness(np.asarray(vertices[keyframe], np.float64), faces),
        one_sided=float(one_sided),
        roughness=float(np.mean(side_by_side(roughness, some[::3]))) if unordered else 0.0,
        folded=float(np.max(folded)),
        guessed=float(1 - np.any(shown, axis=0).mean()),
    )


class _Frame(NamedTuple):
    fit: float
    off_surface: float
    unseen: float
    shown: NDArray[np.bool_]  # [P], whether particles have points on their side
    folded: float
    spacing: float
    lengths: NDArray[np.float64]  # [3 F]
    volume: float


def _measure_frame(
    cloud: NDArray[np.float64],
    vertices: NDArray[np.float64],
    faces: NDArray[np.integer],
    particles: SurfacePoints,
    places: NDArray[np.float64],
    size: float,
) -> _Frame:
    """Of a cloud [N, 3] and vertices [V, 3] at its time; `places` [4 P, 3] of particles in the keyframe."""
    surface, cells = particles.on(vertices), sort_into_cells(cloud)  # [4 P, 3]
    some = slice(POINTS)  # particles that are looked at one by one
    own_cells = sort_into_cells(surface)
    distance, at = nearest_in_cells(own_cells, cloud, 1, np.inf)  # [P, 1] each
    distance = distance / size
    near = nearest_in_cells(cells, cloud, 5, np.inf)[0].mean(axis=0)  # [5]
    spacing = float(max(near[1], near[4] / SINGLE)) / size
    far = size * max(UNSEEN * spacing, OFF_SURFACE)
    gap, point = (found[:, 0] for found in nearest_in_cells(cells, surface[some], 1, far))  # [P]
    own, other = (face_normals(vertices, particles.corners[rows]) for rows in (some, at[point, 0]))  # [P, 3]
    # A point near both sides of something thin belongs to the one that it is nearer to.
    facing = np.einsum("px,px->p", own, other) > 0
    beside = nearest_in_cells(own_cells, surface[some], AROUND + 1, np.inf)[1]  # [P, AROUND + 1], itself too
    apart = np.linalg.norm(places[beside] - places[some, None], axis=2)
    return _Frame(
        fit=float(distance.mean()),
        off_surface=float((distance > OFF_SURFACE).mean()),
        unseen=float(np.isinf(gap).mean()),
        shown=np.isfinite(gap) & facing,
        folded=float((np.count_nonzero(apart > ELSEWHERE * size, axis=1) >= ALIEN).mean()),
        spacing=spacing,
        lengths=_edge_lengths(vertices, faces),
        volume=_volume(vertices, faces),
    )


def _edge_lengths(vertices: NDArray[np.float64], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    corners = vertices[faces]  # [F, 3, 3]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).ravel())  # [3 F]


def _coarseness(vertices: NDArray[np.float64], faces: NDArray[np.integer]) -> float:
    part = connected_parts(faces, len(vertices))  # [V]
    low, high = np.full((part.max() + 1, 3), np.inf), np.full((part.max() + 1, 3), -np.inf)
    np.minimum.at(low, part, vertices)
    np.maximum.at(high, part, vertices)
    return float(_edge_lengths(vertices, faces).mean() / max((high - low).max(), np.finfo(np.float64).tiny))


def _volume(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> float:
    a, b, c = (vertices[faces[:, k]] - vertices[0] for k in range(3))  # far from the origin digits are few
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
