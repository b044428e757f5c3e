"""Building blocks shared by encoders, decoders and the velocity field."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResnetBlockFC(nn.Module):
    """Two linear layers, each after a ReLU, plus a shortcut; initialized to the shortcut.

    [..., size_in] → [..., size_out]; the hidden width is the smaller of the two.
    """

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        hidden = min(size_in, size_out)
        self.fc_0 = nn.Linear(size_in, hidden)
        self.fc_1 = nn.Linear(hidden, size_out)
        self.shortcut = nn.Linear(size_in, size_out, bias=False) if size_in != size_out else nn.Identity()
        nn.init.zeros_(self.fc_1.weight)

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.fc_1(F.relu(self.fc_0(F.relu(x))))
        shortcut: Tensor = self.shortcut(x)
        return shortcut + update


class CBatchNorm1d(nn.Module):
    """Conditional batch norm: gamma(c) · bn(x) + beta(c) with affine functions gamma and beta of a code.

    x [B, F, P], c [B, C] → [B, F, P]. With `legacy` the two functions are linear layers fc_gamma and fc_beta,
    as in the published image checkpoints; the result is the same.
    """

    def __init__(self, c_dim: int, size: int, legacy: bool = False) -> None:
        super().__init__()
        self.legacy = legacy
        if legacy:
            self.fc_gamma, self.fc_beta = nn.Linear(c_dim, size), nn.Linear(c_dim, size)
        else:
            self.conv_gamma, self.conv_beta = nn.Conv1d(c_dim, size, 1), nn.Conv1d(c_dim, size, 1)
        for name, parameter in self.named_parameters():  # initially independent of the code
            nn.init.constant_(parameter, 1.0 if name.endswith("gamma.bias") else 0.0)
        self.bn = nn.BatchNorm1d(size, affine=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        gamma, beta = self.scale_and_shift(c)
        normalized: Tensor = self.bn(x)
        return gamma * normalized + beta

    def scale_and_shift(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """gamma and beta, each [B, F, 1]."""
        if self.legacy:
            return self.fc_gamma(c)[..., None], self.fc_beta(c)[..., None]
        c = c[..., None]  # [B, C, 1]
        return self.conv_gamma(c), self.conv_beta(c)

    def affine(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Scale [F] and shift [F] equivalent to the layer in evaluation mode for one code [1, C]."""
        gamma, beta = (part.flatten() for part in self.scale_and_shift(c))
        mean, variance = self.bn.get_buffer("running_mean"), self.bn.get_buffer("running_var")
        scale = gamma * torch.rsqrt(variance + self.bn.eps)
        return scale, beta - scale * mean


class CResnetBlockConv1d(nn.Module):
    """A residual block of 1×1 convolutions and conditional batch norm: x [B, F, P], c [B, C] → [B, F, P]."""

    def __init__(self, c_dim: int, size: int, legacy: bool = False) -> None:
        super().__init__()
        self.bn_0 = CBatchNorm1d(c_dim, size, legacy)
        self.bn_1 = CBatchNorm1d(c_dim, size, legacy)
        self.fc_0 = nn.Conv1d(size, size, 1)
        self.fc_1 = nn.Conv1d(size, size, 1)
        nn.init.zeros_(self.fc_1.weight)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        update = self.fc_0(F.relu(self.bn_0(x, c)))
        update = self.fc_1(F.relu(self.bn_1(update, c)))
        y: Tensor = x + update
        return y


def activate(x: Tensor, leaky: bool) -> Tensor:
    """The last activation of a decoder or field: a ReLU, or with slope 0.2 below 0, as published."""
    return F.leaky_relu(x, 0.2) if leaky else F.relu(x)


def matrix_and_bias(layer: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Matrix [in, out] and bias [out] of a 1×1 convolution, which maps rows x to x @ matrix + bias."""
    return layer.weight.squeeze(2).T, layer.get_parameter("bias")
