"""Scores of the halves of `local_oflow` on held-out sets.

A set has a `name` and a `batch`: clouds with `points` [B, N, 3], `queries` [B, Q, 3], `occupied` [B, Q]; or
pairs of clouds with `first` [B, N, 3], `second` [B, N', 3], `queries` [B, Q, 3], `share` [B] and the true
displacements `moves` [B, Q, 3] of the queries.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from model.losses import occupancy_loss

BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 10.0)  # of the length of motion, in longest sides
SURE = 0.5  # share of queries: those with the smallest errors expected
AT_ONCE = 32  # pairs

Scores = dict[str, list[float]]


@torch.no_grad()
def cloud_scores(net: nn.Module, held_out: Any) -> Scores:
    """`iou` and `rec_error` of each cloud, and IoU under the name of the set."""
    clouds = held_out.batch
    ious, errors = [], []
    for row in range(len(clouds.points)):
        logits = net(clouds.points[row : row + 1], clouds.queries[row : row + 1])[0]  # [Q]
        found, truth = logits > 0, clouds.occupied[row]
        ious.append(((found & truth).sum() / (found | truth).sum().clamp_min(1)).item())
        errors.append(occupancy_loss(logits, truth.float()).item())
    return {"iou": ious, "rec_error": errors, f"iou_{held_out.name}": ious}


def pair_scores(net: nn.Module, held_out: Any) -> Scores:
    """`l2`, the mean error of displacements, and under the name of the set those of `by_motion`."""
    pairs = held_out.batch
    scores = by_motion(pairs, *displacement_errors(net, pairs))
    named = {f"l2_{held_out.name}{which}": [value] for which, value in scores.items()}
    return {"l2": [scores[""]]} | named


@torch.no_grad()
def displacement_errors(net: nn.Module, pairs: Any) -> tuple[Tensor, Tensor]:
    """End-point errors [B, Q] of queries, and the logarithms of those expected [B, Q]."""
    errors, doubts = [], []
    for begin in range(0, len(pairs.first), AT_ONCE):
        rows = slice(begin, begin + AT_ONCE)
        _, found = net(pairs.first[rows], pairs.second[rows], pairs.queries[rows], pairs.share[rows])
        errors.append((found.displacement - pairs.moves[rows]).norm(dim=2))
        doubts.append(found.log_scale)
    return torch.cat(errors), torch.cat(doubts)


def by_motion(pairs: Any, errors: Tensor, doubts: Tensor) -> dict[str, float]:
    """Mean error of all queries (``) and of the surer half (`_sure`), and relative to the mean motion for
    motions of a length (`_from_0.05`: 0.05 … 0.1 longest sides).
    """
    motions = pairs.moves.norm(dim=2)  # [B, Q]
    scores = {"": errors.mean().item(), "_sure": errors[doubts <= doubts.quantile(SURE)].mean().item()}
    for low, high in pairwise(BINS):
        inside = (motions >= low) & (motions < high)
        if bool(inside.any()):
            scores[f"_from_{low:g}"] = (errors[inside].mean() / motions[inside].mean()).item()
    return scores
