"""The network against inputs and outputs of the published code, the weights of both filled by one rule.

The filled field is violent: it carries points ten box lengths. Flows are compared relative to that extent.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchdiffeq import odeint

from model.config.schema import load_config
from model.errors import ConfigError
from model.networks.occupancy_flow import OccupancyFlow
from tests.model.published import check_filling, filled, outputs

FORWARD = 3e-6  # relative, between thread counts


@pytest.fixture(scope="module", params=["pointcloud/oflow", "interpolation/oflow"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(name: str) -> dict[str, Tensor]:
    return outputs(name)


@pytest.fixture(scope="module")
def net(name: str) -> OccupancyFlow:
    network: OccupancyFlow = filled(load_config(name)).eval().requires_grad_(False)
    check_filling(name, network)
    return network


def relative(ours: Tensor, published: Tensor) -> float:
    assert ours.shape == published.shape
    return ((ours - published).abs().max() / published.abs().max()).item()


def test_codes(net: OccupancyFlow, data: dict[str, Tensor]) -> None:
    c_s, c_t = net.encode_inputs(data["in_inputs"])
    assert c_s.numel() == data["out_c_s"].numel() == 0 or relative(c_s, data["out_c_s"]) <= FORWARD
    assert relative(c_t, data["out_c_t"]) <= FORWARD


def test_logits(net: OccupancyFlow, data: dict[str, Tensor]) -> None:
    if net.decoder is None:
        with pytest.raises(ConfigError, match="deforms a given mesh"):
            net.decode(data["in_p"], None, data["out_c_s"])
        return
    c_s, _ = net.encode_inputs(data["in_inputs"])
    assert relative(net.decode(data["in_p"], None, c_s), data["out_logits"]) <= FORWARD


def test_velocities(net: OccupancyFlow, data: dict[str, Tensor]) -> None:
    points, c_t = data["in_p"], data["out_c_t"]
    for i, t in enumerate(data["in_velocity_times"]):
        velocities = net.velocity(t.expand(2), points, None, c_t)
        assert relative(velocities, data[f"out_velocity_t{i}"]) <= FORWARD
    reversed_field = -net.velocity(data["in_velocity_T_batch"] - 0.1, points, None, c_t)
    assert relative(reversed_field, data["out_velocity_T_batch_invert_t0.1"]) <= FORWARD


def test_the_field_is_the_published_one(net: OccupancyFlow, data: dict[str, Tensor]) -> None:
    """With the code in the state, as published, the same solver takes the same steps to the same place."""
    points, c_t, times = data["in_p"], data["out_c_t"], data["in_T5"]
    field = net.vector_field.condition(None, c_t)
    evaluations = 0

    def derivative(t: Tensor, state: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        velocities = field(t.float(), state[:, :192].unflatten(1, (64, 3)))
        return torch.cat([velocities.flatten(1), torch.zeros_like(c_t)], dim=1)

    start = torch.cat([points.flatten(1), c_t], dim=1)  # [B, 64 · 3 + c_dim]
    grid = torch.cat([torch.zeros(1), times])
    states = odeint(derivative, start, grid, rtol=1e-3, atol=1e-5, method="dopri5")[1:]
    positions = states[..., :192].unflatten(2, (64, 3)).transpose(0, 1)  # [B, K, 64, 3]
    assert relative(positions, data["out_transform_to_t"]) < 2e-5
    assert evaluations == 32  # as many as the published code took


Run = Callable[[OccupancyFlow, Tensor, Tensor, Tensor], Tensor]


def _forward(net: OccupancyFlow, t: Tensor, points: Tensor, c_t: Tensor) -> Tensor:
    return net.transform_to_t(t, points, None, c_t)


def _unsorted(net: OccupancyFlow, t: Tensor, points: Tensor, c_t: Tensor) -> Tensor:
    """Asked at 0.8, 0.2, 0.8; the published answer is sorted and without the repeat."""
    at_08, at_02, again = net.transform_to_t(t, points, None, c_t).unbind(1)
    assert torch.equal(at_08, again)
    return torch.stack([at_02, at_08], dim=1)


def _to_0(net: OccupancyFlow, t: Tensor, points: Tensor, c_t: Tensor) -> Tensor:
    return net.transform_to_t0(t, points, None, c_t)


def _backward(net: OccupancyFlow, t: Tensor, points: Tensor, c_t: Tensor) -> Tensor:
    return net.transform_to_t_backward(t, points, None, c_t)


@pytest.mark.parametrize(
    ("run", "times", "output"),
    [
        (_forward, "T5", "t"),
        (_forward, "T3", "t_with0"),
        (_unsorted, "TU", "t_unsorted"),
        (_to_0, "t0_times_a", "t0_a"),
        (_to_0, "t0_times_b", "t0_b"),
        (_to_0, "t0_times_c", "t0_c"),
        (_to_0, "t0_times_d", "t0_d"),
        (_backward, "TBK", "t_backward"),
        (_backward, "T3", "t_backward_with0"),
    ],
)
def test_flow(net: OccupancyFlow, data: dict[str, Tensor], run: Run, times: str, output: str) -> None:
    """Where a tight solve converges, the default one is no further from it than the published default."""
    arguments = data[f"in_{times}"], data["in_p"], data["out_c_t"]
    published = data[f"out_transform_to_{output}"]
    default = net.solver
    ours = run(net, *arguments)
    net.solver = replace(default, rtol=1e-6, atol=1e-7)
    tight = run(net, *arguments)
    net.solver = default
    extent = tight.abs().max()

    def error(positions: Tensor) -> Tensor:
        return (positions - tight).square().mean().sqrt() / extent

    assert ours.shape == published.shape
    assert error(ours) < 1e-3
    assert error(ours) <= error(published)
