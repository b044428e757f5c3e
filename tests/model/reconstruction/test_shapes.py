"""What networks know about shapes and their motion, in the units of the caller."""

import numpy as np
import torch

from model.networks.local_occupancy_flow import LocalOccupancyFlow
from model.reconstruction.shapes import SPARSE, SPARSE_CELLS, TURNS, LocalShapes


def test_targets_of_matches_and_their_errors_are_in_the_units_of_the_clouds() -> None:
    torch.manual_seed(0)
    shapes = LocalShapes(LocalOccupancyFlow().eval())
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(200, 3)) for _ in range(2)]
    queries = clouds[0][:50]
    goals, error = shapes.matching(clouds)(0, 1, queries)
    assert goals.shape == (50, 3)
    assert error.min() > 0
    for unit in (10, 1e-25, 1e25):
        found, its_error = shapes.matching([unit * c for c in clouds])(0, 1, unit * queries)
        np.testing.assert_allclose(found / unit, goals, atol=1e-4)
        np.testing.assert_allclose(its_error / unit, error, rtol=1e-3)


def test_few_points_are_seen_from_several_sides() -> None:
    torch.manual_seed(0)
    net = LocalOccupancyFlow().eval()
    points, queries = torch.randn(SPARSE, 3), torch.randn(40, 3)
    seen = []
    for seed, turn in enumerate(torch.from_numpy(TURNS).float()):
        torch.testing.assert_close(turn @ turn.T, torch.eye(3))
        seen.append(net.shape.precompute(points @ turn.T, seed)(queries @ turn.T))
    shapes = LocalShapes(net)
    torch.testing.assert_close(shapes.occupancy(points)(queries), (seen[0] + seen[1] + seen[2]) / 3)
    torch.testing.assert_close(shapes.occupancy(points, turns=2)(queries), (seen[0] + seen[1]) / 2)
    torch.testing.assert_close(shapes.occupancy(points, turns=1)(queries), seen[0])
    assert (seen[0] - seen[1]).abs().max() > 1e-5
    assert (shapes.cells(SPARSE), shapes.cells(SPARSE + 1)) == (SPARSE_CELLS, None)


def test_many_points_are_seen_once() -> None:
    torch.manual_seed(0)
    net = LocalOccupancyFlow().eval()
    points, queries = torch.randn(SPARSE + 1, 3), torch.randn(40, 3)
    torch.testing.assert_close(
        LocalShapes(net).occupancy(points)(queries), net.shape.precompute(points)(queries)
    )


def test_few_points_of_known_noise_lie_on_the_surface() -> None:
    torch.manual_seed(0)
    shapes = LocalShapes(LocalOccupancyFlow().eval())
    few, many = torch.randn(SPARSE, 3), torch.randn(SPARSE + 1, 3)
    guessed, fitted = shapes.occupancy(few)(few), shapes.occupancy(few, noise=0.0)(few)
    assert fitted.abs().mean() < 0.5 * guessed.abs().mean()
    assert torch.equal(shapes.occupancy(many)(few), shapes.occupancy(many, noise=0.0)(few))
