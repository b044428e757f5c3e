"""Sample sequences: generated people and an animal in motion, as clouds with a little noise.

    write_sample("large", "large.npz")   # 17 frames × 20,000 points, made on demand

A sample is drawn wholly from its seed, so the files in `service/page/samples` can be made again, bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.bodies import ACTIONS, FRAMES_PER_SECOND, animate, draw_surface_points, load_rig
from worker.solids.walker import draw_points, draw_walker

Arrays = dict[str, NDArray[np.generic]]

FRAMES = 17  # of a person
SEQUENCE_FRAMES = 50  # a window is cut from a longer motion, as in training
NOISE = 0.001  # standard deviation, in longest sides of the first frame's box
DECIMALS = 4  # a tenth of a millimetre: below the noise, and above what differs between processors


@dataclass(frozen=True)
class Person:
    """All that a sequence of a person depends on."""

    action: str
    seed: int
    start: int  # first frame of the window
    points: int = 300
    corresponding: bool = True  # else each frame shows other particles

    def arrays(self) -> Arrays:
        """`points` float32 [17, N, 3] in metres, `times` [17] in seconds, and `corresponding`."""
        rig, rng = load_rig(), np.random.default_rng([self.seed, list(ACTIONS).index(self.action)])
        vertices = animate(rig, rig.draw_body(rng), self.action, rng, SEQUENCE_FRAMES)
        window = vertices[self.start : self.start + FRAMES]  # [17, V, 3]
        drawn = draw_surface_points(window[0], rig.faces, self.points, rng)
        points = drawn.on(window)  # [17, N, 3]
        if not self.corresponding:
            for frame, cloud in zip(window[1:], points[1:], strict=True):
                cloud[:] = draw_surface_points(frame, rig.faces, self.points, rng).on(frame)
        return {
            "points": _noisy(points, points[0], rng).astype(np.float32),
            "times": np.arange(FRAMES) / FRAMES_PER_SECOND,
            "corresponding": np.array(self.corresponding),
        }


@dataclass(frozen=True)
class Animal:
    """All that a sequence of a walking animal depends on."""

    seed: int
    frames: int = 24
    frames_per_second: int = 24
    fewest: int = 1300  # points of a frame
    most: int = 1700

    def arrays(self) -> Arrays:
        """`points` float16 [M, 3] in metres, `lengths` [T] with the sum M, and `times` [T] in seconds.

        One cycle of the legs a second. Each frame shows other particles, and another number of them.
        """
        rng = np.random.default_rng(self.seed)
        walker, times = draw_walker(rng), np.arange(self.frames) / self.frames_per_second
        lengths = rng.integers(self.fewest, self.most, self.frames, endpoint=True)
        clouds = [
            draw_points(walker.at(cycles), count, rng)
            for cycles, count in zip(times - times[-1] / 2, lengths.tolist(), strict=True)
        ]
        points = _noisy(np.concatenate(clouds), clouds[0], rng)  # [M, 3]
        return {"points": points.astype(np.float16), "lengths": lengths, "times": times}


@dataclass(frozen=True)
class Scan:
    """All that a raw scan of a moving person depends on."""

    action: str
    seed: int
    start: int  # first frame of the window
    fewest: int = 800  # points of a frame on the person
    most: int = 1000
    noise: float = 0.005  # standard deviation, in longest sides of the first frame's box
    strays: float = 0.02  # points around the person, per point on the person

    def arrays(self) -> Arrays:
        """`points` float16 [M, 3] in metres, z up, `lengths` [T] with the sum M, and `times` [T] in seconds.

        Each frame shows other particles, and another number of them, in random order.
        """
        rig, rng = load_rig(), np.random.default_rng([self.seed, list(ACTIONS).index(self.action)])
        vertices = animate(rig, rig.draw_body(rng), self.action, rng, SEQUENCE_FRAMES)
        window = vertices[self.start : self.start + FRAMES]  # [17, V, 3]
        low, high = window.min((0, 1)), window.max((0, 1))  # [3]
        margin = 0.1 * (high - low)
        clouds = []
        for frame in window:
            count = int(rng.integers(self.fewest, self.most, endpoint=True))
            on_skin = draw_surface_points(frame, rig.faces, count, rng).on(frame)  # [N, 3]
            noise = rng.normal(0, self.noise * np.ptp(window[0], axis=0).max(), on_skin.shape)
            around = rng.uniform(low - margin, high + margin, (round(self.strays * count), 3))
            clouds.append(rng.permutation(np.concatenate([on_skin + noise, around])))
        x, y, z = np.concatenate(clouds).round(DECIMALS).T
        return {
            "points": np.stack([x, -z, y], axis=1).astype(np.float16),  # [M, 3]
            "lengths": np.array([len(cloud) for cloud in clouds]),
            "times": np.arange(FRAMES) / FRAMES_PER_SECOND,
        }


# Seeds and windows were chosen by eye: a clear motion.
RECIPES: dict[str, Person | Animal | Scan] = {
    "jumping_jacks": Person("jumping_jacks", seed=2, start=28, points=1000, corresponding=False),
    "walker": Animal(seed=1),
    "scan": Scan("running_on_spot", seed=3, start=16),
    "knees": Person("knees", seed=5, start=27),
    "large": Person("light_hopping", seed=1, start=32, points=20_000),
}


def make_sample(name: str) -> Arrays:
    """The arrays of one of `RECIPES`, as an upload holds them."""
    if name not in RECIPES:
        raise ValueError(f"no sample {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name].arrays()


def large_sample() -> Arrays:
    """17 frames × 20,000 points: what a depth camera or a dense tracker would send."""
    return make_sample("large")


def write_sample(name: str, path: str | Path) -> None:
    """Write a sample as .npz, to upload or to reconstruct."""
    arrays = make_sample(name)
    with Path(path).open("wb") as file:  # an open file, since numpy appends .npz to names without it
        np.savez(file, allow_pickle=False, **arrays)


def _noisy(
    points: NDArray[np.float64], first: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Points [..., 3] with noise in proportion to the first frame [N, 3], rounded."""
    noise = rng.normal(0, NOISE * np.ptp(first, axis=0).max(), points.shape)
    rounded: NDArray[np.float64] = (points + noise).round(DECIMALS)
    return rounded
