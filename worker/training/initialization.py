"""What a run starts from: the tensors of `model.initialize_from` that fit, or ImageNet's for images."""

from torch import Tensor, nn

from model.checkpoints import copy_fitting, read_weights
from model.config.schema import Config
from model.errors import CheckpointError
from worker.checkpoints import fetch_checkpoint, initialization_file, kept_file

# Of torchvision, trained on ImageNet; the name says how its SHA-256 begins.
RESNET18 = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
FEATURES = "encoder.features."  # where `resnet18` holds the network that torchvision calls resnet18
CLASSES = "fc."  # its last layer, which only ImageNet's classes need


def initialize(net: nn.Module, config: Config) -> str | None:
    """Copy what fits of the checkpoint that `model.initialize_from` names, and say what was copied.

    The file may also be torchvision's resnet18: it goes into the encoder. An encoder `resnet18` gets those
    weights where no file is named, as published. Raises CheckpointError where the file is of another network,
    and FetchError where the weights can neither be found nor fetched.
    """
    file = initialization_file(config)
    if file is None and _wants_imagenet(config):
        file = fetch_checkpoint(
            RESNET18,
            f"Fetch it in some other way and put it at {kept_file(RESNET18)}, or name it by "
            "model.initialize_from, or set model.encoder_kwargs.pretrained: false for random weights",
        )
    if file is None:
        return None
    state = read_weights(file)
    if is_torchvision := "conv1.weight" in state:
        state = {FEATURES + name: tensor for name, tensor in state.items() if not name.startswith(CLASSES)}
        _require_all(state, net, str(file), config)
    copied, left = copy_fitting(state, net)
    parts = sorted({FEATURES[:-1] if is_torchvision else name.split(".")[0] for name in copied})
    note = f"{len(copied)} of {len(copied) + len(left)} tensors copied from {file} ({', '.join(parts)})"
    return note + (f"; left as they were: {', '.join(left[:6])}{' …' * (len(left) > 6)}" if left else "")


def _wants_imagenet(config: Config) -> bool:
    model = config.model
    return model.encoder == "resnet18" and bool(model.encoder_kwargs.get("pretrained", True))


def _require_all(state: dict[str, Tensor], net: nn.Module, file: str, config: Config) -> None:
    own = net.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].shape != tensor.shape:
            found = f"{name.removeprefix(FEATURES)} {list(tensor.shape)}"
            raise CheckpointError(
                f"{file} holds weights of torchvision with {found}, which {config.name} has no place for "
                f"(model.encoder {config.model.encoder}); wanted those of resnet18, and that encoder"
            )
