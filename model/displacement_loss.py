"""The loss of a displacement field between two clouds (`model.networks.local_velocity`)."""

import math
from typing import Any

import torch
from torch import Tensor

from model.networks.local_velocity import Found, Motion

KNEE = 0.002  # errors far below count by the square, those far above by the root
STAGES = 0.15, 0.1, 0.15, 0.25, 0.4  # weights: of tokens, of anchors at the start and after each round
GATHERED, MATCHES, DOUBT = 0.3, 0.03, 0.02  # weights next to that of the answer to queries, 1
DOUBTS = -8.0, 1.0  # logarithms of expected errors are within


def motion_loss(motion: Motion, found: Found, pairs: Any) -> Tensor:
    """Errors of the displacement and of every stage before it, of the matches and of the expected errors.

    `pairs` has `moves` [B, Q, 3], the true displacements of the queries, `first` [B, N, 3] and `second`
    [B, N', 3], the clouds, and for the points of the first `first_moves` [B, N, 3] and `first_known` [B, N].
    """
    known, moves = pairs.first_known, pairs.first_moves
    error = found.displacement - pairs.moves
    loss: Tensor = _cost(error).mean() + GATHERED * _cost(found.gathered - pairs.moves).mean()
    for weight, stage in zip(STAGES, motion.stages, strict=True):
        count = stage.shape[1]
        loss = loss + weight * _mean(_cost(stage - moves[:, :count]), known[:, :count])
    # Of a Laplace distribution. It changes what is expected, and the displacement by shared features alone.
    log_scale = found.log_scale.clamp(*DOUBTS)
    doubt = log_scale + error.detach().norm(dim=2) * (-log_scale).exp()
    total: Tensor = loss + MATCHES * _match_loss(motion, pairs) + DOUBT * doubt.mean()
    return total


def _cost(error: Tensor) -> Tensor:
    """Of errors [..., 3]: about the root of their lengths, so that small errors of small motions count."""
    squares: Tensor = error.square().sum(dim=-1) + KNEE**2
    return squares.sqrt().sqrt() - math.sqrt(KNEE)


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    return (values * kept).sum() / kept.sum().clamp(min=1)


def _match_loss(motion: Motion, pairs: Any) -> Tensor:
    """Cross-entropy between the matches of the tokens and the points next to where they truly go."""
    log_weights = motion.matches.log_weights  # [B, M, M']
    count, other = log_weights.shape[1:]
    goals = pairs.first[:, :count] + pairs.first_moves[:, :count]
    squares = (goals[:, :, None] - pairs.second[:, None, :other]).square().sum(dim=3)  # [B, M, M']
    spacing = _spacing(pairs.second[:, :other])  # [B, 1, 1]
    wanted = torch.softmax(-squares / (0.5 * spacing.square()), dim=2)
    close = squares.amin(dim=2) < (2 * spacing[..., 0]).square()  # others went where nothing is seen
    return _mean(-(wanted * log_weights).sum(dim=2), pairs.first_known[:, :count] & close)


def _spacing(points: Tensor) -> Tensor:
    """Mean distance to the nearest other point: [B, 1, 1]."""
    squares = (points[:, :, None] - points[:, None]).square().sum(dim=3)
    squares = squares + 10 * torch.eye(points.shape[1], device=points.device)
    return squares.amin(dim=2).sqrt().mean(dim=1)[:, None, None]
