"""Quality presets: how closely a reconstruction follows the network, traded for speed."""

from dataclasses import dataclass, field

from model.registration import Options
from model.registration.registering import QUICK


@dataclass(frozen=True)
class Quality:
    """Approximations of one preset. Lengths are in units of the unit box of the first frame."""

    # Error tolerance of a trajectory, see model.flow.step_doubling.
    tolerance: float
    # Initial distance between integrated particles (model.flow.particles); None integrates every vertex.
    spacing: float | None = None
    # Whether to start from a coarser grid, refined near the input points (model.surface.extraction).
    near_input: bool = False
    # Whether to multiply in bfloat16 where that is faster (model.networks.fused_linear). Rounding errors of
    # velocities accumulate over the evaluations of a trajectory, those of occupancy logits do not.
    flow_bfloat16: bool = False
    occupancy_bfloat16: bool = False
    # How often the grid of a surface is halved that registration puts on the points.
    coarser: int = 0
    # How much effort registration makes.
    effort: Options = field(default_factory=Options)


QUALITIES: dict[str, Quality] = {
    "exact": Quality(tolerance=2.5e-4),
    "balanced": Quality(tolerance=1e-3, spacing=0.03, near_input=True, flow_bfloat16=True),
    "draft": Quality(
        tolerance=4e-3,
        spacing=0.04,
        near_input=True,
        flow_bfloat16=True,
        occupancy_bfloat16=True,
        coarser=1,
        effort=Options(keyframes=1, starts=2, stages=QUICK, sweeps=1, points=1000),
    ),
}
DEFAULT = "balanced"
