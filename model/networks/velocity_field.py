"""Velocity fields. `VELOCITY_FIELDS` maps the config's names to classes."""

from typing import cast

import torch
from torch import Tensor, nn

from model.flow.fields import Field
from model.networks.fused_linear import FusedLinear
from model.networks.layers import ResnetBlockFC, activate


class VelocityField(nn.Module):
    """`concat`: a residual network on (x, y, z, t); the codes are added before each block.

    t [] or [B], points [B, P, 3], z [B, z_dim] or None, c [B, c_dim] or None → velocities [B, P, 3].
    """

    def __init__(
        self,
        c_dim: int,
        z_dim: int = 0,
        dim: int = 3,
        hidden_size: int = 512,
        leaky: bool = False,
        n_blocks: int = 5,
    ) -> None:
        super().__init__()
        self.leaky = leaky
        self.fc_p = nn.Linear(dim + 1, hidden_size)
        self.fc_z = nn.ModuleList(nn.Linear(z_dim, hidden_size) for _ in range(n_blocks if z_dim else 0))
        self.fc_c = nn.ModuleList(nn.Linear(c_dim, hidden_size) for _ in range(n_blocks if c_dim else 0))
        self.blocks = nn.ModuleList(ResnetBlockFC(hidden_size, hidden_size) for _ in range(n_blocks))
        self.fc_out = nn.Linear(hidden_size, dim)

    def forward(self, t: Tensor, points: Tensor, z: Tensor | None, c: Tensor | None) -> Tensor:
        return self.condition(z, c)(t, points)

    def condition(self, z: Tensor | None, c: Tensor | None) -> Field:
        """The field for given codes, projected once instead of at every evaluation; points [B, P, 3]."""
        projections = [[layer(code) for layer in layers] for layers, code in ((self.fc_c, c), (self.fc_z, z))]
        shifts = [sum(parts)[:, None] for parts in zip(*filter(None, projections), strict=True)]  # [B, 1, F]

        def field(t: Tensor, points: Tensor) -> Tensor:
            t = t.reshape(-1, 1, 1).expand(*points.shape[:2], 1)  # [B, P, 1]
            x = self.fc_p(torch.cat([points, t], dim=2))  # [B, P, F]
            for i, block in enumerate(self.blocks):
                x = block(x + shifts[i] if shifts else x)
            velocities: Tensor = self.fc_out(activate(x, self.leaky))
            return velocities

        return field

    def precompute(self, z: Tensor | None, c: Tensor | None, dtype: torch.dtype = torch.float32) -> Field:
        """The field for z [1, z_dim] or None and c [1, c_dim] or None at inference; points [P, 3].

        `dtype` is that of the factors of large matrix products. Time, codes and the biases along the residual
        path are constant in an evaluation: they are added where a block reads that path, so that blocks only
        add their products to it.
        """
        first, slope = self.fc_p.weight[:, :-1].T.contiguous(), self.fc_p.weight[:, -1]  # [3, F], [F]
        shift: Tensor = self.fc_p.bias  # [F]
        blocks = []
        for i, block in enumerate(self.blocks):
            for layers, code in ((self.fc_c, c), (self.fc_z, z)):
                if layers:
                    shift = shift + layers[i](code)[0]
            inner, outer = cast(ResnetBlockFC, block).fc_0, cast(ResnetBlockFC, block).fc_1
            blocks.append(
                (shift, FusedLinear(inner.weight, inner.bias, dtype), FusedLinear(outer.weight, None, dtype))
            )
            shift = shift + outer.bias
        last = self.fc_out

        def field(t: Tensor, points: Tensor) -> Tensor:
            x = torch.addmm(t * slope, points, first)  # [P, F]
            for before, hidden, added in blocks:
                x = added.add_to(x, hidden.relu((x + before).relu_()))
            return torch.addmm(last.bias, activate(x + shift, self.leaky), last.weight.T)

        return field


VELOCITY_FIELDS: dict[str, type[VelocityField]] = {"concat": VelocityField}
