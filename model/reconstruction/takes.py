"""Whether a sequence that is cut shows one thing: what is between the cuts has to have one shape."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.errors import PoorFitError
from model.frames import even_frames

# Logarithm by which lengths differ between two takes, 95th percentile, from which they show two things, and
# how many times that within the takes it has to be. Drawn people: up to 0.4 for one in two takes, 0.3 to 0.6
# for two.
OTHER, CLEAR = 0.4, 1.3


def require_one_thing(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    cuts: Sequence[int],
    numbers: Sequence[int] | NDArray[np.integer] | None = None,
) -> None:
    """Raise PoorFitError where a mesh, vertices [T, V, 3], changes its lengths at one of `cuts`, not between.

    A template bends into the pose after a cut; into another person or thing it has to stretch. `numbers` [T]
    are those that the caller knows the frames by.
    """
    for cut, difference, usual in differences(vertices, faces, cuts):
        number = cut if numbers is None else numbers[cut]
        if difference > OTHER and difference > CLEAR * usual:
            raise PoorFitError(
                f"the sequence is cut before frame {number}, and a different object follows: lengths on its "
                f"surface differ by a factor of {np.exp(difference):.1f}. One mesh cannot be both: cut the "
                "file there and send the parts separately"
            )


def differences(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], cuts: Sequence[int]
) -> list[tuple[int, float, float]]:
    """For each cut, by what logarithm lengths differ across it, and within the takes on both sides."""
    takes = [_lengths(vertices[begin:end], faces) for begin, end in pairwise([0, *cuts, len(vertices)])]
    found = []
    for cut, (before, after) in zip(cuts, pairwise(takes), strict=True):
        within = [np.percentile(np.abs(take - take.mean(axis=0)).max(axis=0), 95) for take in (before, after)]
        across = np.percentile(np.abs(before.mean(axis=0) - after.mean(axis=0)), 95)
        found.append((cut, float(across), float(max(within))))
    return found


def _lengths(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """Logarithms of the lengths [t, E] of some of the edges in some of the frames."""
    frames = even_frames(len(vertices), 8)
    edges = faces[np.random.default_rng(0).permutation(len(faces))[:4000], :2]
    lengths = np.linalg.norm(vertices[frames][:, edges[:, 0]] - vertices[frames][:, edges[:, 1]], axis=2)
    return np.asarray(np.log(np.maximum(lengths, 1e-12 * lengths.max())))
