"""Fused layers, and the networks made of them, compared with their references."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import model.networks.fused_linear
from model.config.schema import load_config
from model.methods import build_model
from model.networks.fused_linear import FusedLinear
from model.networks.occupancy_flow import OccupancyFlow

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.fixture(params=[True, False], ids=["fused", "not fused"])
def fused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(model.networks.fused_linear, "_fuses", lambda weight: False)
    return bool(request.param)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rows", [0, 1, 7, 5000])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_layer_is_the_linear_layer(fused: bool, dtype: torch.dtype, rows: int, has_bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, 48), torch.randn(33, 48) / 48**0.5
    bias, before = torch.randn(33) if has_bias else None, torch.randn(rows, 33)
    layer, reference = FusedLinear(weight, bias, dtype), F.linear(x, weight, bias)
    close: dict[str, Any] = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
    with torch.inference_mode():
        torch.testing.assert_close(layer(x).float(), reference, **close)
        torch.testing.assert_close(layer.relu(x).float(), reference.relu(), **close)
        summed = layer.add_to(before.clone(), x)
    assert summed.dtype == torch.float32
    torch.testing.assert_close(summed, before + reference, **close)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"c_dim": 40, "velocity_field_kwargs": {"hidden_size": 72}},
        {"z_dim": 6, "encoder_latent": "pointnet", "encoder_latent_temporal": "pointnet"},
    ],
)
def test_a_frozen_field_is_the_field(fused: bool, dtype: torch.dtype, parts: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = load_config("pointcloud/oflow", {"model": parts})
    net = build_model(config)
    assert isinstance(net, OccupancyFlow)
    for parameter in net.vector_field.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    z = torch.randn(1, config.model.z_dim) if config.model.z_dim else None
    c, points = torch.randn(1, config.model.c_dim), torch.rand(100, 3) - 0.5
    with torch.inference_mode():
        t = torch.tensor(0.3)
        reference = net.vector_field(t, points[None], z, c)[0]  # [P, 3]
        precomputed = net.vector_field.precompute(z, c, dtype)(t, points)
    assert reference.std() > 0.01
    assert (precomputed - reference).abs().max() < TOLERANCES[dtype] * reference.abs().max()
