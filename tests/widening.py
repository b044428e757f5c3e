"""A wider network that computes the same: each unit stands there several times, with its share of weight.

(Net2WiderNet: Chen, Goodfellow and Shlens, ICLR 2016.) With it the cost of a width is measured on a real
motion, without weights that were trained at that width.
"""

from typing import Any

from model import Reconstructor
from model.config.schema import load_config
from model.methods import build_model
from model.networks.occupancy_flow import OccupancyFlow


def widened(narrow: Reconstructor, config_name: str, model: dict[str, Any] | None = None) -> Reconstructor:
    """The function of `narrow` in the network of a wider config, whose `model` may be changed."""
    overrides = {"test": {"threshold": narrow.config.test.threshold}, "model": model or {}}
    config = load_config(config_name, overrides)
    net = build_model(config)
    assert isinstance(net, OccupancyFlow)
    given, wanted = narrow.net.state_dict(), net.state_dict()
    assert given.keys() == wanted.keys()
    for name, tensor in wanted.items():
        wide = given[name]
        for dim in range(tensor.ndim):
            copies = tensor.shape[dim] // wide.shape[dim]
            # Beside each other, so that features joined to features stay in place.
            wide = wide.repeat_interleave(copies, dim)
            if dim == 1:  # what a unit reads
                wide = wide / copies
        wanted[name] = wide
    net.load_state_dict(wanted)
    return Reconstructor(config, net, narrow.checkpoint_sha256, narrow.device)
