"""Representation power: sequences that a model keeps in its weights, told apart by number if at all."""

from typing import Any

import torch

from model.config.schema import Config
from model.errors import ConfigError
from worker.tasks.decoding import Codes, Decoding
from worker.tasks.loaded import LoadedModel
from worker.tasks.task import Gives, Item, Output


class RepresentationPower:
    """What the weights hold: the one sequence, or that of the item's number with `data.input_type: idx`."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._decoding = Decoding(model)

    @staticmethod
    def check(config: Config) -> None:
        data, model = config.data, config.model
        if data.input_type not in (None, "idx") or model.decoder is None:
            raise ConfigError(
                f"{config.name} does not keep sequences in its weights: found data.input_type "
                f"{data.input_type}, model.decoder {model.decoder}; wanted null or idx, and a decoder, as in "
                "representation_power/oflow"
            )

    @property
    def settings(self) -> dict[str, Any]:
        return self._decoding.settings

    def __call__(self, item: Item) -> Output:
        net, device = self.model.occupancy_flow, self.model.device
        with torch.inference_mode():
            c_s, c_t = net.encode_inputs(self.model.inputs(item))
        none = torch.empty(1, 0, device=device)
        return self._decoding.output(Codes(none, none, c_s, c_t))
