"""Networks whose weights are filled by the rule of the published outputs, and those outputs."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.config.schema import Config
from model.methods import build_model

DATA = Path(__file__).parent.parent / "data"


def fill(key: str, shape: torch.Size) -> Tensor:
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape)
    if key.endswith("running_mean"):
        return 0.1 * r
    if key.endswith("running_var"):
        return 1 + 0.1 * r.abs()
    if r.dim() >= 2:
        return r / math.sqrt(r[0].numel())
    return 1 + 0.05 * r if key.endswith(("gamma.bias", ".weight")) else 0.05 * r


def filled(config: Config) -> Any:
    """The network of a config with weights by the rule."""
    net = build_model(config)
    for key, value in net.state_dict().items():
        value.copy_(fill(key, value.shape))
    return net


def outputs(name: str) -> dict[str, Tensor]:
    """What the published code made of a config: inputs `in_…` and outputs `out_…`."""
    with np.load(DATA / f"{name.replace('/', '_')}.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive if key != "meta"}


def check_filling(name: str, net: torch.nn.Module) -> None:
    """The published side was filled with the same numbers."""
    with np.load(DATA / f"{name.replace('/', '_')}.npz") as archive:
        keys = json.loads(str(archive["meta"]))["keys"]
        state = net.state_dict()
        assert sorted(state) == keys
        for key, total, first in zip(keys, archive["key_sum"], archive["key_first"], strict=True):
            assert math.isclose(state[key].double().sum(), total, abs_tol=1e-6), key
            assert math.isclose(state[key].flatten()[0], first, abs_tol=1e-6), key
