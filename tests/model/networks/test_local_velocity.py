"""The displacement field between two unordered clouds."""

import itertools

import pytest
import torch
from torch import Tensor

from model.networks.local_velocity import LocalVelocity


@pytest.fixture
def net() -> LocalVelocity:
    torch.manual_seed(0)
    net = LocalVelocity().eval()
    for parameter in net.parameters():  # also of those layers that start at zero
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def blob(count: int, seed: int = 0, batch: int = 1) -> Tensor:
    """A cloud [batch, count, 3] on an ellipsoid."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.nn.functional.normalize(torch.randn(batch, count, 3, generator=generator), dim=2)
    return points * torch.tensor([0.5, 0.3, 0.2])


def ask(net: LocalVelocity, first: Tensor, second: Tensor, queries: Tensor, share: float = 0.0) -> Tensor:
    with torch.no_grad():
        displacement: Tensor = net(first, second, queries, torch.full((len(first),), share))[1].displacement
    return displacement


@pytest.mark.parametrize(("count", "other"), [(16, 300), (300, 16), (700, 600)])
def test_any_numbers_of_points(net: LocalVelocity, count: int, other: int) -> None:
    first, second, queries = blob(count, 0, 2), blob(other, 1, 2), blob(40, 2, 2)
    with torch.no_grad():
        motion, found = net(first, second, queries, torch.tensor([0.0, 0.7]))
    assert found.displacement.shape == queries.shape
    assert found.log_scale.shape == (2, 40)
    assert found.displacement.isfinite().all()
    assert found.log_scale.isfinite().all()
    assert [stage.shape[1] for stage in motion.stages] == [min(256, count)] + 4 * [min(512, count)]


def test_queries_do_not_see_each_other(net: LocalVelocity) -> None:
    first, second, queries = blob(300), blob(400, 1), blob(50, 2)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        ask(net, first, second, queries)[:, order],
        ask(net, first, second, queries[:, order]),
        atol=1e-5,
        rtol=1e-4,
    )


def test_order_within_the_levels_does_not_matter(net: LocalVelocity) -> None:
    """Which points make the coarser levels depends on the order; nothing else does."""
    first, second, queries = blob(200), blob(200, 1), blob(50, 2)
    sizes = net.encode(first).cloud.sizes
    generator = torch.Generator().manual_seed(3)
    edges = sorted({0, *sizes, 200 // 8})  # an eighth of the anchors hand motion on over long ways
    order = torch.cat(
        [low + torch.randperm(high - low, generator=generator) for low, high in itertools.pairwise(edges)]
    )
    torch.testing.assert_close(
        ask(net, first, second, queries),
        ask(net, first[:, order], second[:, order], queries),
        atol=1e-4,
        rtol=1e-3,
    )


def test_place_and_size_do_not_matter(net: LocalVelocity) -> None:
    first, second, queries = blob(300), blob(300, 1), blob(50, 2)
    shift = torch.tensor([3.0, -2.0, 1.0])
    moved = ask(net, 2 * first + shift, 2 * second + shift, 2 * queries + shift)
    torch.testing.assert_close(moved, 2 * ask(net, first, second, queries), atol=2e-3, rtol=2e-2)


def test_items_of_a_batch_do_not_see_each_other(net: LocalVelocity) -> None:
    first, second, queries = blob(200, 0, 2), blob(200, 1, 2), blob(30, 2, 2)
    together = ask(net, first, second, queries, 0.3)
    alone = ask(net, first[1:], second[1:], queries[1:], 0.3)
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-3)


def test_clouds_of_equal_size_are_encoded_together_as_they_are_alone(net: LocalVelocity) -> None:
    first, second, queries = blob(200, 0, 3), blob(200, 1, 3), blob(30, 2, 3)
    with torch.no_grad():
        motion = net.match(net.encode(first), net.encode(second))
        apart = net.at(motion, queries, torch.full((3,), 0.4)).displacement
    torch.testing.assert_close(ask(net, first, second, queries, 0.4), apart, atol=1e-4, rtol=1e-3)


def test_an_untrained_net_moves_nothing_far() -> None:
    torch.manual_seed(0)
    first = blob(300)
    assert ask(LocalVelocity(), first, blob(300, 1), first[:, :100]).norm(dim=2).mean() < 0.2
