"""How much effort registration makes."""

from collections.abc import Sequence
from dataclasses import dataclass

from model.registration.fitting import Stage
from model.registration.following import STARTS
from model.registration.registering import NEAR
from model.registration.template import NODES, SAMPLES


@dataclass(frozen=True)
class Options:
    """The defaults are those of `balanced`."""

    keyframes: int = 2  # templates that are tried
    keyframes_of_few: int = 4  # the same of few points, whose motion is least certain but takes least time
    starts: int = STARTS  # guesses of the motion of a frame that are tried
    matches: bool = True  # whether one of them may be where a network matches the frames
    stages: Sequence[Stage] = NEAR  # that a frame is fitted through, before the sweeps
    sweeps: int = 3  # passes over all frames after the tracking
    from_neighbors: bool = True  # whether frames are also tried from others, and parts that were lost turned
    points: int = 2500  # of a frame that are registered; the keyframe's surface is taken from all of them
    nodes: int = NODES  # of the deformation graph
    samples: int = SAMPLES  # of the surface that are compared with the points
