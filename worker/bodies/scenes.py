"""Somebody doing something: endless moving bodies to learn from, and people who are kept for testing."""

from copy import copy
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import savgol_filter

from worker.bodies.animation import FRAMES_PER_SECOND, pose_body
from worker.bodies.motions import ACTIONS
from worker.bodies.rig import Body, Floats, load_rig
from worker.bodies.soft_tissue import GIRTHS, LAG, SoftTissue, corpulence
from worker.bodies.variety import draw_pose

# Every fourth of the rig's adults is held out: neither drawn nor mixed in for training.
HELD_OUT_ADULTS = tuple(range(3, 64, 4))
TRAINING_ADULTS = tuple(sorted(set(range(64)) - set(HELD_OUT_ADULTS)))
EASING = 3  # frames to either side over which a body's height is smoothed


@dataclass(frozen=True)
class Scene:
    """A moving mesh and what it shows."""

    action: str
    vertices: Floats  # [T, V, 3], metres, y up


class Scenes:
    """Draws people (near the `adults` of these numbers) and motions.

    With a variety of 0, people are the adults themselves and do one of `ACTIONS`. With 1, they are mixed and
    exaggerated, motions are varied as `draw_pose` describes, and soft tissue trails the bones.
    """

    def __init__(self, adults: tuple[int, ...], variety: float, turn: float) -> None:
        self.rig = load_rig()
        self._adults, self._variety, self._turn = adults, variety, turn
        self._soft_tissue = SoftTissue(self.rig)
        self._heavier = corpulence(self.rig)  # [K], coefficients of one kg/m² more

    def draw_milder(self, rng: np.random.Generator, frames: int) -> Scene:
        """A scene whose variety is anything up to that of these scenes: for training, plain ones too."""
        milder = copy(self)  # the rig and its fields are shared
        milder._variety = rng.uniform(0, self._variety)
        return milder.draw(rng, frames)

    def draw(
        self, rng: np.random.Generator, frames: int, action: str | None = None, body: Body | None = None
    ) -> Scene:
        """One scene of `frames` frames, 60 a second; of any action and person where none is given."""
        action = action or str(rng.choice(list(ACTIONS)))
        body = body or self.draw_body(rng)
        seconds = np.arange(-LAG, frames) / FRAMES_PER_SECOND
        pose = draw_pose(rng, seconds, action, self._variety, self._turn)
        vertices = pose_body(self.rig, body, pose)  # [LAG + T, V, 3]
        if self._variety:
            vertices[..., 1] += _ease(vertices[..., 1].mean(axis=1))[:, None]
        return Scene(action, self._soft_tissue.trail(vertices, self._variety * rng.uniform(0, 0.5)))

    def draw_body(self, rng: np.random.Generator) -> Body:
        """A person between two adults, moved towards or away from the average, with more or less soft tissue.

        Few of the rig's adults are heavy (body mass index over 30), and none over 36; here two in five are
        made heavier, by up to 20 kg/m².
        """
        first, second = self.rig.adults[rng.choice(self._adults, 2)].astype(np.float64)  # [K] each
        between, away = rng.uniform(0, 1), rng.uniform(-0.2, 0.5)
        coefficients = (first + self._variety * between * (second - first)) * (1 + self._variety * away)
        if rng.uniform() < 0.4:
            coefficients += self._variety * rng.uniform(0, 20) * self._heavier
        girths = rng.normal(0.3, 0.8) + rng.normal(0, 1, len(GIRTHS))  # common to all parts, and of each
        return self._soft_tissue.put_on(self.rig.body(coefficients), self._variety * girths)


def _ease(height: Floats) -> Floats:
    """What takes the jerks out of a body's mean height [T] over time, which only forces change: [T].

    A motion says when the feet leave the floor, not how legs push a body off. A parabola (free flight) stays.
    """
    eased: Floats = _easing(len(height)) @ height - height
    return eased


@cache
def _easing(frames: int) -> Floats:
    """The filter as a matrix [T, T]; applying it costs a hundredth of calling it."""
    window = min(2 * EASING + 1, frames - 1 + frames % 2)  # an odd number
    matrix: Floats = savgol_filter(np.eye(frames), window, polyorder=2, axis=0)
    return matrix
