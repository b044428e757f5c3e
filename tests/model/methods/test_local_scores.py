"""Scores of the halves of local_oflow, and that its displacement field learns."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.displacement_loss import motion_loss
from model.methods.local_scores import by_motion, cloud_scores, displacement_errors, pair_scores
from model.networks.local_velocity import LocalVelocity
from worker.solids.clouds import Clouds
from worker.solids.particles import Pairs


@dataclass
class Set:
    name: str
    batch: Any


def shifted(*shifts: float) -> Pairs:
    """Pairs of other points of one ellipsoid, moved along x by each of these."""
    generator = torch.Generator().manual_seed(0)
    clouds = nn.functional.normalize(torch.randn(len(shifts), 300, 3, generator=generator), dim=2)
    first, second, queries = torch.split(clouds * torch.tensor([0.5, 0.3, 0.2]), [96, 140, 64], dim=1)
    move = torch.tensor(shifts)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    known = torch.ones(first.shape[:2], dtype=torch.bool)
    share = torch.zeros(len(shifts))
    return Pairs(first, move.expand_as(first), known, second + move, queries, move.expand_as(queries), share)


def test_errors_are_relative_to_motions_of_their_length() -> None:
    pairs = shifted(0.08, 0.4)
    errors = torch.tensor([[0.02], [0.1]]).expand(2, 64)
    scores = by_motion(pairs, errors, errors)
    assert scores == {
        "": pytest.approx(0.06),
        "_sure": pytest.approx(0.02),
        "_from_0.05": pytest.approx(0.25),
        "_from_0.2": pytest.approx(0.25),
    }


def test_occupancy_is_scored_for_each_cloud() -> None:
    class Slab(nn.Module):
        def forward(self, points: Tensor, queries: Tensor) -> Tensor:
            return queries[..., 0] - 0.5

    queries = torch.tensor([0.2, 0.4, 0.6, 0.8])[:, None].expand(2, 4, 3)
    occupied = torch.tensor([[False, False, True, True], [False, True, True, True]])
    scores = cloud_scores(Slab(), Set("slabs_10", Clouds(torch.zeros(2, 10, 3), queries, occupied)))
    assert scores["iou"] == scores["iou_slabs_10"] == pytest.approx([1.0, 2 / 3])
    assert scores["rec_error"][0] < scores["rec_error"][1]


def test_a_net_learns_that_things_move_and_that_they_do_not() -> None:
    torch.manual_seed(0)
    pairs, net = shifted(0.2, 0.0), LocalVelocity()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        motion, found = net(pairs.first, pairs.second, pairs.queries, pairs.share)
        motion_loss(motion, found, pairs).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    errors, _ = displacement_errors(net.eval(), pairs)
    assert errors.mean(dim=1).max() < 0.05  # 0.1 where it could not tell the two apart
    scores = pair_scores(net, Set("shifted", pairs))
    assert scores["l2"] == scores["l2_shifted"] == [pytest.approx(errors.mean().item())]
