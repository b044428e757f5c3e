"""Pairs of clouds to learn motion from."""

from dataclasses import fields

import torch

from worker.solids.moving_pairs import MovingPairs, PairSettings
from worker.solids.particles import Pairs

TINY = PairSettings(sizes=(64, 96), points=256, most=3, queries=32, scenes=3, renewed=1, skeletons=6)


def test_pairs_follow_from_the_seed_and_the_step() -> None:
    stream = MovingPairs(TINY, 0, "cpu")
    third = [next(stream) for _ in range(3)][-1]
    again = next(MovingPairs(TINY, 0, "cpu", first_step=2))
    other = next(MovingPairs(TINY, 1, "cpu", first_step=2))
    for field in fields(Pairs):
        assert torch.equal(getattr(third, field.name), getattr(again, field.name)), field.name
    assert other.first.shape != third.first.shape or not torch.equal(other.first, third.first)
