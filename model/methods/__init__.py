"""Methods by name: `METHODS[config.method]` knows how one is built, trained and evaluated.

    net = build_model(config)
    terms = losses(net, batch, config)    # {"loss": …, "recon_t0": …, "corr": …}, scalars
    terms["loss"].backward()

`training.parts` selects one half of a method whose halves share no weights (for Occupancy Flow: shape and
flow), so that each can be trained alone, at a fraction of the cost of a joint step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.errors import InputError
from model.methods.local_oflow import LocalOccupancyFlowMethod
from model.methods.method import Method
from model.methods.oflow import OccupancyFlowMethod
from model.methods.onet4d import OccupancyNetwork4DMethod
from model.methods.psgn4d import PointSetGeneration4DMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from model.config.schema import Config

METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        OccupancyFlowMethod(),
        LocalOccupancyFlowMethod(),
        OccupancyNetwork4DMethod(),
        PointSetGeneration4DMethod(),
    )
}


def build_model(config: Config) -> nn.Module:
    """The network of a config with random weights, on the CPU. Raises ConfigError for unknown parts."""
    net: nn.Module = METHODS[config.method].build(config)
    return net


def losses(net: nn.Module, batch: Any, config: Config) -> dict[str, Tensor]:
    """Loss terms by name, each a scalar, and their sum `loss`.

    `batch` holds inputs [B, T, N, 3]; points [B, P, 3] with points.occ [B, P] at t = 0; points_t [B, P, 3],
    points_t.occ [B, P] and points_t.time [B]; pointcloud [B, T, M, 3] with pointcloud.time [B, T];
    points_mesh [B, T, M, 3]; fields that no term reads may be missing. Batches of a data stream may be of any
    other type. Raises InputError for missing fields.
    """
    if isinstance(batch, dict) and (missing := [name for name in needed_fields(config) if name not in batch]):
        raise InputError(
            f"the batch lacks {', '.join(missing)}, which the losses of this config read; "
            f"found {', '.join(batch)}"
        )
    first, *others = (terms := METHODS[config.method].losses(net, batch, config)).values()
    return terms | {"loss": sum(others, start=first)}


def needed_fields(config: Config) -> list[str]:
    """The fields of a training batch that the losses of a config read."""
    inputs = ["inputs"] if config.data.input_type else []
    terms = METHODS[config.method].loss_fields(config)
    return inputs + [field for fields in terms.values() for field in fields]


def freeze_other_parts(net: nn.Module, config: Config) -> None:
    """Restrict gradients to the half of the network that `training.parts` names; all of it for `joint`."""
    parts = config.training.parts
    for name, parameter in net.named_parameters():
        trained = parts == "joint" or name.split(".")[0] in METHODS[config.method].halves[parts]
        parameter.requires_grad_(trained)
