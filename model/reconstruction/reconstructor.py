"""From a moving point cloud to an animated mesh.

    rec = Reconstructor.from_config("bodies")
    meshes = rec(frames)  # 17 arrays [N, 3], row j the same particle in each → MeshSequence

The mesh is extracted once, at the first frame, in that frame's unit box; then its vertices are carried along.
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
from model.devices import product_type, rows_together
from model.errors import ConfigError, InputError
from model.flow.fields import RowField
from model.flow.particles import integrate_particles
from model.flow.step_doubling import integrate
from model.meshes.colors import correspondence_colors
from model.meshes.fit import fit
from model.meshes.sequence import FitReport, MeshSequence
from model.networks.build import build_model
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.normalization import UnitBox
from model.reconstruction.progress import IsCanceled, Progress, StageProgress
from model.reconstruction.quality import DEFAULT, QUALITIES, Quality
from model.reconstruction.times import check_times, frame_times, resample
from model.surface.extraction import extract_isosurface
from model.surface.simplification import simplify as simplify_mesh

RESOLUTIONS = (32, 512)  # cells per side, least and most


class Reconstructor:
    """A loaded model on a device; calls leave it as it is."""

    def __init__(
        self, config: Config, net: OccupancyFlow, checkpoint_sha256: str, device: str = "cpu"
    ) -> None:
        """Raises ConfigError for a model that does not turn clouds into meshes, and for an absent device."""
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
        except (RuntimeError, AssertionError) as error:  # torch's words for a device it cannot use
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
        """Load a model by its config's name or path; `checkpoint` stands in for its `test.model_file`."""
        if not isinstance(config, Config):
            config = load_config(config, overrides)
        elif overrides:
            raise ConfigError("overrides were given beside a loaded config; give them to load_config")
        net = build_model(config)
        if not isinstance(net, OccupancyFlow):
            raise ConfigError(
                f"{config.name} gives no mesh that moves (method {config.method}); wanted method oflow"
            )
        file = Path(checkpoint) if checkpoint is not None else find_checkpoint(config)
        load_checkpoint(file, net)
        return cls(config, net, checkpoint_hash(file), device)

    def describe(self) -> dict[str, Any]:
        """What a list of models says about this one."""
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
        points: Sequence[ArrayLike],
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
        progress: Progress | None = None,
        is_canceled: IsCanceled | None = None,
    ) -> MeshSequence:
        """Reconstruct `input_frames` clouds of corresponding points [N, 3], in any place and unit.

        `times` increase; left out, they are spread over one second. The mesh comes at these times, or at
        `frames` even ones, or at `fps` a second. `resolution` is cells per side, `simplify` a number of
        faces, `quality` one of `QUALITIES`. `box` is the first frame's, where more of it is known than of
        these points. `progress` gets the stage and the fraction of the whole; Canceled is raised once
        `is_canceled` says so.

        Raises InputError for what this model does not read, EmptySurfaceError where no surface is found.
        """
        config = self.config
        box, inputs = self._normalize(points, corresponding, box)  # [T, N, 3]
        times = check_times(times, len(inputs))  # [T]
        output_times = frame_times(times, frames, fps)  # [K]
        resolution_0, steps = self._levels(resolution)
        threshold = config.test.threshold if threshold is None else threshold
        target_faces = config.generation.simplify_nfaces if simplify is None else simplify
        if color not in ("none", "correspondence"):
            raise InputError(f"color is {color!r}; wanted none or correspondence")
        if quality not in QUALITIES:
            raise InputError(f"quality is {quality!r}; wanted {', '.join(QUALITIES)}")
        spared = QUALITIES[quality]
        low = product_type(self.device)
        stages = StageProgress(progress, is_canceled)

        with stages("encode"):
            evenly = torch.from_numpy(resample(inputs, times)).to(self.device)
            c_s, c_t = self.net.encode_inputs(evenly[None])  # [1, c_dim] each
        with stages("extract") as advance:
            vertices, faces = extract_isosurface(
                self.net.occupancy(None, c_s, low if spared.occupancy_bfloat16 else torch.float32),
                threshold,
                resolution_0=resolution_0,
                upsampling_steps=steps,
                padding=config.generation.padding,
                device=self.device,
                chunk=rows_together(self.device),
                near=torch.from_numpy(inputs[0]) if spared.near_input else None,
                on_chunk=advance,
            )  # [V, 3], [F, 3]
        if target_faces is not None:
            with stages("simplify"):
                vertices, faces = simplify_mesh(vertices, faces, target_faces)
        with stages("flow") as advance:
            asked = (np.concatenate([output_times, times]) - times[0]) / (times[-1] - times[0])  # [K + T]
            field = self.net.vector_field.precompute(
                None, c_t, low if spared.flow_bfloat16 else torch.float32
            )
            paths = self._integrate(field, vertices, asked, spared, advance)  # [K + T, V, 3]
        with stages("fit") as advance:
            report = _fit_report(inputs, paths[len(output_times) :], faces, times, box.scale, advance)

        return MeshSequence(
            vertices=box.denormalize(paths[: len(output_times)]),
            faces=faces.astype(np.int32),
            times=output_times,
            colors=correspondence_colors(vertices) if color == "correspondence" else None,
            fit=report,
            timings=stages.timings,
        )

    def _normalize(
        self, points: Sequence[ArrayLike], corresponding: bool, box: UnitBox | None
    ) -> tuple[UnitBox, NDArray[np.float32]]:
        """The box of the first frame, and all frames in it, [T, N, 3]."""
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

    def _levels(self, resolution: int | None) -> tuple[int, int]:
        """`resolution_0` and `upsampling_steps` of a number of cells per side."""
        generation = self.config.generation
        if resolution is None:
            return generation.resolution_0, generation.upsampling_steps
        coarse, steps = resolution, 0
        while coarse >= 64 and coarse % 2 == 0:  # a first grid of 32 to 63 cells finds thin parts
            coarse, steps = coarse // 2, steps + 1
        least, most = RESOLUTIONS
        if not least <= resolution <= most or coarse >= 64:
            raise InputError(
                f"resolution is {resolution}; wanted {least} to {most} cells per side: any number below 64, "
                "then even ones, from 128 multiples of 4, from 256 of 8, and 512"
            )
        return coarse, steps

    def _integrate(
        self,
        field: RowField,
        vertices: NDArray[np.float64],
        times: NDArray[np.float64],
        spared: Quality,
        advance: Callable[[float], None],
    ) -> NDArray[np.float32]:
        """Vertices [V, 3] of the box at times [K] of 0 to 1: [K, V, 3]."""
        start = torch.from_numpy(vertices.astype(np.float32)).to(self.device)
        once, back = np.unique(times, return_inverse=True)
        asked = torch.from_numpy(once)
        if (
            spared.spacing is None or self.device != "cpu"
        ):  # a GPU carries all vertices while few would leave it idle
            rows = rows_together(self.device)
            paths = integrate(field, start, asked, spared.tolerance, rows=rows, watch=advance).positions
        else:
            paths = integrate_particles(field, start, asked, spared.tolerance, spared.spacing, watch=advance)
        return np.asarray(paths.cpu().numpy()[back])


def _fit_report(
    inputs: NDArray[np.float32],
    vertices: NDArray[np.float32],
    faces: NDArray[np.int64],
    times: NDArray[np.float64],
    scale: float,
    advance: Callable[[float], None],
) -> FitReport:
    """Distance of the input points [T, N, 3] to the mesh at their times, [T, V, 3], times `scale`."""
    distances = []
    # The trees and most of the arithmetic run without Python's lock.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for measured in pool.map(lambda cloud, moved: fit(cloud, moved, faces), inputs, vertices):
            distances.append(measured)
            advance(len(distances) / len(inputs))
    mean, p95 = scale * np.array(distances).T
    return FitReport(times=times, mean=mean, p95=p95)
