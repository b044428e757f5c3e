"""An occupancy corrected so that its surface passes through measured points.

Simple kriging (Matheron 1963): what a network says at points that are known to lie on the surface is by how
much it is wrong there. The correction at other places is the best linear prediction from these errors, which
are alike where points are close. Of points without noise it restores what the network smooths away between
few of them: tips, thin parts, gaps.
"""

import torch
from torch import Tensor

from model.surface.refinement import Occupancy

# Chosen by the occupancy of drawn bodies and solids, of 300 points with a noise of 0.001 to 0.01.
WIDTH = 1.5  # spacings at which errors are still alike, the standard deviation of a Gaussian
NUGGET = 0.2  # variance of an error that nothing nearby shares, over that of what is shared
NOISY = 100.0  # and how fast it grows with the square of noise over spacing
CLOSEST = 1e-3  # of the unit box: duplicate points have no spacing
FAINTEST = -30.0  # exponent; that of a denormal number, such as e^-100, takes a CPU five times as long
ROWS = 1024  # queries at once


@torch.no_grad()
def through_points(occupancy: Occupancy, points: Tensor, noise: float) -> Occupancy:
    """Logits like those of `occupancy`, but about 0 at points [N, 3] of the surface.

    `noise` is the standard deviation of their coordinates; with much of it, nothing is changed. All pairs of
    points are looked at, so N should not be above some hundreds.
    """
    apart = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")  # [N, N]
    spacing = apart.kthvalue(2, dim=1).values.median().clamp_min(CLOSEST)

    def alike(distance: Tensor) -> Tensor:  # in place
        return distance.div_(WIDTH * spacing).square_().mul_(-0.5).clamp_min_(FAINTEST).exp_()

    nugget = NUGGET + NOISY * (noise / spacing) ** 2
    covariance = alike(apart) + nugget * torch.eye(len(points), device=points.device)  # [N, N]
    weights = torch.linalg.solve(covariance, -occupancy(points))  # [N]

    @torch.no_grad()
    def corrected(queries: Tensor) -> Tensor:
        near = [alike(torch.cdist(part, points)) @ weights for part in queries.split(ROWS)]
        return occupancy(queries) + torch.cat(near)

    return corrected
