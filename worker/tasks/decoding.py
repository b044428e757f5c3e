"""A moving mesh from codes alone: the surface that the shape's code stands for, carried by the motion's."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.colors import correspondence_colors
from model.isosurface import extract_isosurface
from model.meshes import MeshSequence
from model.reconstruct import CPU_CHUNK, GPU_CHUNK
from model.simplification import simplify
from model.stages import Stages
from worker.tasks.completion import STAGES
from worker.tasks.loaded import LoadedModel
from worker.tasks.task import Output

Vertices = NDArray[np.floating]
Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]  # vertices [V, 3] and faces [F, 3]


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
        self._net, self._device = model.occupancy_flow, model.device
        self._config = model.config
        generation = model.config.generation
        self.frames = 2 if generation.only_end_time_points else generation.n_time_steps
        self._stages = Stages(None, None)

    @property
    def settings(self) -> dict[str, Any]:
        """All that meshes depend on beside codes and weights."""
        kept = ("resolution_0", "upsampling_steps", "padding", "simplify_nfaces")
        return {
            "threshold": self._config.test.threshold,
            "frames": self.frames,
            **{key: getattr(self._config.generation, key) for key in kept},
        }

    def __call__(self, codes: Codes) -> MeshSequence:
        """All frames. Raises EmptySurfaceError where the shape has no surface."""
        return self.carry(self.extract(codes), codes)

    def output(self, codes: Codes) -> Output:
        """The same as the result of a task, with published names for the seconds."""
        meshes = self(codes)
        return Output.moving(meshes, {STAGES[stage]: seconds for stage, seconds in meshes.timings.items()})

    @torch.inference_mode()
    def extract(self, codes: Codes) -> Mesh:
        """The surface at t = 0."""
        generation = self._config.generation
        with self._stages("extract"):
            vertices, faces = extract_isosurface(
                self._net.occupancy(codes.z, codes.c_s),
                self._config.test.threshold,
                resolution_0=generation.resolution_0,
                upsampling_steps=generation.upsampling_steps,
                padding=generation.padding,
                device=self._device,
                chunk=CPU_CHUNK if self._device == "cpu" else GPU_CHUNK,
            )
        if generation.simplify_nfaces is not None:
            with self._stages("simplify"):
                vertices, faces = simplify(vertices, faces, generation.simplify_nfaces)
        return vertices, faces

    @torch.inference_mode()
    def carry(self, mesh: tuple[Vertices, NDArray[np.integer]], codes: Codes) -> MeshSequence:
        """A mesh of t = 0 at evenly spaced times, which last one second."""
        vertices, faces = mesh
        times = np.linspace(0, 1, self.frames)
        start = torch.from_numpy(vertices.astype(np.float32)).to(self._device)[None]  # [1, V, 3]
        with self._stages("flow"):
            moved = self._net.transform_to_t(
                torch.from_numpy(times).to(self._device), start, codes.z_t, codes.c_t
            )
            paths = moved[0].cpu().numpy()  # [T, V, 3]
        return MeshSequence(
            paths.astype(np.float64),
            faces.astype(np.int32),
            times,
            correspondence_colors(vertices) if self._config.generation.mesh_color else None,
            timings=dict(self._stages.timings),
        )
