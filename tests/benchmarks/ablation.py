"""What each part of the registration contributes: scores with one part at a time switched off.

    python -m tests.benchmarks.ablation REGIME SUBJECT.npz|FOLDER|drawn:SEED...

Subjects, regimes and scores are those of `moving`; `drawn:SEED` is a person drawn as in `drift`.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from model import Reconstructor
from model.reconstruction import registered
from model.reconstruction.shapes import LocalShapes
from model.registration import attempts, keyframes, sweeping, tracking
from tests.benchmarks import drift, moving

REGIMES = tuple(regime for regime in moving.REGIMES if regime != "corr300")  # the others are registered


def without_sweeps(*arguments: Any, **named: Any) -> tracking.Tracking:
    named["options"] = replace(named["options"], sweeps=0)
    return tracking.track(*arguments, **named)


# What is put in the place of a part.
SWITCHED_OFF: dict[str, tuple[Any, str, Any]] = {
    "template of the first frame only": (tracking, "candidates", lambda _clouds, _count: [0]),
    "template of the widest frame only": (
        tracking, "candidates", lambda clouds, _count: keyframes.candidates(clouds, 1)
    ),
    "no learned matches": (LocalShapes, "matching", lambda *_: None),
    "no joint sweeps": (registered, "track", without_sweeps),
    "sweeps not smooth in time": (sweeping, "STEADY", 0.0),
    "template not refined": (attempts, "refined", lambda template, *_: template),
    "parts not turned": (attempts, "turn_parts", lambda _template, _clouds, motions, *_: motions),
    "sweeps not stiffer for few points": (sweeping, "STIFFER", 0.0),
    "camera of one-sided clouds not looked for": (tracking, "towards_camera", lambda clouds, _faced: clouds),
    "parts not taken apart": (attempts, "taken_apart", lambda *_: None),
}  # fmt: skip


@contextmanager
def switched_off(part: str | None) -> Iterator[None]:
    with ExitStack() as stack:
        if part is not None:
            target, name, instead = SWITCHED_OFF[part]
            stack.enter_context(patch.object(target, name, instead))
        yield


def particles(subject: str, regime: str) -> tuple[str, NDArray[np.float64]]:
    """The name of a subject and its particles [T, P, 3] in the unit box of frame 0."""
    if subject.startswith("drawn:"):
        return subject, drift.draw(int(subject.partition(":")[2]), moving.FRAMES)[1]
    frames = moving.LONG if regime == "long" else moving.FRAMES
    return Path(subject).stem, moving.particles(Path(subject), frames)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("subjects", nargs="+")
    arguments = parser.parse_args()
    reconstruct = Reconstructor.from_config("local_oflow")
    drawn = [particles(subject, arguments.regime) for subject in arguments.subjects]
    measured = [moving.clouds(truth, arguments.regime, np.random.default_rng(7)) for _, truth in drawn]
    for part in (None, *SWITCHED_OFF):
        rows = []
        for (name, truth), clouds in zip(drawn, measured, strict=True):
            with switched_off(part):
                rows.append(score(reconstruct, clouds, truth))
            print(f"    {name:24s} {moving.described(rows[-1])}", flush=True)
        mean = tuple(float(x) for x in np.mean(rows, axis=0))
        print(f"{part or 'everything':42s} {moving.described(mean)}", flush=True)


def score(
    reconstruct: Callable[..., Any], clouds: list[NDArray[np.float64]], truth: NDArray[np.float64]
) -> tuple[float, float, float]:
    # In float32, as in the archives that `moving` writes.
    meshes = reconstruct([cloud.astype(np.float32) for cloud in clouds], corresponding=False)
    return moving.score(meshes.vertices, meshes.faces, truth)


if __name__ == "__main__":
    main()
