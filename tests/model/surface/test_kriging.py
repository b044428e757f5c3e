"""Occupancies that are made to agree with measured points."""

import torch
from torch import Tensor

from model.surface.kriging import through_points

SLOPE = 20.0  # logits a unit length


def ball(points: Tensor) -> Tensor:
    """A smooth guess of the bumpy ball."""
    return SLOPE * (0.35 - points.square().sum(dim=1).sqrt())


def bumpy_ball(count: int) -> Tensor:
    """Points [N, 3] of a surface that waves by 0.03 around the ball."""
    way = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)))
    return way * (0.35 + 0.03 * torch.sin(4 * way[:, :1]))


def test_the_surface_passes_through_points_without_noise() -> None:
    points = bumpy_ball(600)
    known, unseen = points[:300], points[300:]
    corrected = through_points(ball, known, 0.0)
    assert corrected(known).abs().mean() < 0.2 * ball(known).abs().mean()
    assert corrected(unseen).abs().mean() < 0.5 * ball(unseen).abs().mean()


def test_far_from_all_points_nothing_changes() -> None:
    places = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    corrected = through_points(ball, bumpy_ball(300), 0.0)
    torch.testing.assert_close(corrected(places), ball(places))


def test_noisy_points_are_not_followed() -> None:
    points = bumpy_ball(300)
    corrected = through_points(ball, points, 0.02)
    assert (corrected(points) - ball(points)).abs().mean() < 0.1 * ball(points).abs().mean()


def test_points_in_one_place_are_one_point() -> None:
    points = bumpy_ball(100)
    doubled = through_points(ball, points.repeat(3, 1), 0.0)(points)
    assert doubled.isfinite().all()
    assert doubled.abs().mean() < ball(points).abs().mean()


def test_any_number_of_queries_is_answered() -> None:
    corrected = through_points(ball, bumpy_ball(50), 0.001)
    places = torch.rand(5000, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    torch.testing.assert_close(corrected(places)[1020:1030], corrected(places[1020:1030]))
    assert corrected(places[:0]).shape == (0,)
