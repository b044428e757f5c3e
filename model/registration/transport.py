"""Optimal transport between two clouds: every part finds its share of the other, however far it moved.

Nearest neighbors leave behind what moves further than its own thickness; a plan that must use every point
once does not (Shen et al., "Accurate Point Cloud Registration with Robust Optimal Transport", NeurIPS 2021).
"""

import numpy as np
from scipy.spatial.distance import cdist

from model.compiled import Floats

LEAST = 1e-36  # of the kernel, so that no point is without all others


def transport_targets(
    source: Floats,
    source_masses: Floats,
    target: Floats,
    target_masses: Floats,
    blur: float,
    reach: tuple[float, float],
    rounds: int,
) -> tuple[Floats, Floats]:
    """Where each source point goes, and how surely.

    source [A, 3] and target [B, 3] with masses that add to one; `blur` is the distance under which targets
    are not told apart, `reach` the distance beyond which mass of the source, and of the target, rather stays
    unmatched. Returns targets [A, 3], the mean of the plan over the target points, and the share of the mass
    that was placed, in [0, 1] [A].
    """
    # Single precision halves the time of the products with the kernel, which is all of it.
    squared = cdist(source, target, "sqeuclidean").astype(np.float32)  # [A, B]
    kernel = np.exp(squared / np.float32(-2 * blur**2)) + np.float32(LEAST)
    give, take = (np.float32(r**2 / (r**2 + blur**2)) for r in reach)
    source_masses, target_masses = source_masses.astype(np.float32), target_masses.astype(np.float32)
    left, right = np.ones(len(source), np.float32), np.ones(len(target), np.float32)
    for _ in range(rounds):
        right = (target_masses / (kernel.T @ left)) ** take
        left = (source_masses / (kernel @ right)) ** give
    plan = left[:, None] * kernel * right
    mass = plan.sum(1)
    return plan @ target / mass[:, None], np.minimum(mass / source_masses, 1.0).astype(np.float64)
