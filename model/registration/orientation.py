"""Which way is up: for models that know things standing on their feet, facing one way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal, get_args

import numpy as np

from model.canceling import cancelable
from model.compiled import Floats
from model.errors import InputError
from model.registration.upright import guess_up

Up = Literal["x", "y", "z", "-x", "-y", "-z", "auto"]
UPS: tuple[str, ...] = get_args(Up)
CLEAR = 1.1  # times the misfit of the best orientation that another must have


@dataclass(frozen=True)
class Orientation:
    """`rotation` [3, 3] takes the caller's points into the frame of the model, which has `up` as its y axis.

    `certain` says whether the axis was given, or beats every other one clearly. A model to which it makes no
    difference takes the points as they are, whatever `up` is; then `up` may be `guessed`, for people.
    """

    rotation: Floats
    up: str
    certain: bool
    guessed: bool = False


def as_given(up: str, clouds: Sequence[Floats]) -> Orientation:
    """The orientation for a model that reads clouds [N_t, 3] in any. Raises InputError for another `up`."""
    _require_axis(up)
    guessed = up == "auto"
    return Orientation(np.eye(3), guess_up(clouds) if guessed else up, True, guessed)


def orient(cloud: Floats, up: str, misfit: Callable[[Floats], float]) -> Orientation:
    """The orientation in which a cloud [N, 3] suits the model best, with the axis `up` or with any (`auto`).

    Tried are turns by 90°. `misfit` says how badly the model explains a cloud in its frame; 0 is best.
    Things stay as they are unless another orientation is clearly better. Raises InputError for another `up`.
    """
    _require_axis(up)
    tried = [turn for turn in TURNS if up in ("auto", up_axis(turn))]
    misfits = np.array([misfit(cloud @ turn.T) for turn in cancelable(tried)])
    axes = np.array([up_axis(turn) for turn in tried])
    usual = "y" if up == "auto" else up
    best = axes[misfits.argmin()]
    certain = bool(misfits[axes != best].min(initial=np.inf) > CLEAR * misfits.min())
    axis = best if certain else usual
    among = np.flatnonzero(axes == axis)
    first, chosen = among[0], among[misfits[among].argmin()]  # the first turns no further than it must
    if misfits[first] <= CLEAR * misfits[chosen]:
        chosen = first
    return Orientation(tried[chosen], str(axis), certain)


def _require_axis(up: str) -> None:
    if up not in UPS:
        raise InputError(f"up is {up!r}; wanted {', '.join(UPS)}")


def up_axis(rotation: Floats) -> str:
    """The axis of the caller that a rotation turns into y."""
    axis = int(np.abs(rotation[1]).argmax())
    return ("" if rotation[1, axis] > 0 else "-") + "xyz"[axis]


def _turns() -> list[Floats]:
    """The 24 rotations that take axes to axes, those that turn least first."""
    turns = []
    for axes, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.zeros((3, 3))
        matrix[range(3), axes] = signs
        if np.linalg.det(matrix) > 0:
            turns.append(matrix)
    return sorted(turns, key=lambda turn: -float(np.trace(turn)))


TURNS = _turns()
