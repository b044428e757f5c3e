"""`leaky`: the last activation of decoders and fields has a slope of 0.2 below 0."""

from typing import Any

import pytest
import torch

from model.config.schema import load_config
from model.methods import build_model
from model.networks.occupancy_flow import OccupancyFlow

SMALL: dict[str, Any] = {"c_dim": 8, "encoder_kwargs": {"hidden_dim": 8}}


def net_of(decoder: str, leaky: bool) -> OccupancyFlow:
    kwargs = {"hidden_size": 16, "leaky": leaky}
    model = SMALL | {"decoder": decoder, "decoder_kwargs": kwargs, "velocity_field_kwargs": kwargs}
    torch.manual_seed(0)
    net = build_model(load_config("pointcloud/oflow", {"model": model})).eval().requires_grad_(False)
    assert isinstance(net, OccupancyFlow)
    return net


@pytest.mark.parametrize("decoder", ["cbatchnorm", "simple"])
def test_the_output_changes_and_both_forms_agree(decoder: str) -> None:
    plain, leaky = net_of(decoder, leaky=False), net_of(decoder, leaky=True)
    points, c, t = torch.rand(1, 50, 3) - 0.5, torch.rand(1, 8), torch.tensor(0.3)
    for net in (plain, leaky):
        torch.testing.assert_close(net.occupancy(None, c)(points[0]), net.decode(points, None, c)[0])
        field = net.vector_field.precompute(None, c)
        torch.testing.assert_close(field(t, points[0]), net.velocity(t, points, None, c)[0])
    assert not torch.allclose(leaky.decode(points, None, c), plain.decode(points, None, c))
    assert not torch.allclose(leaky.velocity(t, points, None, c), plain.velocity(t, points, None, c))
    assert leaky.decoder is not None
    seen: list[torch.Tensor] = []
    leaky.decoder.fc_out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    plain_seen: list[torch.Tensor] = []
    assert plain.decoder is not None
    plain.decoder.fc_out.register_forward_pre_hook(lambda _, inputs: plain_seen.append(inputs[0]))
    leaky.decode(points, None, c)
    plain.decode(points, None, c)
    negative = seen[0] < 0
    assert negative.any()
    assert (plain_seen[0][negative] == 0).all()
    torch.testing.assert_close(seen[0][~negative], plain_seen[0][~negative])
