"""How near to the network's own answer a reconstruction comes, and so how long it takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """What is spared. Lengths are in units of the first frame's box, whose longest side is 1."""

    tolerance: float  # of a particle's path; see model.flow.step_doubling
    spacing: float | None = (
        None  # of the first particles (model.flow.particles); None integrates all vertices
    )
    near_input: bool = False  # a coarse first grid, refined near input points (model.surface.extraction)
    # Whether to multiply in bfloat16 where that is faster (model.networks.fused_linear): the velocity field,
    # the decoder. Velocities are summed over many evaluations, logits are not.
    flow_bfloat16: bool = False
    occupancy_bfloat16: bool = False


QUALITIES: dict[str, Quality] = {
    "exact": Quality(tolerance=2.5e-4),
    "balanced": Quality(tolerance=1e-3, spacing=0.03, near_input=True, flow_bfloat16=True),
    "draft": Quality(
        tolerance=4e-3, spacing=0.04, near_input=True, flow_bfloat16=True, occupancy_bfloat16=True
    ),
}
DEFAULT = "balanced"
