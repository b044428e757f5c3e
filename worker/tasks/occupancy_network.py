"""ONet 4D: a mesh a frame, each extracted on its own, so that nothing says which points belong together."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.schema import Config
from model.errors import ConfigError, EmptySurfaceError
from model.networks.baselines import OccupancyNetwork4D
from model.reconstruction.progress import StageProgress
from model.reconstruction.surface import Mesh, extract_surface
from model.surface.simplification import simplify
from model.surface.vertex_refinement import refine_vertices
from worker.tasks.generative import Prior
from worker.tasks.loaded import LoadedModel
from worker.tasks.seconds import STAGES, Watch
from worker.tasks.surfaces import output_frames, surface_settings
from worker.tasks.task import Gives, Item, Output


class OccupancyNetwork:
    """The surface of every frame of a window; frames where there is none stay empty, and the others count."""

    gives: Gives = "meshes"

    def __init__(self, model: LoadedModel) -> None:
        if not isinstance(model.net, OccupancyNetwork4D):
            raise ConfigError(f"{model.config.name} is method {model.config.method}; wanted onet4d")
        self.model, self._net = model, model.net
        self._prior = Prior(model, model.config.generation.rand_seed)
        self._times = np.linspace(0, 1, output_frames(model.config))

    @staticmethod
    def check(config: Config) -> None:
        """Any model of this method will do."""

    @property
    def settings(self) -> dict[str, Any]:
        config = self.model.config
        kept = ["use_sampling", "fix_z", "rand_seed"] if config.model.z_dim else []
        return surface_settings(config) | {key: getattr(config.generation, key) for key in kept}

    def __call__(self, item: Item) -> Output:
        """Raises EmptySurfaceError where no frame has a surface."""
        config, stage, seconds = self.model.config, StageProgress(), dict[str, float]()
        meshes: list[Mesh] = []
        empty: dict[int, str] = {}
        with torch.inference_mode():
            with stage("encode"):
                _, c = self._net.encode_inputs(self.model.inputs(item))  # [1, c_dim]
                z, _ = self._prior.draw(int(item["idx"]))  # [1, z_dim]
            for frame, t in enumerate(self._times.tolist()):
                extracting = StageProgress(watch := Watch())
                try:
                    with extracting("extract") as on_progress:
                        occupancy = self._net.occupancy(z, c, t)
                        meshes.append(
                            extract_surface(occupancy, config, self.model.device, on_progress=on_progress)
                        )
                except EmptySurfaceError as error:
                    empty[frame] = str(error)
                    meshes.append((np.empty((0, 3)), np.empty((0, 3), np.int64)))
                for name, taken in watch.seconds(extracting.timings).items():
                    seconds[name] = seconds.get(name, 0.0) + taken
        if len(empty) == len(self._times):
            raise EmptySurfaceError(f"No frame has a surface. At t = 0: {empty[0]}")
        if (target := config.generation.simplify_nfaces) is not None:
            with stage("simplify"):
                meshes = [simplify(*mesh, target) for mesh in meshes]
        if steps := config.generation.refinement_step:
            with stage("refine"):
                meshes = [
                    (self._refined(z, c, t, mesh, steps), mesh[1]) if len(mesh[1]) else mesh
                    for t, mesh in zip(self._times.tolist(), meshes, strict=True)
                ]
        return Output(
            [vertices for vertices, _ in meshes],
            [faces.astype(np.int32) for _, faces in meshes],
            seconds | {STAGES[stage]: taken for stage, taken in stage.timings.items()},
            empty=empty,
        )

    def _refined(self, z: Tensor, c: Tensor, t: float, mesh: Mesh, steps: int) -> NDArray[np.float64]:
        occupancy = self._net.differentiable_occupancy(z, c, t)
        return refine_vertices(occupancy, *mesh, self.model.config.test.threshold, steps, self.model.device)
