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
    swayed: Floats = sways(rng, seconds, np.array([degrees]))[0]
    return swayed


def sways(rng: np.random.Generator, seconds: Floats, degrees: Floats) -> Floats:
    """`sway` of each of these sizes [K], at the times [T]: [K, T]."""
    k = np.arange(4)[:, None]
    phases = rng.uniform(size=(len(degrees), 4, 1))
    tracks = degrees[:, None, None] / (k + 1) * wave(0.8 * (k + 0.6) * seconds + phases)  # [K, 4, T]
    swayed: Floats = tracks.sum(axis=1) / 1.6
    return swayed
