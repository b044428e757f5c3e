"""Errors of a displacement field, reported by the length of the motion."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from model.networks.neighborhoods import nearest
from worker.solids.particles import Pairs
from worker.training.endless import Scores
from worker.training.moving_pairs import part_of

BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 10.0)  # of the length of motion, in longest sides
SURE = 0.5  # share of queries: those with the smallest errors expected


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
