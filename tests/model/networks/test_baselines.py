"""ONet 4D and PSGN 4D: against the published code, and what their description says."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config.schema import Config, load_config
from model.errors import ConfigError, InputError
from model.methods import build_model, losses, needed_fields
from model.networks.baselines import OccupancyNetwork4D, PointSetGeneration4D
from tests.model.published import DATA, check_filling, filled, outputs


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return outputs("pointcloud/psgn4d")


@pytest.fixture(scope="module")
def net() -> PointSetGeneration4D:
    network: PointSetGeneration4D = filled(load_config("pointcloud/psgn4d"))
    check_filling("pointcloud/psgn4d", network)
    return network


def close(ours: Tensor, theirs: Tensor, tolerance: float = 3e-6) -> bool:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item() <= tolerance


def test_point_sets_as_published(net: PointSetGeneration4D, published: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert close(net.encoder(published["in_inputs"]), published["out_c"])
        clouds = net(published["in_inputs"])
    assert clouds.shape == (2, 17, 1024, 3)
    assert close(clouds[:, :, ::16], published["out_points_every16th"])
    assert close(clouds.sum(dim=2), published["out_points_sum"], 1e-5)


@pytest.mark.parametrize("ending", ["", "_w_correspond"])
def test_chamfer_loss_as_published(
    net: PointSetGeneration4D, published: dict[str, Tensor], ending: str
) -> None:
    config = load_config(f"pointcloud/psgn4d{ending}")
    assert needed_fields(config) == ["inputs", "points_mesh"]
    short = "_corr" if ending else ""
    batch = {"inputs": published["in_inputs"], "points_mesh": published["in_points_mesh"]}
    net.zero_grad()
    terms = losses(net, batch, config)
    terms["loss"].backward()
    assert terms["chamfer"].item() == pytest.approx(published[f"out_chamfer_loss{short}"].item(), rel=1e-5)
    with np.load(DATA / "pointcloud_psgn4d.npz") as archive:
        names = json.loads(str(archive["meta"]))["grad_names"]
    found = dict(net.named_parameters())
    for name, norm in zip(names, published[f"out_grad_norm{short}"].tolist(), strict=True):
        gradient = found[name].grad
        assert gradient is not None
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-3), name


def test_another_number_of_frames_is_refused(net: PointSetGeneration4D, published: dict[str, Tensor]) -> None:
    batch = {"inputs": published["in_inputs"], "points_mesh": published["in_points_mesh"][:, :5]}
    with pytest.raises(InputError, match="gives 17 frames; found 5"):
        losses(net, batch, load_config("pointcloud/psgn4d"))


def small_config() -> Config:
    encoder, decoder = (
        {"encoder_temporal_kwargs": {"hidden_dim": 16}},
        {"decoder_kwargs": {"hidden_size": 32}},
    )
    return load_config("pointcloud/onet4d", {"model": {"c_dim": 16, **encoder, **decoder}})


def test_occupancy_of_space_and_time() -> None:
    """Time is the fourth coordinate of each item's points; the bound form is the same function."""
    net: OccupancyNetwork4D = filled(small_config()).eval()
    inputs, points = torch.randn(2, 17, 50, 3), torch.rand(2, 40, 3) - 0.5
    times = torch.tensor([0.25, 1.0])
    with torch.no_grad():
        none, c = net.encode_inputs(inputs)
        assert none.shape == (2, 0)
        logits = net.decode(points, None, c, times)
        reference = net.decoder(torch.cat([points, times[:, None, None].expand(2, 40, 1)], dim=2), None, c)
        torch.testing.assert_close(logits, reference)
        for item in (0, 1):
            occupancy = net.occupancy(None, c[[item]], float(times[item]))
            rounding = 1e-5 * float(logits.abs().max())  # small logits are differences of large numbers
            torch.testing.assert_close(occupancy(points[item]), logits[item], rtol=1e-4, atol=rounding)
        assert not torch.allclose(logits[0], net.decode(points, None, c, torch.ones(2))[0])


def test_occupancy_at_a_random_time_is_learned() -> None:
    config = load_config("pointcloud/onet4d")
    assert needed_fields(config) == ["inputs", "points_t", "points_t.occ", "points_t.time"]
    torch.manual_seed(0)
    net = build_model(small_config()).train()
    points = torch.rand(4, 64, 3) - 0.5
    batch = {
        "inputs": torch.randn(4, 17, 20, 3),
        "points_t": points,
        "points_t.occ": (points.norm(dim=2) < 0.4).float(),
        "points_t.time": torch.tensor([0.0, 0.3, 0.6, 1.0]),
    }
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    seen = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = losses(net, batch, config)["loss"]
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen[-1] < 0.5 * seen[0]


def test_halves_and_missing_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="method onet4d has no halves"):
        load_config("pointcloud/onet4d", {"training": {"parts": "shape"}})
    with pytest.raises(ConfigError, match=r"model\.decoder is null; method onet4d needs one"):
        build_model(load_config("pointcloud/onet4d", {"model": {"decoder": None}}))
    with pytest.raises(ConfigError, match="cbatchnorm is not available; available: simple"):
        build_model(load_config("pointcloud/psgn4d", {"model": {"decoder": "cbatchnorm"}}))
