"""The walking animal: its feet stand, its points lie on its skin and everywhere on it."""

import numpy as np
import pytest
import torch

from worker.solids.walker import STANCE, draw_points, draw_walker


def test_points_lie_on_the_surface_and_are_drawn_again() -> None:
    walker = draw_walker(np.random.default_rng(3))
    solid = walker.at(0.3)
    points = draw_points(solid, 800, np.random.default_rng(4))
    assert points.shape == (800, 3)
    assert solid.distance(torch.from_numpy(points)[None]).abs().max() < 1e-6
    again = draw_points(walker.at(0.3), 800, np.random.default_rng(4))
    assert points.tobytes() == again.tobytes()


def test_a_foot_on_the_ground_stays_where_it_is() -> None:
    walker = draw_walker(np.random.default_rng(3))
    start = -walker.phase  # when a hind foot is put down
    paws = [walker.at(start + share * STANCE).centre[0] for share in (0.01, 0.3, 0.6, 0.99)]
    lowest = [paw[9 + 2] for paw in paws]  # the first leg's third part
    for place in lowest[1:]:
        torch.testing.assert_close(place, lowest[0], atol=1e-9, rtol=0)
    lifted = walker.at(start + (1 + STANCE) / 2).centre[0, 9 + 2, 1]
    assert float(lifted - lowest[0][1]) == pytest.approx(walker.lift, rel=0.15)


def test_cycles_repeat_one_stride_further() -> None:
    walker = draw_walker(np.random.default_rng(5))
    moved = walker.at(1.2).centre - walker.at(0.2).centre  # [1, K, 3]
    expected = torch.tensor([walker.stride, 0.0, 0.0], dtype=torch.float64).expand_as(moved)
    torch.testing.assert_close(moved, expected, atol=1e-9, rtol=0)
