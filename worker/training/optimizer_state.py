"""Adam's state in checkpoints: kept by the position of a parameter, restored by its name."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer


def restore(optimizer: Optimizer, saved: dict[str, Any], names: Iterable[str], net: nn.Module) -> None:
    """Give `optimizer`, over the trained parameters of `net`, the state of a checkpoint.

    `names` are the keys of the checkpoint's `model`: a state_dict lists parameters in the order in which the
    optimizer that was saved with it counts them, whichever code defined the network. Settings such as the
    learning rate stay those of `optimizer`. Raises ValueError where numbers or shapes of tensors differ.
    """
    own = {name: value for name, value in net.named_parameters() if value.requires_grad}
    ordered = [name for name in names if name in own]
    positions = [position for group in saved["param_groups"] for position in group["params"]]
    if len(positions) != len(own):
        raise ValueError(f"its optimizer has {len(positions)} parameters, and this run trains {len(own)}")
    moments = {name: saved["state"].get(place) for name, place in zip(ordered, positions, strict=True)}
    for name, values in moments.items():
        for key in ("exp_avg", "exp_avg_sq"):
            if values is not None and (found := values[key].shape) != own[name].shape:
                raise ValueError(f"{key} of {name} is {list(found)}, wanted {list(own[name].shape)}")
    state = {number: moments[name] for number, name in enumerate(own) if moments[name] is not None}
    group = {**optimizer.defaults, "params": list(range(len(own)))}
    optimizer.load_state_dict({"state": state, "param_groups": [group]})
