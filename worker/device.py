"""Which device to compute on."""

import torch

from model.errors import ConfigError


def pick_device(wanted: str) -> str:
    """`auto` takes the GPU where there is one; a CUDA device that is not there is an error."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is {wanted!r}, and this machine has no CUDA device: use cpu, or auto")
    return wanted
