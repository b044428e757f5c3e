"""Halves trained apart, put together again."""

from pathlib import Path

from torch import Tensor

from model.checkpoints import read_checkpoint, save_checkpoint
from model.errors import CheckpointError
from model.methods import METHODS

STATE = ("model", "optimizer", "rng")  # what is not kept of the halves' other entries


def join_halves(shape: Path, flow: Path, target: Path) -> dict[str, int]:
    """Write a checkpoint with the shape half of one and the flow half of the other.

    It holds the steps and settings that made each half, and no optimizer state. Returns the number of tensors
    taken from each. Raises CheckpointError where the two are not of one network.
    """
    contents = {"shape": read_checkpoint(shape), "flow": read_checkpoint(flow)}
    states: dict[str, dict[str, Tensor]] = {half: content["model"] for half, content in contents.items()}
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states.values()]
    if shapes[0] != shapes[1]:
        raise CheckpointError(f"{shape} and {flow} hold different networks; wanted two runs of one model")
    # Checkpoints that do not name a config are published ones.
    method = contents["shape"].get("config", {}).get("method", "oflow")
    halves = METHODS[method].halves
    joined = {
        half: {name: state[name] for name in state if name.split(".")[0] in halves[half]}
        for half, state in states.items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        target,
        {
            "model": joined["shape"] | joined["flow"],
            "it": max(int(content.get("it", 0)) for content in contents.values()),
            "halves": {
                half: {key: value for key, value in content.items() if key not in STATE}
                for half, content in contents.items()
            },
        },
    )
    return {half: len(state) for half, state in joined.items()}
