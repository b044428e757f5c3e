"""Distributions of latent codes."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal


def posterior(encoder: nn.Module | None, inputs: Tensor, c: Tensor, fields: dict[str, Tensor]) -> Normal:
    """What a latent encoder makes of a batch: [B, z_dim], or [B, 0] where there is none."""
    if encoder is None:
        nothing = torch.empty(len(inputs), 0, device=inputs.device)
        return Normal(nothing, nothing)
    mean, logarithm = encoder(inputs, c, fields)
    return Normal(mean, logarithm.exp())
