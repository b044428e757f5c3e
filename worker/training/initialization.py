"""What a run starts from: the tensors of `model.initialize_from` that fit."""

from torch import Tensor, nn

from model.checkpoints import copy_fitting, read_weights
from model.config.schema import Config
from model.errors import CheckpointError
from worker.checkpoints import initialization_file

FEATURES = "encoder.features."  # where `resnet18` holds the network that torchvision calls resnet18
CLASSES = "fc."  # its last layer, which only ImageNet's classes need


def initialize(net: nn.Module, config: Config) -> str | None:
    """Copy what fits of the checkpoint that `model.initialize_from` names, and say what was copied.

    The file may also be torchvision's resnet18: it goes into the encoder. Raises CheckpointError where that
    is another network.
    """
    if (file := initialization_file(config)) is None:
        return None
    state = read_weights(file)
    if is_torchvision := "conv1.weight" in state:
        state = {FEATURES + name: tensor for name, tensor in state.items() if not name.startswith(CLASSES)}
        _require_all(state, net, str(file), config)
    copied, left = copy_fitting(state, net)
    parts = sorted({FEATURES[:-1] if is_torchvision else name.split(".")[0] for name in copied})
    note = f"{len(copied)} of {len(copied) + len(left)} tensors copied from {file} ({', '.join(parts)})"
    return note + (f"; left as they were: {', '.join(left[:6])}{' …' * (len(left) > 6)}" if left else "")


def _require_all(state: dict[str, Tensor], net: nn.Module, file: str, config: Config) -> None:
    own = net.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].shape != tensor.shape:
            found = f"{name.removeprefix(FEATURES)} {list(tensor.shape)}"
            raise CheckpointError(
                f"{file} holds weights of torchvision with {found}, which {config.name} has no place for "
                f"(model.encoder {config.model.encoder}); wanted those of resnet18, and that encoder"
            )
