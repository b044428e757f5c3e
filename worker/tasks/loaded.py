"""A network with its weights, on a device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.checkpoints import checkpoint_hash, load_checkpoint, read_weights
from model.config.schema import Config
from model.errors import ConfigError
from model.methods import build_model
from model.networks.embeddings import unsized_embeddings, with_embeddings_of
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.quality import DEFAULT
from worker.checkpoints import checkpoint_file


@dataclass(frozen=True)
class LoadedModel:
    """Ready to be used, not to be trained."""

    config: Config
    net: nn.Module
    checkpoint_sha256: str
    device: str
    quality: str = DEFAULT  # one of model.reconstruction.quality.QUALITIES, of point-cloud completion

    def inputs(self, item: dict[str, Any]) -> Tensor:
        """The inputs of an item of a data set as a batch of one; [1, 0] for a model that has none."""
        inputs = torch.as_tensor(item["inputs"])[None] if "inputs" in item else torch.empty(1, 0)
        return inputs.to(self.device)

    @property
    def occupancy_flow(self) -> OccupancyFlow:
        """The network, as one that has a flow. Raises ConfigError for the other methods."""
        if not isinstance(self.net, OccupancyFlow):
            raise ConfigError(
                f"{self.config.name} has no flow (method {self.config.method}); wanted method oflow"
            )
        return self.net


def load_model(
    config: Config, checkpoint: str | Path | None = None, device: str = "cpu", quality: str = DEFAULT
) -> LoadedModel:
    """`checkpoint`, a path or a URL, stands in for `test.model_file`. Raises ModelError for what is wrong."""
    file = checkpoint_file(config, checkpoint)
    if unsized_embeddings(config):
        config = with_embeddings_of(config, read_weights(file))
    net = build_model(config)
    load_checkpoint(file, net)
    try:
        net = net.to(device).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:  # torch's words for a device it cannot use
        raise ConfigError(f"device {device} cannot be used here: {str(error).splitlines()[0]}") from None
    return LoadedModel(config, net, checkpoint_hash(file), device, quality)
