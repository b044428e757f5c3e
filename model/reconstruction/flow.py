"""The published way: the surface of the first frame, carried by the velocity field of the network."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.config.schema import Config
from model.devices import chunk_size
from model.flow.ode import advect
from model.flow.particles import InterpolatedParticles
from model.flow.solution import Solver
from model.flow.step_doubling import StepDoubling
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.normalization import UnitBox
from model.reconstruction.progress import StageProgress
from model.reconstruction.settings import Settings
from model.reconstruction.surface import extract_surface
from model.reconstruction.times import resample
from model.surface.simplification import simplify
from model.surface.vertex_refinement import refine_vertices

Moved = tuple[NDArray[np.float64], NDArray[np.int64]]  # vertices [W, V, 3], faces [F, 3]


class Flow:
    """Occupancy Flow on the input that it was trained for: `frames` clouds of corresponding points."""

    def __init__(self, net: OccupancyFlow, config: Config) -> None:
        self.net = net
        self.frames = config.data.length_sequence

    def reads(self, clouds: Sequence[NDArray[np.float64]]) -> bool:
        """Whether clouds [N_t, 3] have the form of its input, if their rows correspond."""
        return len(clouds) == self.frames and len({len(cloud) for cloud in clouds}) == 1

    def __call__(
        self,
        clouds: Sequence[NDArray[np.float64]],
        times: NDArray[np.float64],
        wanted: NDArray[np.float64],
        settings: Settings,
        stage: StageProgress,
        box: UnitBox | None = None,
    ) -> Moved:
        """The surface at times `wanted` [W], from corresponding clouds [N, 3] at `times` [T]; in their units.

        `box` is the unit box of the first frame, if it is known better than from these points.
        """
        box = box or UnitBox.around(clouds[0])
        inputs = np.stack([box.normalize(cloud) for cloud in clouds])  # [T, N, 3]
        with stage("encode"):
            uniform = torch.from_numpy(resample(inputs, times)).to(settings.device)
            c_s, c_t = self.net.encode_inputs(uniform[None])  # [1, c_dim] each
        with stage("extract") as on_progress:
            vertices, faces = extract_surface(
                self.net.occupancy(None, c_s, settings.occupancy_dtype),
                settings.config,
                settings.device,
                grid=settings.grid,
                threshold=settings.threshold,
                near=torch.from_numpy(inputs[0]) if settings.quality.near_input else None,
                on_progress=on_progress,
            )  # [V, 3], [F, 3]
        if settings.faces is not None:
            with stage("simplify"):
                vertices, faces = simplify(vertices, faces, settings.faces)
        if steps := settings.config.generation.refinement_step:
            with stage("refine"):
                vertices = refine_vertices(
                    self.net.differentiable_occupancy(None, c_s),
                    *(vertices, faces, settings.level, steps, settings.device),
                )
        with stage("flow") as on_progress:
            solution = advect(
                self.net.vector_field.precompute(None, c_t, settings.flow_dtype),
                torch.from_numpy(vertices.astype(np.float32)).to(settings.device),
                torch.from_numpy((wanted - times[0]) / (times[-1] - times[0])),
                _solver(settings),
                on_progress,
            )
            trajectories = solution.positions.cpu().numpy()  # [W, V, 3]
        return box.denormalize(trajectories), faces


def _solver(settings: Settings) -> Solver:
    solver = StepDoubling(settings.quality.tolerance, chunk_size=chunk_size(settings.device))
    if settings.quality.spacing is None or settings.device != "cpu":  # a GPU integrates all as fast as a few
        return solver
    return InterpolatedParticles(solver, settings.quality.spacing)
