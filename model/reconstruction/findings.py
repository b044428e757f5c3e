"""What a reconstruction found out and did, and whether to trust it: for people, beside the meshes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.compiled import Floats, Ints
from model.errors import PoorFitError
from model.frames import named
from model.meshes.sequence import Findings
from model.reconstruction.gaps import Gaps
from model.reconstruction.inspection import Inspection
from model.reconstruction.preparation import Prepared
from model.reconstruction.registered import Registered
from model.reconstruction.verdict import BRIDGED, Limit, factor, judge
from model.registration.coverage import TELLING
from model.registration.stillness import is_still

ABOUT = 1.2  # times the faces that were asked for are not worth a word
SLID = 0.75  # logarithm by which edges are stretched, from which correspondence errors are large
USELESS_FIT, USELESS_SHARE = 0.1, 0.6  # mean distance in sizes; share of the points off the surface


def find(
    clouds: Sequence[NDArray[np.floating]],
    vertices: NDArray[np.float64],
    faces: NDArray[np.integer],
    times: NDArray[np.float64],
    prepared: Prepared,
    registered: Registered | None,
    target: int | None = None,
) -> Findings:
    """Findings on vertices [U, V, 3] at the times of clouds [N_t, 3]; unregistered ones follow a flow.

    These are of the frames that show the object, `times` [T] of all. `target` is the number of faces that was
    asked for.
    """
    keyframe = registered.tracking.keyframe if registered else 0
    confidence = registered.tracking.confidence if registered else None  # [T, V]
    one_sided = registered is not None and registered.one_sided
    shown, jumps = prepared.shown, registered.tracking.jumps if registered else []
    gaps = Gaps(prepared.frames, shown, shown[jumps])
    inspection = Inspection(clouds, vertices, faces, keyframe)
    errors, in_pauses = (errors / inspection.size for errors in gaps.errors(vertices, times))  # [M], [P]
    missing = len(gaps.missing) / prepared.frames
    bridged = float(errors.max(initial=0))
    measures = inspection.measures(
        confidence, one_sided, not prepared.corresponding, missing=missing, bridged=bridged
    )

    def where(limit: Limit) -> str:
        """The frames in which a measure is beyond its limit, unless it is so in all, or of all together."""
        if limit.measure == "bridged":
            return named(gaps.missing[~(errors <= limit.doubtful)])
        beyond, looked_at = inspection.beyond(limit)
        step = int(np.diff(shown[looked_at]).max(initial=1)) if len(looked_at) < len(clouds) else 1
        return named(shown[beyond], step) if 0 < len(beyond) < len(looked_at) else ""

    verdict = judge(measures, where)
    warnings = list(prepared.warnings)
    decisions: dict[str, Any] = {
        "corresponding": prepared.corresponding,
        "scatter": round(prepared.found.scatter, 4),
        "removed": prepared.removed.to_dict() if registered else {},
        "missing": gaps.missing.tolist(),
        "keyframe": int(shown[keyframe]),
        "up": registered.orientation.up if registered else "y",  # as networks of people need it
    }
    if registered is not None:
        decisions["jumps"] = shown[jumps].tolist()
        decisions["one_sided"] = one_sided and _can_tell(prepared)
        warnings += _warnings(registered, decisions)
    warnings += gaps.describe(prepared.removed.floor + prepared.removed.still > 0)
    warnings += paused(gaps.pauses(times), in_pauses)
    if is_still(prepared.clouds, prepared.valid if prepared.corresponding else None):
        warnings.append("nothing moves: all frames show the same pose")
    if registered is not None and not prepared.corresponding:
        warnings += slid(measures.stretch)
    warnings += unreached(len(faces), target)
    surely = None
    if confidence is not None and confidence.shape[1] == vertices.shape[1]:  # not of another surface
        surely = (confidence.sum(axis=0) / prepared.frames).astype(np.float32)  # 0 in frames without points
    return Findings(
        verdict=verdict.word,
        reasons=verdict.reasons,
        warnings=warnings,
        decisions=decisions,
        measures=measures.to_dict(),
        confidence=surely,
    )


def require_useful(findings: Findings, name: str) -> None:
    """Raise PoorFitError where the surface has nothing to do with the points."""
    fit, off = findings.measures["fit"], findings.measures["off_surface"]
    if fit <= USELESS_FIT and off <= USELESS_SHARE:
        return
    raise PoorFitError(
        f"{name} found no surface that fits: on average, points lie {fit:.0%} of the object's size from it, "
        f"and {off:.0%} of them lie far from it. Try another model, `up` if the model needs upright people, "
        "`corresponding=false` if rows are not the same particles, more points in each frame, a higher "
        "`simplify` if it is low, or send objects that are far apart separately"
    )


def slid(stretch: float) -> list[str]:
    """A warning if vertices may not have kept to their place on the surface, from a measure of it."""
    if stretch <= SLID:
        return []
    return [
        f"parts of the surface are stretched by a factor of {factor(stretch)} over time: unless the object "
        "stretches like that, vertices have slid along it or follow another part; more points or more frames "
        "per second help"
    ]


def paused(frames: Ints, errors: Floats) -> list[str]:
    """A warning if poses may be off, by `errors` [P] in sizes, while time passes before some frames [P]."""
    far = errors > BRIDGED
    if not far.any():
        return []
    return [
        f"time passes without frames before {named(frames[far])}: the motion is interpolated there, and "
        f"poses may be off by {errors.max():.1%} of the object's size"
    ]


def unreached(faces: int, target: int | None) -> list[str]:
    """A warning if far more faces were left than the target of simplification."""
    if target is None or faces <= ABOUT * target:
        return []
    return [f"the surface has {faces:,} faces, more than `simplify` asks for: with {target:,} it would tear"]


def _can_tell(prepared: Prepared) -> bool:
    """Whether there are enough points to say that they show one side: fewer are tracked as if they did."""
    return float(np.median([len(cloud) for cloud in prepared.clouds])) >= TELLING


def _warnings(registered: Registered, decisions: dict[str, Any]) -> list[str]:
    warnings = []
    if decisions["jumps"]:
        warnings.append(
            f"the sequence jumps or is cut before {named(decisions['jumps'])}: one mesh continues across it; "
            "if a different object follows, cut the file there and send the parts separately"
        )
    if decisions["one_sided"]:
        warnings.append("the points show one side of the object only")
    if not registered.orientation.certain:
        warnings.append("it is not clear which way is up: y was assumed; set `up` if that is wrong")
    return warnings
