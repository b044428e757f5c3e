"""Animated meshes of constant topology, and how well they fit their input."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.textures import Texture
from model.meshes.topology import is_closed
from model.meshes.upright import AXES


@dataclass(frozen=True, eq=False)
class FitReport:
    """Distance from the input points to the mesh per input frame, in the caller's units.

    NaN in frames that do not show the object.
    """

    times: NDArray[np.float64]  # [T], seconds
    mean: NDArray[np.float64]  # [T]
    p95: NDArray[np.float64]  # [T], 95th percentile

    def to_dict(self) -> dict[str, list[float | None]]:
        """As JSON values: None for NaN."""
        columns = {"times": self.times, "mean": self.mean, "p95": self.p95}
        return {
            name: [None if np.isnan(value) else value for value in values.tolist()]
            for name, values in columns.items()
        }


@dataclass(frozen=True, eq=False)
class Findings:
    """What is known of a reconstruction beside its meshes.

    `reasons` say why the verdict is not good, `warnings` what is unusual about the input: both phrases for
    people. `decisions` are what was found out of the input and done with it, `measures` what the verdict
    rests on (`model.reconstruction.verdict`). `confidence` [V] is near 1 where points were measured at a
    vertex, near 0 where none were.
    """

    verdict: Literal["good", "doubtful", "poor"]
    reasons: list[str]
    warnings: list[str]
    decisions: dict[str, Any]
    measures: dict[str, float]
    confidence: NDArray[np.float32] | None = None  # [V]

    def after(self, effects: dict[str, Any], vertices: int) -> "Findings":
        """These findings with `effects` of what was done on request, for a mesh of that many vertices.

        Vertices that were added have confidence 0.
        """
        confidence = self.confidence
        if confidence is not None:
            confidence = np.pad(confidence, (0, vertices - len(confidence)))
        return replace(self, decisions=self.decisions | effects, confidence=confidence)


@dataclass(eq=False)
class MeshSequence:
    """An animated mesh: faces are the same in every frame, and vertex i is the same particle throughout.

    `vertices` are in the caller's coordinates and float64, since float32 is too coarse far from the origin.
    `colors` are sRGB. `playback` are the seconds at which frames play in files, from 0 for the first input
    frame; None plays `times`. `up` is the axis of `vertices` that points up, by which files stand
    upright in formats that say which way is up. Raises InputError for inconsistent arrays.
    """

    vertices: NDArray[np.float64]  # [T, V, 3]
    faces: NDArray[np.int32]  # [F, 3]
    times: NDArray[np.float64]  # [T], seconds
    colors: NDArray[np.uint8] | None = None  # [V, 3]
    texture: Texture | None = None
    fit: FitReport | None = None
    timings: dict[str, float] = field(default_factory=dict)  # seconds by stage
    findings: Findings | None = None
    playback: NDArray[np.float64] | None = None  # [T], seconds
    up: str = "y"

    def __post_init__(self) -> None:
        self.vertices = np.asarray(self.vertices, np.float64)
        self.times = np.asarray(self.times, np.float64)
        faces = np.asarray(self.faces)
        _require(
            self.vertices.ndim == 3 and self.vertices.shape[2] == 3 and self.vertices.size > 0,
            f"vertices have shape {self.vertices.shape}, wanted [T, V, 3], at least one frame and one vertex",
        )
        _require(
            bool(np.isfinite(self.vertices).all()), "vertices hold NaN or infinity, wanted finite numbers"
        )
        frames, count = self.vertices.shape[:2]
        _require(
            faces.ndim == 2 and faces.shape[1] == 3 and len(faces) > 0 and faces.dtype.kind in "iu",
            f"faces have shape {faces.shape} of {faces.dtype}, wanted at least one row of integers [F, 3]",
        )
        _require(
            int(faces.min()) >= 0 and int(faces.max()) < count,
            f"faces name vertices {faces.min()} to {faces.max()}, but there are only 0 to {count - 1}",
        )
        _require(
            self.times.shape == (frames,),
            f"times have shape {self.times.shape}, wanted [{frames}], one a frame",
        )
        _require(
            bool(np.isfinite(self.times).all() and (np.diff(self.times) > 0).all()),
            "times do not increase from frame to frame",
        )
        _require(self.up in AXES, f"up is {self.up!r}, wanted {', '.join(AXES)}")
        self.faces = faces.astype(np.int32)
        if self.colors is not None:
            self.colors = np.asarray(self.colors)
            _require(
                self.colors.shape == (count, 3) and self.colors.dtype == np.uint8,
                f"colors have shape {self.colors.shape} of {self.colors.dtype}, wanted uint8 [{count}, 3]",
            )

    @property
    def confidence(self) -> NDArray[np.float32] | None:
        """How surely each vertex [V] was measured, 0 to 1; None if that is unknown."""
        return self.findings.confidence if self.findings is not None else None

    @property
    def watertight(self) -> bool:
        """Whether every edge belongs to exactly two faces of consistent orientation."""
        return is_closed(self.faces)

    @property
    def clock(self) -> NDArray[np.float64]:
        """Seconds [T] from the start of a clip at which its frames play."""
        return self.times - self.times[0] if self.playback is None else self.playback

    @property
    def fps(self) -> float:
        """Frames per second as they play, from the median time step; 0 for a single frame."""
        return float(1 / np.median(np.diff(self.clock))) if len(self.times) > 1 else 0.0

    def to_glb(self) -> bytes:
        """Animated binary glTF 2.0 (see `model.meshes.glb`)."""
        from model.meshes.glb import write_glb  # which reads this class

        return write_glb(self)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise InputError(f"Not a mesh sequence: {problem}.")
