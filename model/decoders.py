"""Decoders: the occupancy logit of points at t = 0. `DECODERS` maps the config's names to classes."""

import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import CBatchNorm1d, CResnetBlockConv1d, ResnetBlockFC

BLOCKS = 5


class CBatchNormDecoder(nn.Module):
    """`cbatchnorm`: the code acts through conditional batch norms.

    points [B, P, dim], z [B, z_dim] or None, c [B, c_dim] → logits [B, P].
    """

    def __init__(
        self, c_dim: int, z_dim: int = 0, dim: int = 3, hidden_size: int = 256, legacy: bool = False
    ) -> None:
        super().__init__()
        self.fc_p = nn.Conv1d(dim, hidden_size, 1)
        self.fc_z = nn.Linear(z_dim, hidden_size) if z_dim else None
        for i in range(BLOCKS):
            self.add_module(f"block{i}", CResnetBlockConv1d(c_dim, hidden_size, legacy))
        self.bn = CBatchNorm1d(c_dim, hidden_size, legacy)
        self.fc_out = nn.Conv1d(hidden_size, 1, 1)

    def forward(self, points: Tensor, z: Tensor | None, c: Tensor) -> Tensor:
        x = self.fc_p(points.transpose(1, 2))  # [B, F, P]
        if self.fc_z is not None:
            x = x + self.fc_z(z)[..., None]
        for i in range(BLOCKS):
            x = self.get_submodule(f"block{i}")(x, c)
        logits: Tensor = self.fc_out(F.relu(self.bn(x, c))).squeeze(1)
        return logits


class SimpleDecoder(nn.Module):
    """`simple`: the codes are added to the features of each point.

    points [B, P, dim], z [B, z_dim] or None, c [B, c_dim] or None → logits [B, P].
    """

    def __init__(self, c_dim: int, z_dim: int = 0, dim: int = 3, hidden_size: int = 128) -> None:
        super().__init__()
        self.fc_p = nn.Linear(dim, hidden_size)
        self.fc_z = nn.Linear(z_dim, hidden_size) if z_dim else None
        self.fc_c = nn.Linear(c_dim, hidden_size) if c_dim else None
        for i in range(BLOCKS):
            self.add_module(f"block{i}", ResnetBlockFC(hidden_size, hidden_size))
        self.fc_out = nn.Linear(hidden_size, 1)

    def forward(self, points: Tensor, z: Tensor | None, c: Tensor | None) -> Tensor:
        x = self.fc_p(points)  # [B, P, F]
        if self.fc_z is not None:
            x = x + self.fc_z(z)[:, None]
        if self.fc_c is not None:
            x = x + self.fc_c(c)[:, None]
        for i in range(BLOCKS):
            x = self.get_submodule(f"block{i}")(x)
        logits: Tensor = self.fc_out(F.relu(x)).squeeze(2)
        return logits


DECODERS: dict[str, type[nn.Module]] = {"cbatchnorm": CBatchNormDecoder, "simple": SimpleDecoder}
