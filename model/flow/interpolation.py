"""Interpolation between the states of a Runge-Kutta solution (dense output)."""

from collections.abc import Sequence

from torch import Tensor

ROUNDING = 1e-6  # in steps: times closer than this to a state are at that state


def locate(t: float, h: float, steps: int) -> tuple[int, float]:
    """The step of size `h` that contains time `t`, and the position within it in [0, 1]."""
    step = min(int(t / h + ROUNDING), steps - 1)
    return step, t / h - step


def is_between(fraction: float) -> bool:
    """Whether a position within a step is neither its start nor its end."""
    return ROUNDING < fraction < 1 - ROUNDING


def hermite(
    states: Sequence[Tensor], slopes: Sequence[Tensor], step: int, fraction: float, h: float
) -> Tensor:
    """Cubic Hermite interpolation at `fraction` of the way from state `step` to the next.

    `slopes` are the derivatives at the states; they are not read at either end of the step.
    """
    if not is_between(fraction):
        return states[step + round(fraction)]
    u, difference = fraction, states[step + 1] - states[step]
    bend = u * (1 - u) * h * ((1 - u) * slopes[step] - u * slopes[step + 1])
    return states[step] + u * u * (3 - 2 * u) * difference + bend
