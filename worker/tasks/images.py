"""A moving mesh from the images of one camera: shape from the first, motion from all of them."""

from typing import Any

import torch

from model.config.schema import Config
from model.errors import ConfigError
from model.reconstruction.progress import StageProgress
from worker.tasks.decoding import Codes, Decoding
from worker.tasks.loaded import LoadedModel
from worker.tasks.seconds import STAGES
from worker.tasks.task import Gives, Item, Output


class Images:
    """Every window from its images [T, 3, S, S], in the unit box of the first frame, never measured."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._decoding = Decoding(model)

    @staticmethod
    def check(config: Config) -> None:
        model = config.model
        if missing := [
            part for part in ("encoder", "encoder_temporal", "decoder") if getattr(model, part) is None
        ]:
            raise ConfigError(
                f"{config.name} does not reconstruct image sequences: model.{missing[0]} is null; wanted the "
                "parts of img/oflow"
            )

    @property
    def settings(self) -> dict[str, Any]:
        return {"img_size": self.model.config.data.img_size, **self._decoding.settings}

    def __call__(self, item: Item) -> Output:
        net, device, stages = self.model.occupancy_flow, self.model.device, StageProgress()
        with torch.inference_mode(), stages("encode"):
            c_s, c_t = net.encode_inputs(self.model.inputs(item))
        none = torch.empty(1, 0, device=device)
        output = self._decoding.output(Codes(none, none, c_s, c_t))
        output.seconds[STAGES["encode"]] = stages.timings["encode"]
        return output
