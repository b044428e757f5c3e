"""A tiny real network whose surface is an octahedron, so that jobs measure the service."""

from pathlib import Path
from typing import Any

import torch
import yaml

from model import build_model, load_config
from model.checkpoints import save_checkpoint
from model.networks.decoders import CBatchNormDecoder
from model.networks.occupancy_flow import OccupancyFlow

WIDTH = 8
RADIUS = 0.25  # from center to corners, in box sides


def write_small_model(folder: Path, name: str = "small", seed: int = 0) -> tuple[Path, Path]:
    """Write its config and checkpoint; the network's flow, and hence the result, depends on the input."""
    model: dict[str, Any] = {
        "c_dim": WIDTH,
        "encoder_kwargs": {"hidden_dim": WIDTH},
        "encoder_temporal_kwargs": {"hidden_dim": WIDTH},
        "decoder_kwargs": {"hidden_size": WIDTH},
        "velocity_field_kwargs": {"hidden_size": WIDTH},
    }
    config_file, checkpoint = folder / f"{name}.yaml", folder / f"{name}.pt"
    values = {"inherit_from": "configs/pointcloud/oflow.yaml", "model": model, "test": {"threshold": 0.5}}
    config_file.write_text(yaml.safe_dump(values), encoding="utf-8")
    torch.manual_seed(seed)
    net = build_model(load_config(str(config_file)))
    assert isinstance(net, OccupancyFlow)
    assert isinstance(net.decoder, CBatchNormDecoder)
    _octahedron(net.decoder)
    with torch.no_grad():
        net.vector_field.fc_out.weight.mul_(0.1)
    save_checkpoint(checkpoint, {"model": net.state_dict()})
    return config_file, checkpoint


def _octahedron(decoder: CBatchNormDecoder) -> None:
    """logit = 20 (RADIUS − |x| − |y| − |z|): blocks of zeros hand the six features relu(±x), … on."""
    with torch.no_grad():
        for block in decoder.blocks:
            block.fc_1.weight.zero_()
            block.fc_1.get_parameter("bias").zero_()
        weight = decoder.fc_p.weight.zero_()  # [F, 3, 1]
        weight[:3, :, 0], weight[3:6, :, 0] = torch.eye(3), -torch.eye(3)
        decoder.fc_p.get_parameter("bias").zero_()
        decoder.fc_out.weight.zero_()[0, :6] = -20.0  # [1, F, 1]
        decoder.fc_out.get_parameter("bias").fill_(20 * RADIUS)
