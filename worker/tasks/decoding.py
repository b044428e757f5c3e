"""A moving mesh from codes alone: the surface that the shape's code stands for, carried by the motion's."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.meshes.colors import correspondence_colors
from model.meshes.sequence import MeshSequence
from model.reconstruction.progress import StageProgress
from model.reconstruction.surface import Mesh, extract_surface
from model.surface.simplification import simplify
from model.surface.vertex_refinement import refine_vertices
from worker.tasks.loaded import LoadedModel
from worker.tasks.seconds import Watch
from worker.tasks.surfaces import output_frames, surface_settings
from worker.tasks.task import Output

Vertices = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Codes:
    """Of one sequence: latent codes [1, z_dim] and codes of its inputs [1, c_dim]; [1, 0] without them."""

    z: Tensor
    z_t: Tensor
    c_s: Tensor
    c_t: Tensor


class Decoding:
    """Meshes by a loaded model and its settings `test.threshold` and `generation`, in the unit box."""

    def __init__(self, model: LoadedModel) -> None:
        self._net = model.occupancy_flow
        self._config, self._device = model.config, model.device
        self.frames = output_frames(model.config)
        self._watch = Watch()
        self._stage = StageProgress(self._watch)

    @property
    def settings(self) -> dict[str, Any]:
        """All that meshes depend on beside codes and weights."""
        return surface_settings(self._config)

    def __call__(self, codes: Codes) -> MeshSequence:
        """All frames. Raises EmptySurfaceError where the shape has no surface."""
        return self.carry(self.extract(codes), codes)

    def output(self, codes: Codes) -> Output:
        """The same as the result of a task, with published names for the seconds."""
        self._watch = Watch()
        self._stage = StageProgress(self._watch)
        meshes = self(codes)
        return Output.moving(meshes, self._watch.seconds(meshes.timings))

    @torch.inference_mode()
    def extract(self, codes: Codes) -> Mesh:
        """The surface at t = 0."""
        with self._stage("extract") as on_progress:
            vertices, faces = extract_surface(
                self._net.occupancy(codes.z, codes.c_s), self._config, self._device, on_progress=on_progress
            )
        if (target := self._config.generation.simplify_nfaces) is not None:
            with self._stage("simplify"):
                vertices, faces = simplify(vertices, faces, target)
        if steps := self._config.generation.refinement_step:
            with self._stage("refine"):
                occupancy = self._net.differentiable_occupancy(codes.z, codes.c_s)
                vertices = refine_vertices(
                    occupancy, vertices, faces, self._config.test.threshold, steps, self._device
                )
        return vertices, faces

    @torch.inference_mode()
    def carry(self, mesh: tuple[Vertices, NDArray[np.integer]], codes: Codes) -> MeshSequence:
        """A mesh of t = 0 at evenly spaced times, which last one second."""
        vertices, faces = mesh
        times = np.linspace(0, 1, self.frames)
        start = torch.from_numpy(vertices.astype(np.float32)).to(self._device)[None]  # [1, V, 3]
        with self._stage("flow"):
            moved = self._net.transform_to_t(
                torch.from_numpy(times).to(self._device), start, codes.z_t, codes.c_t
            )
            paths = moved[0].cpu().numpy()  # [T, V, 3]
        return MeshSequence(
            paths.astype(np.float64),
            faces.astype(np.int32),
            times,
            correspondence_colors(vertices) if self._config.generation.mesh_color else None,
            timings=dict(self._stage.timings),
        )
