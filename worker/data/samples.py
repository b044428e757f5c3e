"""Sample sequences: generated people in motion, seen as the shipped model's training data was seen.

    write_sample("large", "large.npz")   # 17 frames × 20,000 points, made on demand

A sample is drawn wholly from its seed, so the files in `service/page/samples` can be made again, bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.bodies import ACTIONS, FRAMES_PER_SECOND, animate, draw_surface_points, load_rig

FRAMES = 17  # what the model reads
SEQUENCE_FRAMES = 50  # a window is cut from a longer motion, as in training
NOISE = 0.001  # standard deviation, in longest sides of the first frame's box
DECIMALS = 4  # a tenth of a millimetre: below the noise, and above what differs between processors


@dataclass(frozen=True)
class Recipe:
    """All that a sample depends on."""

    action: str
    seed: int
    start: int  # first frame of the window
    points: int = 300


# Seeds and windows were chosen by eye: a clear motion, limbs apart in the first frame.
RECIPES = {
    "jumping_jacks": Recipe("jumping_jacks", seed=2, start=20),
    "knees": Recipe("knees", seed=5, start=27),
    "large": Recipe("light_hopping", seed=1, start=32, points=20_000),
}


def make_sample(name: str) -> dict[str, NDArray[np.generic]]:
    """The arrays of one of `RECIPES`: `points` float32 [17, N, 3] in metres, `times` [17] in seconds, and
    `corresponding`, which is true: row j is the same particle in every frame.
    """
    if name not in RECIPES:
        raise ValueError(f"no sample {name!r}; there are {', '.join(RECIPES)}")
    return sequence_arrays(RECIPES[name])


def large_sample() -> dict[str, NDArray[np.generic]]:
    """17 frames × 20,000 points: what a depth camera or a dense tracker would send."""
    return make_sample("large")


def write_sample(name: str, path: str | Path) -> None:
    """Write a sample as .npz, to upload or to reconstruct."""
    arrays = make_sample(name)
    with Path(path).open("wb") as file:  # an open file, since numpy appends .npz to names without it
        np.savez(file, allow_pickle=False, **arrays)


def sequence_arrays(recipe: Recipe) -> dict[str, NDArray[np.generic]]:
    """The arrays of any recipe."""
    rig, rng = load_rig(), np.random.default_rng([recipe.seed, list(ACTIONS).index(recipe.action)])
    vertices = animate(rig, rig.draw_body(rng), recipe.action, rng, SEQUENCE_FRAMES)
    window = vertices[recipe.start : recipe.start + FRAMES]  # [17, V, 3]
    points = draw_surface_points(window[0], rig.faces, recipe.points, rng).on(window)  # [17, N, 3]
    points += rng.normal(0, NOISE * np.ptp(points[0], axis=0).max(), points.shape)
    return {
        "points": points.round(DECIMALS).astype(np.float32),
        "times": np.arange(FRAMES) / FRAMES_PER_SECOND,
        "corresponding": np.array(True),
    }
