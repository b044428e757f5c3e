"""Compares a surface with the points that it was made from, and with itself over time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.cells import nearest_in_cells, sort_into_cells
from model.compiled import Floats, Ints
from model.frames import even_frames
from model.meshes.sampling import draw_surface_points, face_normals
from model.meshes.topology import connected_parts
from model.reconstruction.verdict import Limit, Measures
from model.registration.coverage import roughness
from model.registration.parallel import side_by_side

FRAMES = 8  # looked at, of a longer sequence
MOST_FRAMES = 120  # looked at to name those in which something is wrong
POINTS = 2000  # of a frame, and as many particles of its surface, to which four times as many are near
OFF_SURFACE = 0.03  # of the size: a point further from the surface is not explained by it
SINGLE = 2.5  # times the distance to the nearest point, the most to the fourth one: else points are copies
# A particle lies in a fold where several of as many that are next to it come from another part of the shape.
AROUND, ALIEN, ELSEWHERE = 8, 2, 0.15  # of the size, how far away they were in the keyframe
UNSEEN = 4.0  # distances between points: a piece of surface further from all of them was not measured


class Inspection:
    """Looks at clouds [N_t, 3] and the surface at their times, vertices [T, V, 3].

    Lengths are shares of the size, the longest side of the points of the keyframe.
    """

    def __init__(
        self,
        clouds: Sequence[NDArray[np.floating]],
        vertices: NDArray[np.floating],
        faces: NDArray[np.integer],
        keyframe: int = 0,
    ) -> None:
        self.size = float(np.ptp(clouds[keyframe], axis=0).max())
        self._clouds, self._vertices, self._faces = clouds, vertices, faces
        self._rng = np.random.default_rng(0)
        self._first = np.asarray(vertices[keyframe], np.float64)
        self._particles = draw_surface_points(vertices[keyframe], faces, 4 * POINTS, self._rng)
        self._places = self._particles.on(self._first)  # [4 P, 3]
        self._rest = np.maximum(_edge_lengths(self._first, faces), 1e-12 * self.size)  # [3 F]
        self._seen: dict[int, dict[str, float]] = {}  # measures of each frame that was looked at

    def measures(
        self,
        confidence: NDArray[np.floating] | None = None,
        one_sided: bool = False,
        unordered: bool = False,
        **others: float,
    ) -> Measures:
        """`one_sided` is whether the clouds show one side only; of `unordered` ones no paths show the noise.

        `others` are measures that are known already.
        """
        picked = even_frames(len(self._clouds), FRAMES)
        some = self._some(picked)
        found = side_by_side(lambda at: self._look(picked[at], some[at]), range(len(picked)))
        self._seen |= {int(frame): look.values() for frame, look in zip(picked, found, strict=True)}
        stretches = np.stack([frame.stretch for frame in found])  # [P, 3 F]
        return Measures(
            fit=float(np.mean([frame.fit for frame in found])),
            worst_fit=max(frame.fit for frame in found),
            off_surface=float(np.mean([frame.off_surface for frame in found])),
            unseen=float(np.mean([frame.unseen for frame in found])),
            spacing=float(np.mean([frame.spacing for frame in found])),
            stretch=float(np.percentile(stretches.max(axis=0), 95)),
            volume=max(frame.volume for frame in found),
            confidence=1.0 if confidence is None else float(np.mean(confidence)),
            coarseness=_coarseness(self._first, self._faces),
            one_sided=float(one_sided),
            roughness=float(np.mean(side_by_side(roughness, some[::3]))) if unordered else 0.0,
            folded=max(frame.folded for frame in found),
            guessed=float(1 - np.any([frame.shown for frame in found], axis=0).mean()),
            **others,
        )

    def beyond(self, limit: Limit) -> tuple[list[int], list[int]]:
        """Frames in which a measure is beyond its limit, and those looked at; none if it is not of frames."""
        frames = even_frames(len(self._clouds), MOST_FRAMES).tolist()
        new = [frame for frame in frames if frame not in self._seen]
        clouds = self._some(new)
        looks = side_by_side(lambda at: self._look(new[at], clouds[at]).values(), range(len(new)))
        self._seen |= dict(zip(new, looks, strict=True))
        if limit.measure not in self._seen[frames[0]]:
            return [], []
        return [t for t in frames if not self._seen[t][limit.measure] <= limit.doubtful], frames

    def _some(self, frames: Sequence[int] | Ints) -> list[Floats]:
        """At most `POINTS` points of each of some frames."""
        clouds = [np.asarray(self._clouds[frame], np.float64) for frame in frames]
        return [cloud[self._rng.permutation(len(cloud))[:POINTS]] for cloud in clouds]

    def _look(self, frame: int, cloud: Floats) -> "_Look":
        """At some of the points of a frame, [N, 3]."""
        vertices = np.asarray(self._vertices[frame], np.float64)
        particles, size = self._particles, self.size
        surface, cells = particles.on(vertices), sort_into_cells(cloud)  # [4 P, 3]
        some = slice(POINTS)  # particles that are looked at one by one
        own_cells = sort_into_cells(surface)
        distance, at = nearest_in_cells(own_cells, cloud, 1, np.inf)  # [P, 1] each
        distance = distance / size
        near = nearest_in_cells(cells, cloud, 5, np.inf)[0].mean(axis=0)  # [5]
        spacing = float(max(near[1], near[4] / SINGLE)) / size
        far = size * max(UNSEEN * spacing, OFF_SURFACE)
        gap, point = (found[:, 0] for found in nearest_in_cells(cells, surface[some], 1, far))  # [P]
        corners = particles.corners
        own, other = (face_normals(vertices, corners[rows]) for rows in (some, at[point, 0]))  # [P, 3]
        # A point near both sides of something thin belongs to the one that it is nearer to.
        facing = np.einsum("px,px->p", own, other) > 0
        # [P, AROUND + 1], itself too
        beside = nearest_in_cells(own_cells, surface[some], AROUND + 1, np.inf)[1]
        apart = np.linalg.norm(self._places[beside] - self._places[some, None], axis=2)
        lengths = np.maximum(_edge_lengths(vertices, self._faces), 1e-12 * size)
        volumes = [max(_volume(of, self._faces), 1e-12 * size**3) for of in (vertices, self._first)]
        return _Look(
            fit=float(distance.mean()),
            off_surface=float((distance > OFF_SURFACE).mean()),
            unseen=float(np.isinf(gap).mean()),
            shown=np.isfinite(gap) & facing,
            folded=float((np.count_nonzero(apart > ELSEWHERE * size, axis=1) >= ALIEN).mean()),
            spacing=spacing,
            stretch=np.abs(np.log(lengths / self._rest)),
            volume=float(np.abs(np.log(volumes[0] / volumes[1]))),
        )


class _Look(NamedTuple):
    """What was seen of one frame."""

    fit: float
    off_surface: float
    unseen: float
    shown: NDArray[np.bool_]  # [P], whether particles have points on their side
    folded: float
    spacing: float
    stretch: Floats  # [3 F], logarithms by which edges are longer or shorter than in the keyframe
    volume: float  # the same of the volume

    def values(self) -> dict[str, float]:
        """Measures of this frame alone."""
        return {
            "fit": self.fit,
            "worst_fit": self.fit,
            "off_surface": self.off_surface,
            "unseen": self.unseen,
            "spacing": self.spacing,
            "stretch": float(np.percentile(self.stretch, 95)),
            "volume": self.volume,
            "folded": self.folded,
        }


def _edge_lengths(vertices: Floats, faces: NDArray[np.integer]) -> Floats:
    corners = vertices[faces]  # [F, 3, 3]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).ravel())  # [3 F]


def _coarseness(vertices: Floats, faces: NDArray[np.integer]) -> float:
    part = connected_parts(faces, len(vertices))  # [V]
    low, high = np.full((part.max() + 1, 3), np.inf), np.full((part.max() + 1, 3), -np.inf)
    np.minimum.at(low, part, vertices)
    np.maximum.at(high, part, vertices)
    return float(_edge_lengths(vertices, faces).mean() / max((high - low).max(), np.finfo(np.float64).tiny))


def _volume(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> float:
    a, b, c = (vertices[faces[:, k]] - vertices[0] for k in range(3))  # far from the origin digits are few
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
