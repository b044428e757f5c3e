"""Neighbourhoods, the features of points, and occupancy from them."""

import pytest
import torch
from torch import Tensor

from model.networks.edge_maximum import max_over_edges
from model.networks.local_occupancy import LocalOccupancy
from model.networks.neighborhoods import (
    Edges,
    _search_pairs,
    _search_trees,
    level_sizes,
    nearest,
    neighborhoods,
)
from model.networks.point_features import PointFeatures
from model.networks.rows import take


def clouds(count: int = 200, batch: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def net() -> LocalOccupancy:
    torch.manual_seed(0)
    return LocalOccupancy().eval()


def test_levels_of_every_size_are_nested_and_large_enough() -> None:
    for count in (16, 17, 100, 300, 2000, 20_000):
        sizes = level_sizes(count)
        assert sizes[0] == count
        assert sorted(sizes, reverse=True) == list(sizes)
        assert 16 <= sizes[-1] <= 64
    assert level_sizes(2000) == (2000, 628, 197, 62)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="15 points, wanted 16"):
        neighborhoods(clouds(15))


def test_both_searches_find_the_same() -> None:
    queries, points = clouds(300, seed=1), clouds(150)
    (rows, distances), (others, lengths) = (f(queries, points, 7) for f in (_search_trees, _search_pairs))
    assert torch.equal(rows, others)
    torch.testing.assert_close(distances, lengths)
    assert torch.equal(_search_pairs(queries, points, 1)[0], rows[..., :1])


def test_a_search_in_parts_is_the_search_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, points = clouds(300, seed=1), clouds(150)
    whole = _search_pairs(queries, points, 4)
    monkeypatch.setattr("model.networks.neighborhoods.PAIRS", 2 * 150 * 7)
    for one, other in zip(whole, _search_pairs(queries, points, 4), strict=True):
        assert torch.equal(one, other)


def test_neighbours_are_rows_of_the_stacked_clouds() -> None:
    cloud = neighborhoods(clouds())
    for level, rows in enumerate(cloud.within):
        size = cloud.sizes[level]
        itself = torch.arange(2 * size).reshape(2, size)
        assert torch.equal(rows[..., 0], itself)
    assert nearest(cloud.points, cloud.points).flatten().tolist() == list(range(400))
    assert torch.equal(cloud.nearest(clouds(50, seed=1)), nearest(cloud.points, clouds(50, seed=1)))


def test_the_gradient_of_taken_rows_is_that_of_indexing() -> None:
    x, rows = torch.randn(9, 4, requires_grad=True), torch.randint(9, (5, 6))
    weights = torch.randn(5, 6, 4)
    (ours,) = torch.autograd.grad((take(x, rows) * weights).sum(), x)
    (reference,) = torch.autograd.grad((x[rows] * weights).sum(), x)
    torch.testing.assert_close(ours, reference)


def test_the_maximum_over_edges_and_its_gradients_are_those_of_plain_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("model.networks.edge_maximum.ELEMENTS", (150, 150))  # several parts
    sources = torch.randn(20, 6, requires_grad=True)
    weight = torch.randn(6, 8, requires_grad=True)
    edges = Edges(torch.randint(20, (2, 7, 4)), torch.randn(2, 7, 4, 8))
    factors = torch.randn(2, 7, 6)
    ours = max_over_edges(sources, weight, edges)
    reference = (sources[edges.rows] + edges.features @ weight.T).amax(dim=2)
    torch.testing.assert_close(ours, reference)
    for one, other in zip(
        torch.autograd.grad((ours * factors).sum(), (sources, weight)),
        torch.autograd.grad((reference * factors).sum(), (sources, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_features_go_with_the_points_when_these_change_places(net: LocalOccupancy) -> None:
    """Within a level: points 16 to 28 of 100 are on levels 0 to 2, so their order says nothing."""
    cloud = neighborhoods(clouds(100, batch=1))
    assert cloud.sizes[2] > 28 > 16 == cloud.sizes[3]
    order = torch.arange(100)
    order[16:28] = order[16:28].flip(0)
    other = neighborhoods(cloud.points[:, order])
    ours, theirs = net.features(cloud), net.features(other)
    for level, size in enumerate(cloud.sizes):
        torch.testing.assert_close(
            ours.levels[level][:, order[:size]], theirs.levels[level], atol=1e-4, rtol=1e-4
        )
    torch.testing.assert_close(ours.overall, theirs.overall, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_neither_place_nor_size_matters(net: LocalOccupancy) -> None:
    points, queries = clouds(), clouds(50, seed=1)
    logits = net(points, queries)
    assert logits.shape == (2, 50)
    moved = net(points * 8 + 4, queries * 8 + 4)  # powers of two, which round alike
    torch.testing.assert_close(moved, logits, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_clouds_of_a_batch_do_not_know_of_each_other(net: LocalOccupancy) -> None:
    points, queries = clouds(), clouds(50, seed=1)
    alone = net(points[1:], queries[1:])
    torch.testing.assert_close(net(points, queries)[1:], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("count", [16, 100, 3000])
def test_clouds_of_any_size_and_points_on_top_of_each_other_give_finite_logits(
    net: LocalOccupancy, count: int
) -> None:
    points = clouds(count)
    assert net(points, clouds(20, seed=1)).isfinite().all()
    assert net(points[:, :1].expand(-1, count, -1), clouds(20, seed=1)).isfinite().all()


def test_every_parameter_learns(net: LocalOccupancy) -> None:
    net(clouds(), clouds(64, seed=1)).square().mean().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # The bias of a softmax's logits changes nothing.
    assert [name for name in silent if not name.startswith("nearby.weight")] == []


def test_the_network_stays_small() -> None:
    assert sum(p.numel() for p in LocalOccupancy().parameters()) < 1_300_000
    assert sum(p.numel() for p in PointFeatures().parameters()) < 1_100_000


@torch.no_grad()
def test_precomputed_features_give_the_same_logits_in_chunks(
    net: LocalOccupancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, queries = clouds(120, batch=1), clouds(50, batch=1, seed=1)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr("model.networks.local_occupancy.ROWS", 16)
    occupancy = net.precompute(points[0], seed=3)
    torch.testing.assert_close(occupancy(queries[0]), net(points[:, order], queries)[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(occupancy(queries[0]), net.precompute(points[0], seed=3)(queries[0]))
    assert occupancy(queries[0, :0]).shape == (0,)


def test_the_compiled_pooling_is_that_of_plain_operations(net: LocalOccupancy) -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(2, 200, 3, generator=generator)
    queries = torch.cat([points[:, :20], torch.randn(2, 50, 3, generator=generator)], dim=1)
    cloud = neighborhoods(points)
    keys, near = net.nearby.keys(net.features(cloud), cloud), nearest(points, queries)
    plain = net.nearby(queries, near, keys)  # with gradients
    with torch.no_grad():
        torch.testing.assert_close(net.nearby(queries, near, keys), plain, rtol=1e-4, atol=1e-4)
