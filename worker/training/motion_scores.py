"""What a displacement field is trained to minimise, and how its errors are reported."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from model.networks.local_velocity import Found, Motion
from model.networks.neighborhoods import nearest
from worker.solids.particles import Pairs
from worker.training.endless import Scores
from worker.training.moving_pairs import part_of

BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 10.0)  # of the length of motion, in longest sides
KNEE = 0.002  # errors far below count by the square, those far above by the root
STAGES = 0.15, 0.1, 0.15, 0.25, 0.4  # weights: of tokens, of anchors at the start and after each round
GATHERED, MATCHES, DOUBT = 0.3, 0.03, 0.02  # weights next to that of the answer to queries, 1
DOUBTS = -8.0, 1.0  # logarithms of expected errors are within
SURE = 0.5  # share of queries: those with the smallest errors expected


def motion_loss(motion: Motion, found: Found, pairs: Pairs) -> Tensor:
    """Errors of the answer and of every stage on the way there, of the matches and of the expected errors."""
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


def _match_loss(motion: Motion, pairs: Pairs) -> Tensor:
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


@torch.no_grad()
def displacement_errors(net: nn.Module, pairs: Pairs, at_once: int) -> tuple[Tensor, Tensor]:
    """End-point errors [B, Q] of queries, and the logarithms of those expected [B, Q]."""
    errors, doubts = [], []
    for begin in range(0, len(pairs.first), at_once):
        part = part_of(pairs, slice(begin, begin + at_once))
        _, found = net(part.first, part.second, part.queries, part.share)
        errors.append((found.displacement - part.moves).norm(dim=2))
        doubts.append(found.log_scale)
    return torch.cat(errors), torch.cat(doubts)


@torch.no_grad()
def nearest_point_errors(pairs: Pairs) -> Tensor:
    """End-point errors [B, Q] of going to the nearest point of the second cloud."""
    rows = nearest(pairs.second, pairs.queries)  # [B, Q], of all clouds stacked
    errors: Tensor = (pairs.second.flatten(0, 1)[rows] - pairs.queries - pairs.moves).norm(dim=2)
    return errors


def by_motion(name: str, errors: Tensor, doubts: Tensor, pairs: Pairs) -> Scores:
    """Mean error of all queries and of the surer half, and over the mean motion by length of motion."""
    motions = pairs.moves.norm(dim=2)
    scores = {
        name: errors.mean().item(),
        f"{name}_sure": errors[doubts <= doubts.quantile(SURE)].mean().item(),
    }
    for low, high in pairwise(BINS):
        inside = (motions >= low) & (motions < high)
        if bool(inside.any()):
            scores[f"{name}_from_{low:g}"] = (errors[inside].mean() / motions[inside].mean()).item()
    return scores
