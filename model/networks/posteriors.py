"""Distributions of latent codes."""

import torch
from torch import Tensor, nn
from torch.distributions import Normal


def posterior(encoder: nn.Module | None, inputs: Tensor, c: Tensor, fields: dict[str, Tensor]) -> Normal:
    """Posterior of a latent encoder for a batch: [B, z_dim]; [B, 0] without an encoder."""
    if encoder is None:
        empty = torch.empty(len(inputs), 0, device=inputs.device)
        return Normal(empty, empty, validate_args=False)
    mean, log_deviation = encoder(inputs, c, fields)
    return Normal(mean, log_deviation.exp(), validate_args=False)  # which would wait for a GPU
