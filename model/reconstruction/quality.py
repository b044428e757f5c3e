"""Quality presets: how closely a reconstruction follows the network, traded for speed."""

from dataclasses import dataclass, field

from model.reconstruction.surface import GridLevels
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
    # Whether nothing is looked for beyond the box of the points that the surface is put on.
    bounded: bool = False
    # Whether to multiply in bfloat16 where that is faster (model.networks.fused_linear). Rounding errors of
    # velocities accumulate over the evaluations of a trajectory, those of occupancy logits do not.
    flow_bfloat16: bool = False
    occupancy_bfloat16: bool = False
    # The grid of a surface that registration puts on the points, if it is coarser than that of the config.
    template_grid: GridLevels | None = None
    # Orientations of few points whose mean is the surface (model.reconstruction.shapes).
    turns: int = 3
    # Whether it goes through few points as far as their noise lets them be known (model.surface.kriging).
    through_points: bool = True
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
        bounded=True,
        template_grid=GridLevels(24, 1),
        turns=1,
        through_points=False,
        effort=Options(
            keyframes=1,
            keyframes_of_few=1,
            starts=2,
            matches=False,
            stages=QUICK,
            sweeps=1,
            from_neighbors=False,
            points=1000,
            nodes=100,
            samples=1000,
        ),
    ),
}
DEFAULT = "balanced"
