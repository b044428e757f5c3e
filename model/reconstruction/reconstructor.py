"""From a moving point cloud to an animated mesh.

    rec = Reconstructor.from_config("bodies")
    meshes = rec(frames)  # 17 arrays [N, 3], row j the same particle in each → MeshSequence

The mesh is extracted once, in the unit box of the first frame; its vertices then follow the flow.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from model.checkpoints import checkpoint_hash, find_checkpoint, load_checkpoint
from model.config.schema import Config, load_config
from model.devices import chunk_size, matmul_dtype
from model.errors import ConfigError, InputError
from model.flow.ode import advect
from model.flow.particles import InterpolatedParticles
from model.flow.solution import Solver
from model.flow.step_doubling import StepDoubling
from model.meshes.colors import correspondence_colors
from model.meshes.fit import fit
from model.meshes.sequence import FitReport, MeshSequence
from model.methods import build_model
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.normalization import UnitBox
from model.reconstruction.progress import IsCanceled, OnProgress, StageProgress
from model.reconstruction.quality import DEFAULT, QUALITIES, Quality
from model.reconstruction.surface import GridLevels, extract_surface
from model.reconstruction.times import check_times, frame_times, resample
from model.surface.simplification import simplify as simplify_mesh


class Reconstructor:
    """A model with its weights on a device; calls do not change it."""

    def __init__(
        self, config: Config, net: OccupancyFlow, checkpoint_sha256: str, device: str = "cpu"
    ) -> None:
        """Raises ConfigError if the model does not map point clouds to meshes, or for an absent device."""
        if (
            net.decoder is None
            or net.encoder is None
            or config.model.z_dim
            or config.data.input_type != "pcl_seq"
        ):
            raise ConfigError(
                f"{config.name} does not reconstruct point clouds; that takes data.input_type pcl_seq, "
                "an encoder, a decoder and model.z_dim 0"
            )
        try:
            self.net = net.to(device).eval().requires_grad_(False)
        except (RuntimeError, AssertionError) as error:  # torch: no such device
            raise ConfigError(f"device {device} cannot be used here: {str(error).splitlines()[0]}") from None
        self.config = config
        self.name = config.name
        self.device = device
        self.checkpoint_sha256 = checkpoint_sha256
        self.input_frames = config.data.length_sequence

    @classmethod
    def from_config(
        cls,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        overrides: dict[str, Any] | None = None,
    ) -> "Reconstructor":
        """Load a model by the name or path of its config. `checkpoint` replaces its `test.model_file`.

        Raises ConfigError or CheckpointError if either cannot be used.
        """
        if not isinstance(config, Config):
            config = load_config(config, overrides)
        elif overrides:
            raise ConfigError("overrides cannot be combined with a loaded config; pass them to load_config")
        net = build_model(config)
        if not isinstance(net, OccupancyFlow):
            raise ConfigError(
                f"{config.name} produces no animated meshes (method {config.method}); wanted method oflow"
            )
        file = Path(checkpoint) if checkpoint is not None else find_checkpoint(config)
        load_checkpoint(file, net)
        return cls(config, net, checkpoint_hash(file), device)

    def describe(self) -> dict[str, Any]:
        """Facts for a list of models, as JSON values."""
        generation = self.config.generation
        return {
            "name": self.name,
            "task": "pointcloud completion",
            "input": {"frames": self.input_frames, "corresponding": True},
            "checkpoint_sha256": self.checkpoint_sha256,
            "threshold": self.config.test.threshold,
            "resolution": generation.resolution_0 << generation.upsampling_steps,
            "parameters": sum(parameter.numel() for parameter in self.net.parameters()),
        }

    @torch.inference_mode()
    def __call__(
        self,
        points: Sequence[ArrayLike] | NDArray[Any],
        times: ArrayLike | None = None,
        corresponding: bool = True,
        *,
        frames: int | None = None,
        fps: float | None = None,
        resolution: int | None = None,
        threshold: float | None = None,
        simplify: int | None = None,
        color: Literal["none", "correspondence"] = "none",
        quality: str = DEFAULT,
        box: UnitBox | None = None,
        progress: OnProgress | None = None,
        is_canceled: IsCanceled | None = None,
    ) -> MeshSequence:
        """Reconstruct an animated mesh from `input_frames` point clouds [N, 3], at any position and scale.

        Args:
            points: T arrays [N, 3]; row j is the same particle in every frame.
            times: T increasing times in seconds; evenly spaced over one second by default.
            corresponding: whether rows correspond between frames; this model requires it.
            frames, fps: the number of output frames or their rate; by default the frames of the input.
            resolution: grid cells per side, rounded up to a grid that halves evenly; by default the config's.
            threshold: occupancy probability of the surface; by default the config's.
            simplify: target number of faces.
            quality: one of `QUALITIES`, a trade-off between accuracy and speed.
            box: unit box of the first frame, if it is known better than from these points.
            progress: called with the stage and the completed fraction of the whole.
            is_canceled: polled at every progress report; once it returns True, Canceled is raised.

        Returns a MeshSequence in the units of the caller. Raises InputError for unsupported input and
        EmptySurfaceError if there is no surface.
        """
        box, inputs = self._normalize(points, corresponding, box)  # [T, N, 3]
        times = check_times(times, len(inputs))  # [T]
        output_times = frame_times(times, frames, fps)  # [K]
        grid = None if resolution is None else GridLevels.from_resolution(resolution)
        target_faces = self.config.generation.simplify_nfaces if simplify is None else simplify
        if color not in ("none", "correspondence"):
            raise InputError(f"color is {color!r}; wanted none or correspondence")
        if quality not in QUALITIES:
            raise InputError(f"quality is {quality!r}; wanted {', '.join(QUALITIES)}")
        settings = QUALITIES[quality]
        reduced = matmul_dtype(self.device)
        flow_dtype = reduced if settings.flow_bfloat16 else torch.float32
        occupancy_dtype = reduced if settings.occupancy_bfloat16 else torch.float32
        stage = StageProgress(progress, is_canceled)

        with stage("encode"):
            uniform = torch.from_numpy(resample(inputs, times)).to(self.device)
            c_s, c_t = self.net.encode_inputs(uniform[None])  # [1, c_dim] each
        with stage("extract") as on_progress:
            vertices, faces = extract_surface(
                self.net.occupancy(None, c_s, occupancy_dtype),
                self.config,
                self.device,
                grid=grid,
                threshold=threshold,
                near=torch.from_numpy(inputs[0]) if settings.near_input else None,
                on_progress=on_progress,
            )  # [V, 3], [F, 3]
        if target_faces is not None:
            with stage("simplify"):
                vertices, faces = simplify_mesh(vertices, faces, target_faces)
        with stage("flow") as on_progress:
            requested = np.concatenate([output_times, times])  # [K + T]
            flow = advect(
                self.net.vector_field.precompute(None, c_t, flow_dtype),
                torch.from_numpy(vertices.astype(np.float32)).to(self.device),
                torch.from_numpy((requested - times[0]) / (times[-1] - times[0])),
                self._solver(settings),
                on_progress,
            )
            trajectories = flow.positions.cpu().numpy()  # [K + T, V, 3]
        with stage("fit") as on_progress:
            at_input = trajectories[len(output_times) :]  # [T, V, 3]
            report = _fit_report(inputs, at_input, faces, times, box.scale, on_progress)

        return MeshSequence(
            vertices=box.denormalize(trajectories[: len(output_times)]),
            faces=faces.astype(np.int32),
            times=output_times,
            colors=correspondence_colors(vertices) if color == "correspondence" else None,
            fit=report,
            timings=stage.timings,
        )

    def _normalize(
        self, points: Sequence[ArrayLike] | NDArray[Any], corresponding: bool, box: UnitBox | None
    ) -> tuple[UnitBox, NDArray[np.float32]]:
        """The unit box of the first frame, and all frames in its coordinates [T, N, 3]."""
        reads = (
            f"{self.name} reads {self.input_frames} frames of corresponding points (row j is one particle)"
        )
        if not corresponding:
            raise InputError(f"{reads}; found frames whose points do not correspond")
        if len(points) != self.input_frames:
            raise InputError(f"{reads}; found {len(points)} frames")
        clouds = [np.asarray(cloud, dtype=np.float64) for cloud in points]
        for index, cloud in enumerate(clouds):
            if cloud.shape != clouds[0].shape or cloud.ndim != 2 or cloud.shape[1] != 3 or not len(cloud):
                shapes = f"{list(clouds[0].shape)} in frame 0 and {list(cloud.shape)} in frame {index}"
                raise InputError(f"{reads}, each an array [N, 3]; found {shapes}")
            if not np.isfinite(cloud).all():
                raise InputError(f"frame {index} holds NaN or infinity; wanted finite coordinates")
        box = box or UnitBox.around(clouds[0])
        return box, np.stack([box.normalize(cloud) for cloud in clouds])

    def _solver(self, settings: Quality) -> Solver:
        solver = StepDoubling(settings.tolerance, chunk_size=chunk_size(self.device))
        if settings.spacing is None or self.device != "cpu":  # a GPU integrates all vertices as fast as a few
            return solver
        return InterpolatedParticles(solver, settings.spacing)


def _fit_report(
    inputs: NDArray[np.float32],
    vertices: NDArray[np.float32],
    faces: NDArray[np.int64],
    times: NDArray[np.float64],
    scale: float,
    on_progress: Callable[[float], None],
) -> FitReport:
    """Distance of the input points [T, N, 3] to the mesh [T, V, 3] at their times, multiplied by `scale`."""
    distances = []
    # scipy and numpy release the global interpreter lock for most of the work.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for distance in pool.map(lambda cloud, mesh: fit(cloud, mesh, faces), inputs, vertices):
            distances.append(distance)
            on_progress(len(distances) / len(inputs))
    mean, p95 = scale * np.array(distances).T
    return FitReport(times=times, mean=mean, p95=p95)
