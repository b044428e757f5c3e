"""Halves trained apart, put together again."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoints import read_checkpoint, save_checkpoint
from model.errors import CheckpointError
from model.methods import METHODS
from worker.training.run_folder import LAST_WEIGHTS

STATE = ("model", LAST_WEIGHTS, "optimizer", "rng")  # what is not kept of the halves' other entries


def join_halves(shape: Path, flow: Path, target: Path, float16: bool = False) -> dict[str, int]:
    """Write a checkpoint with the shape half of one and the flow half of the other.

    It holds the steps and settings that made each half, and no optimizer state. With `float16`, weights take
    half the bytes; networks load them as float32. Returns the number of tensors taken from each. Raises
    CheckpointError where the two are not of one network.
    """
    contents = {"shape": read_checkpoint(shape), "flow": read_checkpoint(flow)}
    # Checkpoints that do not name a config are published ones, or hold one half of local_oflow alone.
    method = contents["shape"].get("config", {}).get("method", "oflow")
    states = {half: content["model"] for half, content in contents.items()}
    if all(_is_half_alone(content, half) for half, content in contents.items()):
        joined = {half: {f"{half}.{name}": state[name] for name in state} for half, state in states.items()}
    else:
        shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states.values()]
        if shapes[0] != shapes[1]:
            raise CheckpointError(f"{shape} and {flow} hold different networks; wanted two runs of one model")
        halves = METHODS[method].halves
        joined = {
            half: {name: state[name] for name in state if name.split(".")[0] in halves[half]}
            for half, state in states.items()
        }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        target,
        {
            "model": _stored(joined["shape"] | joined["flow"], float16),
            "it": max(int(content.get("it", 0)) for content in contents.values()),
            "halves": {
                half: {key: value for key, value in content.items() if key not in STATE}
                for half, content in contents.items()
            },
        },
    )
    return {half: len(state) for half, state in joined.items()}


def _is_half_alone(content: dict[str, Any], half: str) -> bool:
    """Whether it holds the child `half` of `LocalOccupancyFlow`, under its own names."""
    from model.networks.local_occupancy_flow import LocalOccupancyFlow

    with torch.device("meta"):
        own = LocalOccupancyFlow().get_submodule(half).state_dict()
    return bool(own.keys() == content["model"].keys())


def _stored(state: dict[str, Tensor], float16: bool) -> dict[str, Tensor]:
    if not float16:
        return state
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
