"""4D point-cloud completion: tracked, sparse points in, one mesh that moves through all frames out."""

from typing import Any

from model.config.schema import Config
from model.reconstruction.reconstructor import Reconstructor
from worker.data.windows import DATA_BOX
from worker.tasks.loaded import LoadedModel
from worker.tasks.seconds import Watch
from worker.tasks.surfaces import output_frames, surface_settings
from worker.tasks.task import Gives, Item, Output


class Completion:
    """Every window through the Reconstructor."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._reconstructor = Reconstructor(
            model.config, model.occupancy_flow, model.checkpoint_sha256, model.device
        )
        self._frames = output_frames(model.config)

    @staticmethod
    def check(config: Config) -> None:
        """The Reconstructor refuses what it cannot use."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"quality": self.model.quality, **surface_settings(self.model.config)}

    def __call__(self, item: Item) -> Output:
        config, watch = self.model.config, Watch()
        meshes = self._reconstructor(
            list(item["inputs"]),
            corresponding=config.data.input_pointcloud_corresponding,
            frames=self._frames,
            color="correspondence" if config.generation.mesh_color else "none",
            quality=self.model.quality,
            refine="off",  # as published
            box=DATA_BOX,
            progress=watch,
        )
        return Output.moving(meshes, watch.seconds(meshes.timings))
