"""A generative model that is known by a formula: octahedra that are pushed along x.

Shape: |x| + |y| + |z| < RADIUS + z[0] / 10, and the encoder's mean of z[0] is the largest x of frame 0.
Motion: the velocity is z_t[0] along x, and the encoder's mean of z_t[0] is the largest x of the last frame.
All other means are 0; the standard deviations are 1/2 for shapes and 1/4 for motions.
"""

import math
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from model import Config, build_model, load_config
from model.checkpoints import save_checkpoint
from model.networks.decoders import SimpleDecoder
from model.networks.latent_encoders import LatentPointNet
from model.networks.occupancy_flow import OccupancyFlow

FRAMES, Z_DIM, RADIUS, SHARPNESS = 5, 3, 0.3, 40.0


def octahedra(folder: Path, data: Path | str = "nowhere", **generation: Any) -> Path:
    """The config as a file, and model_best.pt in its run folder, `folder`/run."""
    sections: dict[str, Any] = {
        "inherit_from": "configs/generative/oflow.yaml",
        "data": {
            "path": str(data),
            "classes": ["bodies"],
            "length_sequence": FRAMES,
            "offset_sequence": 0,
            "input_pointcloud_n": 50,
            "test_split": None,
        },
        "model": {
            "z_dim": Z_DIM,
            "encoder_latent_kwargs": {"hidden_dim": 4},
            "encoder_latent_temporal_kwargs": {"hidden_dim": 4, "dim": 3 * FRAMES},
            "decoder_kwargs": {"hidden_size": 8},
            "velocity_field_kwargs": {"hidden_size": 8},
        },
        "training": {"out_dir": str(folder / "run"), "num_workers": 0, "batch_size": 3},
        "test": {"threshold": 0.5},
        "generation": {"resolution_0": 32, "upsampling_steps": 0, "n_time_steps": FRAMES} | generation,
    }
    file = folder / "octahedra.yaml"
    file.write_text(yaml.safe_dump(sections), encoding="utf-8")
    _save(load_config(file))
    return file


def _save(config: Config) -> None:
    net = build_model(config)
    assert isinstance(net, OccupancyFlow)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        _shape(net.decoder)
        _motion(net.vector_field)
        _largest_x(net.encoder_latent, place=0, deviation=1 / 2)
        _largest_x(net.encoder_latent_temporal, place=3 * (FRAMES - 1), deviation=1 / 4)
    file = Path(config.training.out_dir) / "model_best.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(file, {"model": net.state_dict()})


def _shape(decoder: Any) -> None:
    """Features x, -x, y, -y, z, -z, and the radius; blocks of zeros hand them on."""
    assert isinstance(decoder, SimpleDecoder)
    for axis in range(3):
        decoder.fc_p.weight[2 * axis, axis], decoder.fc_p.weight[2 * axis + 1, axis] = 1, -1
    decoder.fc_p.bias[6] = RADIUS
    assert decoder.fc_z is not None
    decoder.fc_z.weight[6, 0] = 0.1
    decoder.fc_out.weight[0, :6], decoder.fc_out.weight[0, 6] = -SHARPNESS, SHARPNESS


def _motion(field: Any) -> None:
    """Features z_t[0] and its negative, of which one survives the ReLU."""
    first: nn.Linear = field.fc_z[0]
    first.weight[0, 0], first.weight[1, 0] = 1, -1
    field.fc_out.weight[0, 0], field.fc_out.weight[0, 1] = 1, -1


def _largest_x(encoder: Any, place: int, deviation: float) -> None:
    assert isinstance(encoder, LatentPointNet)
    encoder.fc_pos.weight[0, place] = 1
    for block in encoder.blocks:
        assert isinstance(block.shortcut, nn.Linear)
        block.shortcut.weight[0, 0] = 1
    encoder.fc_mean.weight[0, 0] = 1
    encoder.fc_logstd.bias.fill_(math.log(deviation))
