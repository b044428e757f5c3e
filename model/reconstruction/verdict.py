"""Whether to trust a reconstruction, told from what is known without the truth.

`judge` turns measures (`model.reconstruction.inspection`) into a word and reasons. The limits were set on
drawn things whose truth is known (see `worker.evaluation.verdicts`): of those that are called good, at least
95 % have a Chamfer distance below 0.01 of their size.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

Word = Literal["good", "doubtful", "poor"]


@dataclass(frozen=True)
class Measures:
    """What is known of a result; lengths as shares of the size, the longest side of the keyframe's points."""

    fit: float  # mean distance of the points to the surface, of all frames
    worst_fit: float  # the same of the worst frame
    off_surface: float  # share of the points that lie off the surface
    unseen: float  # share of the surface that lies far from all points
    spacing: float  # mean distance between neighbouring points
    stretch: float  # logarithm by which an edge is stretched or shrunk over time, 95th percentile
    volume: float  # logarithm by which the volume changes over time, at most
    confidence: float  # mean over the vertices and frames
    coarseness: float = 0.0  # mean edge over the longest side of the largest part of the surface
    one_sided: float = 0.0  # 1 where each frame shows one side only, or has too few points to tell
    guessed: float = 0.0  # share of the surface that has no points on its side in any frame
    folded: float = 0.0  # share of the surface that lies on other parts of it, in the worst frame
    roughness: float = 0.0  # how far unordered points scatter across the surface, over how far along it
    missing: float = 0.0  # share of the frames that do not show the object
    bridged: float = 0.0  # how far poses are expected to be off in the worst of these

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Limit:
    """Beyond `doubtful` a measure casts doubt, beyond `poor` nothing can be trusted; `reason` says why."""

    measure: str
    doubtful: float
    poor: float
    reason: str


BRIDGED = 0.02  # of the size: poses that are interpolated may be as far off

LIMITS = (
    Limit("fit", 0.0112, 0.03, "on average, points lie {value:.1%} of the object's size from the surface"),
    Limit(
        "worst_fit",
        0.0135,
        0.06,
        "at worst, points lie {value:.1%} of the object's size from the surface",
    ),
    Limit("off_surface", 0.02, 0.3, "{value:.0%} of the points have no surface near them"),
    Limit("unseen", 0.08, 0.6, "{value:.0%} of the surface is far from any point"),
    Limit(
        "spacing",
        0.036,
        0.1,
        "points are too sparse to show the shape: {value:.1%} of the object's size apart",
    ),
    Limit("stretch", 1.1, 2.0, "parts of the surface are stretched by a factor of {factor} over time"),
    Limit("volume", 0.7, 1.4, "the volume changes by a factor of {factor} over time"),
    Limit(
        "coarseness",
        0.15,
        0.4,
        "an edge of the surface is {value:.0%} as long as its largest part: send objects that are far apart "
        "separately, or raise `resolution`",
    ),
    Limit("guessed", 0.15, 0.9, "no frame has points on {value:.0%} of the surface"),
    Limit(
        "folded",
        0.08,
        0.5,
        "at worst, {value:.0%} of the surface is crumpled: parts of the object may be out of view",
    ),
    Limit("roughness", 0.59, 2.0, "the points are too noisy, or too few, to show how thick the object is"),
    Limit("missing", 0.5, 0.9, "{value:.0%} of the frames do not show the object"),
    Limit(
        "bridged",
        BRIDGED,
        5.0,
        "where frames do not show the object, poses may be off by {value:.1%} of its size",
    ),
    Limit(
        "one_sided",
        0.5,
        2.0,
        "one side of the surface is guessed: the points do not show it, or are too few to tell",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """`word` and the `reasons` for it, sentences without a full stop; none where it is good."""

    word: Word
    reasons: list[str]


def judge(measures: Measures, where: Callable[[Limit], str] = lambda _: "") -> Verdict:
    """Good where no measure is beyond its limit, poor where one is far beyond it, doubtful between.

    `where` names the frames in which a measure is beyond its limit, if it is not so in all.
    """
    values = measures.to_dict()
    beyond = [limit for limit in LIMITS if not values[limit.measure] <= limit.doubtful]
    word: Word = "good"
    if beyond:
        word = "poor" if any(not values[limit.measure] <= limit.poor for limit in beyond) else "doubtful"
    reasons = []
    for limit in beyond:
        frames = where(limit)
        reasons.append(_reason(limit, values[limit.measure]) + (f" ({frames})" if frames else ""))
    return Verdict(word, reasons)


def factor(logarithm: float) -> str:
    """By how much something is stretched, in words."""
    return f"{np.exp(logarithm):.1f}" if logarithm < np.log(100) else "over 100"


def _reason(limit: Limit, value: float) -> str:
    if 0.995 <= value < 1:  # would be rounded to all
        return limit.reason.replace("{value:.0%}", "over 99%").format(value=value, factor=factor(value))
    return limit.reason.format(value=value, factor=factor(value))
