"""Occupancy decoders. `DECODERS` maps the config's names to classes.

`forward` is the definition, for batches and training. `precompute` returns the same function for one sequence
at inference, with all terms that depend only on the codes computed once.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from model.networks.fused_linear import FusedLinear
from model.networks.layers import CBatchNorm1d, CResnetBlockConv1d, ResnetBlockFC, activate, matrix_and_bias

BLOCKS = 5

Occupancy = Callable[[Tensor], Tensor]  # points [P, dim] → logits [P]


class CBatchNormDecoder(nn.Module):
    """`cbatchnorm`: conditioned on the code by conditional batch normalization.

    points [B, P, dim], z [B, z_dim] or None, c [B, c_dim] → logits [B, P].
    """

    def __init__(
        self,
        c_dim: int,
        z_dim: int = 0,
        dim: int = 3,
        hidden_size: int = 256,
        leaky: bool = False,
        legacy: bool = False,
    ) -> None:
        super().__init__()
        self.leaky = leaky
        self.fc_z = nn.Linear(z_dim, hidden_size) if z_dim else None  # first, as published optimizers count
        self.fc_p = nn.Conv1d(dim, hidden_size, 1)
        for i in range(BLOCKS):
            self.add_module(f"block{i}", CResnetBlockConv1d(c_dim, hidden_size, legacy))
        self.bn = CBatchNorm1d(c_dim, hidden_size, legacy)
        self.fc_out = nn.Conv1d(hidden_size, 1, 1)

    @property
    def blocks(self) -> list[CResnetBlockConv1d]:
        return [cast(CResnetBlockConv1d, self.get_submodule(f"block{i}")) for i in range(BLOCKS)]

    def forward(self, points: Tensor, z: Tensor | None, c: Tensor) -> Tensor:
        x = self.fc_p(points.transpose(1, 2))  # [B, F, P]
        if self.fc_z is not None:
            x = x + self.fc_z(z)[..., None]
        for block in self.blocks:
            x = block(x, c)
        logits: Tensor = self.fc_out(activate(self.bn(x, c), self.leaky)).squeeze(1)
        return logits

    def precompute(self, z: Tensor | None, c: Tensor, dtype: torch.dtype = torch.float32) -> Occupancy:
        """The decoder in evaluation mode for z [1, z_dim] or None and c [1, c_dim]: points [P, dim] → [P].

        `dtype` is that of the factors of large matrix products. A batch norm is one scale and shift per
        feature: that of a block's second norm is folded into the preceding layer, and biases along the
        residual path are folded into the shifts of the norms that read it.
        """
        first, bias = matrix_and_bias(self.fc_p)
        if self.fc_z is not None:
            bias = bias + self.fc_z(z)[0]
        blocks = []
        for block in self.blocks:
            (scale, shift), (inner_scale, inner_shift) = block.bn_0.affine(c), block.bn_1.affine(c)
            (matrix_0, bias_0), (matrix_1, bias_1) = matrix_and_bias(block.fc_0), matrix_and_bias(block.fc_1)
            inner = FusedLinear((matrix_0 * inner_scale).T, bias_0 * inner_scale + inner_shift, dtype)
            blocks.append((scale, scale * bias + shift, inner, FusedLinear(matrix_1.T, None, dtype)))
            bias = bias + bias_1
        scale, shift = self.bn.affine(c)
        shift = scale * bias + shift
        last, last_bias = matrix_and_bias(self.fc_out)

        def occupancy(points: Tensor) -> Tensor:
            x = points @ first  # [P, F]
            for scale_0, shift_0, inner, outer in blocks:
                h = torch.addcmul(shift_0, x, scale_0).relu_()
                x = outer.add_to(x, inner.relu(h))
            h = activate(torch.addcmul(shift, x, scale), self.leaky)
            return torch.addmm(last_bias, h, last).squeeze(1)

        return occupancy


class SimpleDecoder(nn.Module):
    """`simple`: the codes are added to the features of each point.

    points [B, P, dim], z [B, z_dim] or None, c [B, c_dim] or None → logits [B, P].
    """

    def __init__(
        self, c_dim: int, z_dim: int = 0, dim: int = 3, hidden_size: int = 128, leaky: bool = False
    ) -> None:
        super().__init__()
        self.leaky = leaky
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
        logits: Tensor = self.fc_out(activate(x, self.leaky)).squeeze(2)
        return logits

    def precompute(self, z: Tensor | None, c: Tensor | None, _: torch.dtype = torch.float32) -> Occupancy:
        """The decoder for z [1, z_dim] or None and c [1, c_dim] or None, always in float32."""
        return lambda points: self(points[None], z, c)[0]


Decoder = CBatchNormDecoder | SimpleDecoder
DECODERS: dict[str, Callable[..., Decoder]] = {"cbatchnorm": CBatchNormDecoder, "simple": SimpleDecoder}
