"""What the tests of tasks share: small networks whose flow is known by a formula."""

from pathlib import Path
from typing import Any

import torch

from model import Config, build_model, load_config
from model.checkpoints import save_checkpoint
from model.networks.occupancy_flow import OccupancyFlow

SMALL: dict[str, Any] = {
    "c_dim": 8,
    "encoder_temporal_kwargs": {"hidden_dim": 8},
    "velocity_field_kwargs": {"hidden_size": 8},
}


def small(name: str, **sections: dict[str, Any]) -> Config:
    """A config of a task that moves given meshes, eight wide."""
    return load_config(name, {"model": SMALL, "data": {"input_pointcloud_n": 50}} | sections)


def small_file(name: str, folder: Path, **sections: dict[str, Any]) -> str:
    """The same as a file, for the command line."""
    import yaml

    values = {"inherit_from": f"configs/{name}.yaml", "model": SMALL, "data": {"input_pointcloud_n": 50}}
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(values | sections), encoding="utf-8")
    return str(file)


def pushing(config: Config, folder: Path, push: tuple[float, float, float], later: bool) -> Path:
    """A checkpoint whose velocity is `push` everywhere, or with `later` t · `push`; in sides of the box."""
    torch.manual_seed(0)
    net = build_model(config)
    assert isinstance(net, OccupancyFlow)
    field = net.vector_field
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.zero_()
        # Blocks of zeros hand their input on: feature 0 is t, or 1.
        field.fc_p.weight[0, 3] = float(later)
        field.fc_p.bias[0] = float(not later)
        field.fc_out.weight[:, 0] = torch.tensor(push)
    file = folder / "pushing.pt"
    save_checkpoint(file, {"model": net.state_dict()})
    return file
