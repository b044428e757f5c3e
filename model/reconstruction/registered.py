"""Any moving point cloud: the surface of one frame, carried through all of them by registration."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.canceling import cancellation_point
from model.compiled import Floats, Ints
from model.devices import single_threaded
from model.errors import EmptySurfaceError
from model.meshes.sampling import draw_surface_points
from model.reconstruction.normalization import UnitBox
from model.reconstruction.preparation import Prepared
from model.reconstruction.settings import Settings
from model.reconstruction.shapes import Shapes, misfit
from model.reconstruction.surface import extract_surface
from model.registration import Tracking, track
from model.registration.backends import NUMBA, Backend
from model.registration.clouds import nearest
from model.registration.corresponding import track_corresponding
from model.registration.coverage import is_one_sided
from model.registration.orientation import Orientation, as_given, orient
from model.surface.simplification import simplify

FEW = 256  # points that tell which way is up
PARTICLES = 300  # as many as the published networks were trained on
MISSED = 0.6  # of their spacing: a surface that lies further from points does not pass through them


@dataclass(frozen=True)
class Registered:
    tracking: Tracking
    orientation: Orientation
    one_sided: bool


@single_threaded()  # of its own threads each uses one
def register(
    prepared: Prepared,
    times: NDArray[np.float64],
    shapes: Shapes,
    settings: Settings,
    up: str,
    on_progress: Callable[[float], None],
    backend: Backend = NUMBA,
) -> Registered:
    """Track a surface of `shapes` through prepared clouds at times [T]; `on_progress` may raise Canceled."""
    orientation = _orientation(prepared, shapes, settings, up)

    def ask(_: float) -> None:
        cancellation_point()

    def extract(points: Floats, noise: float | None = None) -> tuple[Floats, Ints]:
        turned = points @ orientation.rotation.T
        vertices, faces = surface_of(turned, shapes, settings, ask, noise)
        return vertices @ orientation.rotation, faces

    if prepared.corresponding:
        points = np.stack(prepared.clouds)  # [T, N, 3]
        tracking = track_corresponding(points, times, extract, prepared.valid)
        return Registered(tracking, orientation, False)
    one_sided, effort = is_one_sided(prepared.clouds), settings.quality.effort
    tracking = track(
        prepared.clouds,
        times,
        extract,
        match=shapes.matching(prepared.clouds) if effort.matches else None,
        complete=not one_sided,
        progress=on_progress,
        options=effort,
        backend=backend,
    )
    return Registered(tracking, orientation, one_sided)


def particles(registered: Registered, times: NDArray[np.float64]) -> list[Floats]:
    """The same particles of the tracked surface at times [W], in the frame of the model: W arrays [N, 3]."""
    tracking = registered.tracking
    rest = tracking.vertices[tracking.keyframe]
    drawn = draw_surface_points(rest, tracking.faces, PARTICLES, np.random.default_rng(0))
    return list(drawn.on(tracking.at(times)) @ registered.orientation.rotation.T)


def surface_of(
    points: Floats,
    shapes: Shapes,
    settings: Settings,
    on_progress: Callable[[float], None],
    noise: float | None = None,
) -> tuple[Floats, Ints]:
    """The surface around points [N, 3], in their units: vertices [V, 3], faces [F, 3].

    `noise` is the standard deviation of the points' coordinates, where it is known.
    """
    box = UnitBox.around(points)
    inside = torch.from_numpy(box.normalize(points)).to(settings.device)
    # A model of one kind of thing knows how thick it is, and a given threshold is one of the network alone.
    thin = None if shapes.upright or settings.threshold is not None else inside

    def extract(noise: float | None) -> tuple[Floats, Ints]:
        return extract_surface(
            shapes.occupancy(inside, settings.occupancy_dtype, settings.quality.turns, noise),
            settings.config,
            settings.device,
            grid=settings.template_grid(shapes.cells(len(points))),
            threshold=settings.threshold,
            near=inside.cpu() if settings.quality.near_input else None,
            bounded=settings.quality.bounded,
            thin=thin,
            on_progress=on_progress,
        )

    if noise is not None and settings.quality.through_points:
        vertices, faces = through_points(inside.double().cpu().numpy(), extract, noise / box.scale)
    else:
        vertices, faces = extract(None)
    if settings.faces is not None:
        vertices, faces = simplify(vertices, faces, settings.faces)
    return box.denormalize(vertices), faces


def through_points(
    points: Floats, extract: Callable[[float | None], tuple[Floats, Ints]], noise: float
) -> tuple[Floats, Ints]:
    """The surface that is put on points [N, 3], unless that has taken it away from them.

    Where the network is unsure of the inside, what is corrected at the points may empty it. Then the surface
    is the network's own, if that is nearer.
    """
    try:
        corrected = extract(noise)
    except EmptySurfaceError:
        return extract(None)
    tree = cKDTree(points)
    missed = _distance(points, corrected)
    if missed < MISSED * nearest(tree, points, 2)[0][:, 1].mean():
        return corrected
    plain = extract(None)
    return corrected if missed < _distance(points, plain) else plain


def _distance(points: Floats, surface: tuple[Floats, Ints]) -> float:
    return float(nearest(cKDTree(surface[0]), points)[0].mean())


def _orientation(prepared: Prepared, shapes: Shapes, settings: Settings, up: str) -> Orientation:
    if not shapes.upright:
        return as_given(up, prepared.believed)
    rng = np.random.default_rng(0)
    cloud = prepared.believed[0]
    few = cloud[rng.permutation(len(cloud))[:FEW]]

    def unlike(points: Floats) -> float:
        inside = UnitBox.around(points).normalize(points)
        return misfit(shapes, torch.from_numpy(inside).to(settings.device))

    return orient(few, up, unlike)
