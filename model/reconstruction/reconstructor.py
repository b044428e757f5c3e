"""From a moving point cloud to an animated mesh.

    rec = Reconstructor.from_config("bodies")
    meshes = rec(clouds)  # arrays [N_t, 3] → MeshSequence

The surface of one frame follows the points through all frames, by registration. With `refine="off"` it
follows the velocity field of the network instead, as published.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from model.blas import one_blas_thread
from model.canceling import canceled_by
from model.checkpoints import checkpoint_hash, find_checkpoint, load_checkpoint
from model.config.schema import Config, load_config
from model.errors import ConfigError, InputError
from model.meshes.fit import fit
from model.meshes.playback import playback_times
from model.meshes.sequence import FitReport, MeshSequence
from model.methods import build_model
from model.networks.local_occupancy_flow import LocalOccupancyFlow
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.checks import MAX_FRAMES, MIN_FRAMES, check_clouds
from model.reconstruction.findings import find, require_useful
from model.reconstruction.finishing import Finish
from model.reconstruction.flow import Flow
from model.reconstruction.normalization import UnitBox
from model.reconstruction.preparation import MOST_POINTS, prepare
from model.reconstruction.progress import FLOWING, REGISTERED, IsCanceled, OnProgress, StageProgress
from model.reconstruction.quality import DEFAULT
from model.reconstruction.registered import particles, register
from model.reconstruction.settings import Settings
from model.reconstruction.shapes import FlowShapes, LocalShapes, Shapes
from model.reconstruction.takes import require_one_thing
from model.reconstruction.times import check_times, frame_times
from model.registration.backends import Name, make_backend
from model.registration.masks import LEAST_POINTS
from model.registration.parallel import side_by_side


class Reconstructor:
    """A model with its weights on a device; calls do not change it."""

    def __init__(
        self,
        config: Config,
        net: OccupancyFlow | LocalOccupancyFlow,
        checkpoint_sha256: str,
        device: str = "cpu",
        registration: Name = "auto",
    ) -> None:
        """`registration` is what computes its heavy loops: `auto` takes numba on the CPU, torch elsewhere.

        Raises ConfigError if the model does not map point clouds to meshes, or for an absent device.
        """
        if isinstance(net, OccupancyFlow) and (
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
        self.backend = make_backend(device, registration)
        self.checkpoint_sha256 = checkpoint_sha256
        self.shapes: Shapes
        self.flow: Flow | None = None  # only the published network has a motion without registration
        if isinstance(self.net, OccupancyFlow):
            self.shapes, self.flow = FlowShapes(self.net), Flow(self.net, config)
        else:
            self.shapes = LocalShapes(self.net)

    @classmethod
    def from_config(
        cls,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        overrides: dict[str, Any] | None = None,
        registration: Name = "auto",
    ) -> "Reconstructor":
        """Load a model by the name or path of its config. `checkpoint` replaces its `test.model_file`.

        Raises ConfigError or CheckpointError if either cannot be used.
        """
        if not isinstance(config, Config):
            config = load_config(config, overrides)
        elif overrides:
            raise ConfigError("overrides cannot be combined with a loaded config; pass them to load_config")
        net = build_model(config)
        if not isinstance(net, OccupancyFlow | LocalOccupancyFlow):
            raise ConfigError(
                f"{config.name} produces no animated meshes (method {config.method}); "
                "wanted method oflow or local_oflow"
            )
        file = Path(checkpoint) if checkpoint is not None else find_checkpoint(config)
        load_checkpoint(file, net)
        return cls(config, net, checkpoint_hash(file), device, registration)

    @property
    def occupancy_flow(self) -> OccupancyFlow:
        """The published network. Raises ConfigError if this model has another one."""
        if not isinstance(self.net, OccupancyFlow):
            raise ConfigError(f"{self.name} is a model of method {self.config.method}; wanted oflow")
        return self.net

    def describe(self) -> dict[str, Any]:
        """Facts for a list of models, as JSON values."""
        generation = self.config.generation
        return {
            "name": self.name,
            "task": "pointcloud completion",
            "input": {
                "min_frames": MIN_FRAMES,
                "max_frames": MAX_FRAMES,
                "min_points": LEAST_POINTS,
                "max_points": MOST_POINTS,
                "upright": self.shapes.upright,
            },
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
        corresponding: bool | None = None,
        *,
        frames: int | None = None,
        fps: float | None = None,
        duration: float | None = None,
        playback_fps: float | None = None,
        resolution: int | None = None,
        threshold: float | None = None,
        simplify: int | None = None,
        smooth: int = 0,
        fill_holes: bool = False,
        color: Literal["none", "input", "correspondence"] = "none",
        texture: int | None = None,
        colors: Sequence[NDArray[np.uint8]] | None = None,
        quality: str = DEFAULT,
        up: str = "auto",
        cleanup: str = "auto",
        refine: str = "auto",
        box: UnitBox | None = None,
        progress: OnProgress | None = None,
        is_canceled: IsCanceled | None = None,
    ) -> MeshSequence:
        """Reconstruct an animated mesh from point clouds [N_t, 3], at any position and scale.

        Args:
            points: T arrays [N_t, 3]: 2 to 1,000 frames, at least 2 of them of 32 points or more. The motion
                is interpolated across frames that do not show the object.
            times: T increasing times in seconds; evenly spaced over one second by default.
            corresponding: whether row j is the same particle in every frame; None detects it.
            frames, fps: the number of output frames or their rate; by default the frames of the input.
            duration, playback_fps: how long a file of the result plays, in seconds, or the rate at which it
                plays input frames; by default in real time, or at `UNTIMED_FPS` without `times`.
            resolution: grid cells per side, rounded up to a grid that halves evenly; by default the config's.
            threshold: occupancy probability of the surface; by default the config's.
            simplify: target number of faces.
            smooth: passes of smoothing (`model.meshes.smoothing`).
            fill_holes: close open boundaries of the surface.
            color: of vertices: `input` takes the colors of the points, `correspondence` gives each place of
                the surface a color of its own.
            texture: texels along the side of a texture with the colors of the points.
            colors: T arrays [N_t, 3] of sRGB bytes, of the points.
            quality: one of `QUALITIES`, a trade-off between accuracy and speed.
            up: the axis of the input that points up. `auto` detects it for models of upright things, and
                guesses it for others, which do not need it.
            cleanup: `auto` removes stray points and a clear floor, `off` does not. Points with NaN or
                infinity are left out either way; `drop_invalid` is `auto` where callers have to ask for that.
            refine: `auto` puts the surface on the points of all frames. `off` leaves shape and motion to the
                network, which gets input that it can read as it is: not cleaned, not turned.
            box: unit box of the first frame, if it is known better than from these points; with `refine` off.
            progress: called with the stage and the completed fraction of the whole.
            is_canceled: polled several times a second; once it returns True, Canceled is raised.

        Returns a MeshSequence in the units of the caller, with findings. Raises InputError for unsupported
        input, EmptySurfaceError if there is no surface, PoorFitError if it has nothing to do with the points.
        """
        clouds = check_clouds(points)
        timed = times is not None
        times = check_times(times, len(clouds))  # [T]
        output_times = frame_times(times, frames, fps)  # [K]
        playback = playback_times(
            output_times, times, timed=timed, duration=duration, playback_fps=playback_fps
        )  # [K]
        settings = Settings.of(self.config, self.device, quality, resolution, threshold, simplify)
        finish = Finish(smooth, fill_holes, color, texture, colors)
        finish.check(clouds)
        self._check_choices(cleanup, refine)
        wanted = np.concatenate([output_times, times])  # [K + T]
        flow = self.flow if refine == "off" else None
        stage = StageProgress(progress, is_canceled, FLOWING if flow else REGISTERED)

        with one_blas_thread(), canceled_by(stage.ask):
            with stage("prepare"):
                prepared = prepare(clouds, corresponding, cleanup != "off")
            registered = None
            shown = prepared.shown  # [U]
            whole = prepared.corresponding and not prepared.removed.not_finite.any()
            if flow and whole and len(shown) == len(times) and flow.reads(clouds) and up in ("auto", "y"):
                moved, faces = flow(clouds, times, wanted, settings, stage, box)
            else:
                with stage("register") as on_progress:
                    registered = register(
                        prepared, times[shown], self.shapes, settings, up, on_progress, self.backend
                    )
                moved, faces = registered.tracking.at(wanted), registered.tracking.faces
                if flow:
                    even = np.linspace(times[0], times[-1], flow.frames)
                    moved, faces = flow(particles(registered, even), even, wanted, settings, stage)
                    moved = moved @ registered.orientation.rotation
            effects: dict[str, Any] = {}
            moved = finish.smoothed(moved, faces, effects)
            measured = clouds if registered is None else prepared.believed
            with stage("fit") as on_progress:
                at_input = moved[len(output_times) :][shown]  # [U, V, 3]
                fit_report = _fit_report(measured, at_input, faces, times, shown, on_progress)
                findings = find(measured, at_input, faces, times, prepared, registered, settings.faces)
            if refine == "auto":
                require_useful(findings, self.name)
                if registered is not None and not registered.one_sided:  # else lengths are guesses
                    require_one_thing(at_input, faces, registered.tracking.jumps, shown)
            moved, faces = finish.closed(moved, faces, effects)
            at_input = moved[len(output_times) :]  # [T, V, 3]
            return MeshSequence(
                vertices=moved[: len(output_times)],
                faces=faces.astype(np.int32),
                times=output_times,
                colors=finish.vertex_colors(moved[0], at_input, clouds, shown),
                texture=finish.baked(moved[0], at_input, faces, clouds, shown),
                fit=fit_report,
                timings=stage.timings,
                findings=findings.after(effects, moved.shape[1]),
                playback=playback,
                up="y" if registered is None or registered.orientation.guessed else registered.orientation.up,
            )

    def _check_choices(self, cleanup: str, refine: str) -> None:
        for name, value, known in (
            ("cleanup", cleanup, ("auto", "drop_invalid", "off")),
            ("refine", refine, ("auto", "off")),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}; wanted {', '.join(known[:-1])} or {known[-1]}")
        if refine == "off" and self.flow is None:
            raise InputError(f"refine is off, but {self.name} has no motion of its own; wanted auto")


def _fit_report(
    clouds: Sequence[NDArray[np.float64]],
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    times: NDArray[np.float64],
    shown: NDArray[np.int64],
    on_progress: Callable[[float], None],
) -> FitReport:
    """Distance of the points [N_t, 3] of frames `shown` [U] to the mesh [U, V, 3]; NaN in other frames."""
    done: list[int] = []  # threads may share it

    def distance(frame: int) -> tuple[float, float]:
        result = fit(clouds[frame], vertices[frame], faces)
        done.append(frame)
        on_progress(len(done) / len(clouds))
        return result

    distances = side_by_side(distance, range(len(clouds)), torch.get_num_threads())
    every = np.full((2, len(times)), np.nan)
    every[:, shown] = np.array(distances).T
    return FitReport(times, *every)
