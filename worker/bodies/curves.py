"""The few curves that all motions are made of. A phase counts cycles; 0 and 1 are the same moment."""

import numpy as np

from worker.bodies.rig import Floats

TURN = 2 * np.pi


def wave(phase: Floats) -> Floats:
    """Sine of a phase in cycles."""
    return np.sin(TURN * phase)


def bump(phase: Floats, sharpness: float = 1.0) -> Floats:
    """0 → 1 → 0 once a cycle."""
    return (0.5 - 0.5 * np.cos(TURN * phase)) ** sharpness


def flight(phase: Floats, share: float) -> Floats:
    """A thrown body's arc, 0 → 1 → 0, in the first `share` of each cycle; 0 on the ground."""
    through = (phase % 1) / share
    return np.where(through < 1, 4 * through * (1 - through), 0)


def landing(phase: Floats, share: float) -> Floats:
    """0 → 1 → 0 in what `flight` leaves of each cycle."""
    through = (phase % 1 - share) / (1 - share)
    return np.where(through > 0, bump(through), 0)


def sway(rng: np.random.Generator, seconds: Floats, degrees: float) -> Floats:
    """Slow wandering of nobody's intention: four sines of falling amplitude and random phase."""
    track = np.zeros_like(seconds)
    for k in range(4):
        track += degrees / (k + 1) * wave(0.8 * (k + 0.6) * seconds + rng.uniform())
    return track / 1.6
