"""Points of a mesh: its vertices, or points spread evenly over its faces."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.read_options import Sample
from service.core.sequences.readers.frame import Frame

SURFACE_POINTS = 8192  # of each frame; as many as a reconstruction uses


class SurfaceSampler:
    """Points of one mesh after the other. Meshes with the same faces get the same places on them, so that the
    points of a registered sequence correspond."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._faces: NDArray[np.int32] | None = None
        self._chosen: NDArray[np.intp] = np.empty(0, np.intp)  # [P], faces
        self._weights: NDArray[np.float64] = np.empty((0, 3, 1))  # [P, 3, 1], of their corners

    def points_of(self, frame: Frame) -> Frame:
        """The frame without faces: its points are its own if it has none."""
        if frame.faces is None or not len(frame.faces):
            return replace(frame, faces=None)
        if self._sample is Sample.VERTICES:
            used = np.unique(frame.faces)  # those that the surface uses
            colors, normals = frame.colors, frame.normals
            return Frame(
                frame.points[used],
                None if colors is None else colors[used],
                None if normals is None else normals[used],
            )
        if self._faces is None or not np.array_equal(self._faces, frame.faces):
            self._draw(frame)
        corners = frame.faces[self._chosen]  # [P, 3]
        points = (frame.points[corners].astype(np.float64) * self._weights).sum(axis=1)  # [P, 3]
        sampled = Frame(points.astype(frame.points.dtype))
        if frame.colors is not None:
            colors = (frame.colors[corners] * self._weights).sum(axis=1).round().astype(np.uint8)
            sampled = replace(sampled, colors=colors)
        if frame.normals is not None:
            normals = (frame.normals[corners] * self._weights).sum(axis=1)
            lengths = np.linalg.norm(normals, axis=1, keepdims=True)
            sampled = replace(sampled, normals=(normals / np.maximum(lengths, 1e-12)).astype(np.float32))
        return sampled

    def _draw(self, frame: Frame) -> None:
        """Places in equal steps of area along the faces, each somewhere in its step."""
        assert frame.faces is not None  # noqa: S101
        self._faces = frame.faces
        rng = np.random.default_rng(0)
        a, b, c = np.moveaxis(frame.points[frame.faces].astype(np.float64), 1, 0)  # [F, 3] each
        with np.errstate(all="ignore"):
            areas = np.nan_to_num(np.linalg.norm(np.cross(b - a, c - a), axis=1), posinf=0.0)  # [F]
            total = np.cumsum(areas / areas.max() if areas.any() else np.ones(len(areas)))
        steps = (np.arange(SURFACE_POINTS) + rng.random(SURFACE_POINTS)) * (total[-1] / SURFACE_POINTS)
        self._chosen = np.searchsorted(total, steps).clip(0, len(areas) - 1)
        u, v = np.sqrt(rng.random(SURFACE_POINTS)), rng.random(SURFACE_POINTS)
        self._weights = np.stack([1 - u, u * (1 - v), u * v], axis=1)[..., None]
