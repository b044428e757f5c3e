"""PSGN 4D: point clouds straight from a code, point j of every frame from the same neurons."""

from typing import Any

import torch

from model.config.schema import Config
from model.errors import ConfigError
from model.networks.baselines import PointSetGeneration4D
from model.reconstruction.progress import StageProgress
from worker.tasks.loaded import LoadedModel
from worker.tasks.seconds import STAGES
from worker.tasks.task import Gives, Item, Output


class PointSets:
    """All clouds of a window in one pass through the network."""

    gives: Gives = "point clouds"

    def __init__(self, model: LoadedModel) -> None:
        if not isinstance(model.net, PointSetGeneration4D):
            raise ConfigError(f"{model.config.name} is method {model.config.method}; wanted psgn4d")
        self.model, self._net = model, model.net

    @staticmethod
    def check(config: Config) -> None:
        if config.data.input_type not in ("pcl_seq", "img_seq"):
            raise ConfigError(
                f"{config.name}: found data.input_type {config.data.input_type}; this method reads pcl_seq "
                "or img_seq"
            )
        if config.generation.only_end_time_points:
            raise ConfigError(
                f"{config.name}: generation.only_end_time_points is true, and this method gives all frames "
                "at once; wanted false"
            )

    @property
    def settings(self) -> dict[str, Any]:
        frames, points, _ = self._net.decoder.shape
        return {"frames": frames, "points": points}

    def __call__(self, item: Item) -> Output:
        stages = StageProgress()
        with torch.inference_mode():
            with stages("encode"):
                code = self._net.encoder(self.model.inputs(item))
            with stages("extract"):
                clouds = self._net.decoder(code)[0].cpu().numpy()  # [T, P, 3]
        seconds = {STAGES["encode"]: stages.timings["encode"], "time (decode)": stages.timings["extract"]}
        return Output(list(clouds), None, seconds)
