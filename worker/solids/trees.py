"""Building one jointed thing part by part."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.solids.skeletons import PARTS

Floats = NDArray[np.float64]
MIRROR = np.diag([-1.0, 1.0, 1.0])


class Tree:
    """Parts gathered one by one, in one style of shapes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.roundness = rng.choice(["round", "boxy", "mixed"], p=[0.5, 0.2, 0.3])
        self.skin = 0.0 if rng.uniform() < 0.4 else float(np.exp(rng.uniform(np.log(0.008), np.log(0.05))))
        self.girth = np.exp(rng.normal(0, 0.25))
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        parent: int | None,
        joint: tuple[float, float, float],
        direction: tuple[float, float, float] | Floats,
        sides: tuple[float, float, float],
        swing: tuple[float, float, float] = (1.0, 0.3, 0.5),
        slide: float = 0.0,
        side: int = 1,
    ) -> int:
        """A part of the given width, length and depth; with `side` -1 mirrored to the other side of x = 0."""
        rng, turn = self.rng, _toward(np.asarray(direction, dtype=float))
        place = np.asarray(joint, dtype=float)
        if side < 0:
            turn, place = MIRROR @ turn @ MIRROR, place @ MIRROR
        width, length, depth = (max(0.012, extent) for extent in sides)
        boxy = self.roundness == "boxy" or (self.roundness == "mixed" and rng.uniform() < 0.5)
        self.rows.append(
            {
                "parent": PARTS if parent is None else parent,
                "rotation": turn,
                "joint": place,
                "half": np.array([width * self.girth, length, depth * self.girth]) / 2,
                "rounding": rng.uniform(0.05, 0.4) if boxy else rng.uniform(0.7, 1),
                "ellipsoid": not boxy and rng.uniform() < 0.25,
                "taper": rng.uniform(-0.45, 0.2) if rng.uniform() < 0.6 else 0.0,
                "swing": np.asarray(swing),
                "slide": slide,
            }
        )
        return len(self.rows) - 1

    def chain(
        self,
        parent: int,
        joint: tuple[float, float, float],
        directions: list[tuple[float, float, float]],
        sides: tuple[float, float, float],
        shrink: float = 0.8,
        side: int = 1,
    ) -> None:
        """Parts one at the end of the other, the first in the parent's frame and each `shrink` times the
        last.
        """
        for direction in directions:
            if len(self.rows) == PARTS:
                return
            parent = self.add(parent, joint, direction, sides, side=side)
            joint = (0.0, sides[1], 0.0)
            sides = (sides[0] * shrink, sides[1] * self.rng.uniform(0.7, 1.1), sides[2] * shrink)

    def pair(
        self,
        parent: int,
        joint: tuple[float, float, float],
        directions: list[tuple[float, float, float]],
        sides: tuple[float, float, float],
        shrink: float = 0.8,
    ) -> None:
        """The same chain on both sides, or with sides of its own now and then."""
        state = self.rng.bit_generator.state
        for side in (1, -1):
            if self.rng.uniform() < 0.85:
                self.rng.bit_generator.state = state
            self.chain(parent, joint, directions, sides, shrink, side)

    def padded(self) -> dict[str, NDArray[Any]]:
        empty: dict[str, Any] = {"parent": PARTS, "rotation": np.eye(3), "half": np.zeros(3)}
        columns: dict[str, NDArray[Any]] = {}
        for name, value in self.rows[0].items():
            padding = [empty.get(name, np.zeros_like(np.asarray(value)))] * (PARTS - len(self.rows))
            columns[name] = np.stack([np.asarray(row[name]) for row in self.rows] + padding)
        return columns | {"skin": np.asarray(self.skin)}


def _toward(direction: Floats) -> Floats:
    """A rotation that takes +y to `direction`, with no more of a turn than that takes."""
    x, y, z = direction / np.linalg.norm(direction)
    if y < -0.999:
        return np.diag([1.0, -1.0, -1.0])
    f = 1 / (1 + y)
    return np.array([[1 - x * x * f, x, -x * z * f], [-x, y, -z], [-x * z * f, z, 1 - z * z * f]])
