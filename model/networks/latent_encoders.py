"""Latent encoders: mean and log standard deviation of the posterior of a code.

`LATENT` maps the config's names to classes. Arguments are the inputs [B, T, N, 3], the code c [B, c_dim] and
the other fields of the batch; the two results are [B, z_dim].
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.errors import InputError
from model.networks.encoders import join_maximum
from model.networks.layers import ResnetBlockFC, activate

Fields = Mapping[str, Tensor]


class LatentPointNet(nn.Module):
    """`pointnet`: a residual network on the points of frame 0 (`dim` 3) or on trajectories (`dim` 3 T)."""

    def __init__(
        self, z_dim: int, c_dim: int = 0, dim: int = 51, hidden_dim: int = 128, n_blocks: int = 3
    ) -> None:
        super().__init__()
        self.dim = dim
        self.fc_pos = nn.Linear(dim, 2 * hidden_dim)
        self.blocks = nn.ModuleList(ResnetBlockFC(2 * hidden_dim, hidden_dim) for _ in range(n_blocks))
        if c_dim:
            self.c_layers = nn.ModuleList(nn.Linear(c_dim, 2 * hidden_dim) for _ in range(n_blocks))
        self.fc_mean = nn.Linear(hidden_dim, z_dim)
        self.fc_logstd = nn.Linear(hidden_dim, z_dim)

    def forward(self, inputs: Tensor, c: Tensor, fields: Fields) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        x = self.fc_pos(self._read(inputs))  # [B, N, 2h]
        for level, block in enumerate(self.blocks):
            if level:
                x = join_maximum(x)
            if hasattr(self, "c_layers"):
                x = x + self.c_layers[level](c)[:, None]
            x = block(x)  # [B, N, h]
        maximum = x.amax(dim=1)
        return self.fc_mean(maximum), self.fc_logstd(maximum)

    def _read(self, inputs: Tensor) -> Tensor:
        if self.dim == 3:
            return inputs[:, 0]  # [B, N, 3]
        if 3 * inputs.shape[1] != self.dim:
            raise InputError(f"this latent encoder reads {self.dim // 3} frames; found {inputs.shape[1]}")
        return inputs.transpose(1, 2).flatten(2)  # [B, N, 3 T]


class LatentOccupancyEncoder(nn.Module):
    """`simple`: reads occupancy samples at t = 0, the fields points [B, P, 3] and points.occ [B, P]."""

    def __init__(
        self, z_dim: int, c_dim: int = 0, dim: int = 3, hidden_dim: int = 128, leaky: bool = False
    ) -> None:
        super().__init__()
        self.leaky = leaky
        self.fc_pos = nn.Linear(dim, hidden_dim)
        self.fc_c = nn.Linear(c_dim, hidden_dim) if c_dim else None
        self.fc_0 = nn.Linear(1, hidden_dim)
        self.fc_1 = nn.Linear(hidden_dim, hidden_dim)
        self.fc_2 = nn.Linear(2 * hidden_dim, hidden_dim)
        self.fc_3 = nn.Linear(2 * hidden_dim, hidden_dim)
        self.fc_mean = nn.Linear(hidden_dim, z_dim)
        self.fc_logstd = nn.Linear(hidden_dim, z_dim)

    def forward(self, inputs: Tensor, c: Tensor, fields: Fields) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        if missing := [name for name in ("points", "points.occ") if name not in fields]:
            raise InputError(f"this latent encoder reads occupancy samples; there is no {', '.join(missing)}")
        points, occupied = fields["points"], fields["points.occ"]
        if points.dim() > 3:  # validation data has all frames
            points, occupied = points[:, 0], occupied[:, 0]
        x = self.fc_0(occupied[..., None]) + self.fc_pos(points)  # [B, P, h]
        if self.fc_c is not None:
            x = x + self.fc_c(c)[:, None]
        x = self._join(self.fc_1(self._activate(x)))
        x = self._join(self.fc_2(self._activate(x)))
        x = self._pool(self.fc_3(self._activate(x)))[:, 0]  # [B, h]
        return self.fc_mean(x), self.fc_logstd(x)

    def _activate(self, x: Tensor) -> Tensor:
        return activate(x, self.leaky)

    def _pool(self, x: Tensor) -> Tensor:
        """[B, P, h] → [B, 1, h]: maximum, or mean for the leaky variant."""
        return x.mean(dim=1, keepdim=True) if self.leaky else x.amax(dim=1, keepdim=True)

    def _join(self, x: Tensor) -> Tensor:
        return torch.cat([x, self._pool(x).expand_as(x)], dim=2)  # [B, P, 2h]


LATENT: dict[str, type[nn.Module]] = {"pointnet": LatentPointNet, "simple": LatentOccupancyEncoder}
