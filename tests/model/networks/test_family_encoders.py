"""Encoders that only some configs use: images, sequence numbers, latent codes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from model.config.schema import load_config
from model.errors import ConfigError, InputError
from model.methods import build_model, losses
from model.networks.encoders import TwoStreamPointNet, sequence_embedding
from model.networks.image_encoders import ConvEncoder3D, ResNet18
from model.networks.latent_encoders import LatentOccupancyEncoder, LatentPointNet
from model.networks.occupancy_flow import OccupancyFlow


def test_resnet18_is_the_published_architecture() -> None:
    """Written out once more with functions, from the names and shapes that torchvision's weights have."""
    torch.manual_seed(0)
    net = ResNet18(c_dim=7).eval()
    state = {name: tensor.clone() for name, tensor in net.features.state_dict().items()}
    for name in state:  # statistics that are not those of a new network
        if name.endswith(("running_mean", "bias")):
            state[name] = 0.1 * torch.randn_like(state[name])
        elif name.endswith("running_var"):
            state[name] = 1 + torch.rand_like(state[name])
    net.features.load_state_dict(state)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts)

    def block(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        y = F.relu(norm(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
        y = norm(F.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in state:
            x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
        return F.relu(x + y)

    images = torch.rand(2, 3, 3, 64, 64)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images[:, 0] - mean[:, None, None]) / deviation[:, None, None]
    x = F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage in (1, 2, 3, 4):
        x = block(block(x, f"layer{stage}.0", 1 if stage == 1 else 2), f"layer{stage}.1", 1)
    with torch.no_grad():
        torch.testing.assert_close(net(images), net.fc(x.mean(dim=(2, 3))), rtol=1e-4, atol=1e-4)


def test_convolutions_over_time() -> None:
    net = ConvEncoder3D(c_dim=5, hidden_dim=4).eval()
    images = torch.rand(2, 17, 3, 64, 64)
    code = net(images)
    assert code.shape == (2, 5)
    assert not torch.allclose(code, net(images.flip(1)))  # it sees the order of the frames


def test_two_streams_share_one_net() -> None:
    net = TwoStreamPointNet(c_dim=8, hidden_dim=16).eval()
    ends = torch.randn(3, 2, 40, 3)
    code, swapped = net(ends), net(ends.flip(1))
    torch.testing.assert_close(code, torch.cat([swapped[:, 4:], swapped[:, :4]], dim=1))
    with pytest.raises(InputError, match="last cloud; found 17 frames"):
        net(torch.randn(1, 17, 40, 3))
    with pytest.raises(ConfigError, match="wanted an even number"):
        TwoStreamPointNet(c_dim=7)


def test_embedding_of_sequences() -> None:
    assert sequence_embedding(6, 10)(torch.tensor([3, 9])).shape == (2, 6)
    assert [name for name, _ in sequence_embedding(6, 10, True).named_parameters()] == [
        "0.weight", "1.weight", "1.bias",
    ]  # fmt: skip
    overrides: dict[str, dict[str, Any]] = {
        "data": {"input_type": "idx"},
        "model": {"encoder": "idx", "encoder_temporal": "idx"},
    }
    with pytest.raises(ConfigError, match="num_embeddings is missing, which idx needs"):
        build_model(load_config("default", overrides))
    kwargs = {"encoder_kwargs": {"num_embeddings": 4}, "encoder_temporal_kwargs": {"num_embeddings": 4}}
    overrides["model"] |= kwargs | {"c_dim": 16}
    net = build_model(load_config("default", overrides))
    assert isinstance(net, OccupancyFlow)
    assert [code.shape for code in net.encode_inputs(torch.tensor([0, 2]))] == [(2, 16), (2, 16)]


def test_latent_encoders_give_a_posterior() -> None:
    inputs, c = torch.randn(2, 17, 30, 3), torch.randn(2, 6)
    fields = {"points": torch.randn(2, 20, 3), "points.occ": torch.ones(2, 20)}
    for encoder in (
        LatentPointNet(z_dim=4, dim=3, hidden_dim=8),
        LatentPointNet(z_dim=4, c_dim=6, hidden_dim=8),
        LatentOccupancyEncoder(z_dim=4, hidden_dim=8),
        LatentOccupancyEncoder(z_dim=4, c_dim=6, hidden_dim=8, leaky=True),
    ):
        mean, logarithm = encoder(inputs, c, fields)
        assert mean.shape == logarithm.shape == (2, 4)
    sequence = {"points": fields["points"][:, None].expand(2, 5, 20, 3)}
    sequence["points.occ"] = fields["points.occ"][:, None].expand(2, 5, 20)
    encoder = LatentOccupancyEncoder(z_dim=4, hidden_dim=8)
    torch.testing.assert_close(encoder(inputs, c, sequence), encoder(inputs, c, fields))
    with pytest.raises(InputError, match="there is no points"):
        encoder(inputs, c, {})
    with pytest.raises(InputError, match="reads 17 frames; found 5"):
        LatentPointNet(z_dim=4)(inputs[:, :5], c, {})


def test_generative_model_learns_codes_of_shape_and_motion() -> None:
    """The latent encoders feel both the KL and what the codes are used for."""
    config = load_config("generative/oflow")
    net = build_model(config)
    assert isinstance(net, OccupancyFlow)
    torch.manual_seed(0)
    inputs = torch.rand(2, 17, 40, 3) - 0.5
    q_z, q_zt = net.infer_z(inputs, torch.empty(2, 0))
    assert q_z.mean.shape == q_zt.mean.shape == (2, 128)
    assert not torch.equal(q_z.mean, q_zt.mean)
    points = torch.rand(2, 30, 3) - 0.5
    batch = {
        "inputs": inputs,
        "points": points,
        "points.occ": (points.norm(dim=2) < 0.3).float(),
        "points_t": points,
        "points_t.occ": (points.norm(dim=2) < 0.3).float(),
        "points_t.time": torch.tensor([0.5, 1.0]),
        "pointcloud": inputs[:, :, :10],
        "pointcloud.time": torch.linspace(0, 1, 17).expand(2, 17),
    }
    terms = losses(net, batch, config)
    assert set(terms) == {"kl", "recon_t0", "recon_t", "corr", "loss"}
    terms["loss"].backward()
    for part in ("encoder_latent", "encoder_latent_temporal"):
        gradient = net.get_parameter(f"{part}.fc_pos.weight").grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_a_model_without_inputs_learns() -> None:
    config = load_config("representation_power/oflow")
    net = build_model(config)
    points = torch.rand(2, 30, 3) - 0.5
    batch = {
        "points": points,
        "points.occ": (points.norm(dim=2) < 0.3).float(),
        "points_t": points,
        "points_t.occ": (points.norm(dim=2) < 0.3).float(),
        "points_t.time": torch.tensor([0.5, 1.0]),
    }
    losses(net, batch, config)["loss"].backward()
    assert net.get_parameter("vector_field.fc_out.weight").grad is not None
