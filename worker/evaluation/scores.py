"""The scores of one window: a row with every metric of every frame, under the published column names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config.sections import TestConfig
from model.metrics import WORST_NORMALS, WORST_SURFACE, correspondence_l2, iou, surface_scores
from worker.bodies import draw_surface_points
from worker.data.dataset import HumansDataset
from worker.data.errors import DataError
from worker.data.inside import winding_numbers
from worker.data.windows import WindowFrames, Windows
from worker.evaluation.mesh_files import Mesh

SURFACE_SAMPLES = 100_000  # of the mesh and, where there are as many, of the truth
WORST_DISTANCE = 3**0.5  # the diagonal of the unit box

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a window, in the unit box of its first frame."""

    particles: NDArray[np.float32]  # [T, M, 3] on the surface, row j the same particle in every frame
    points: NDArray[np.float32] | None = None  # [T, P, 3] anywhere in the box
    occupancies: NDArray[np.bool_] | None = None  # [T, P]

    def ends(self) -> "Truth":
        """Of the first and the last frame alone."""
        points, occupancies = self.points, self.occupancies
        if points is None or occupancies is None:
            return Truth(self.particles[[0, -1]])
        return Truth(self.particles[[0, -1]], points[[0, -1]], occupancies[[0, -1]])


def read_window(dataset: Windows, index: int, with_occupancy: bool) -> tuple[dict[str, Any], Truth]:
    """The item of a window, and all that its data set knows of it.

    Without `with_occupancy` the data set need not have any.
    """
    item = dataset[index]
    if not isinstance(dataset, HumansDataset):  # drawn bodies: an item holds everything
        known = item | {"pointcloud": item["points_mesh"]}
    elif with_occupancy:
        known = dataset.truth(index)
    else:
        frames, rng = WindowFrames(dataset.windows[index]), np.random.default_rng(index)
        known = {"pointcloud": dataset.truth_fields["pointcloud"].read(frames, rng)[""]}
    occupancy = (known["points"], known["points.occ"] >= 0.5) if with_occupancy else ()
    return item, Truth(known["pointcloud"], *occupancy)


def score_results(
    meshes: Sequence[Mesh], truth: Truth, test: TestConfig, index: int, samples: int = SURFACE_SAMPLES
) -> Row:
    """Scores of one mesh a frame as the section `test` of a config asks for, of the window `index`."""
    if test.eval_only_end_time_steps:
        meshes, truth = [meshes[0], meshes[-1]], truth.ends()
    return score_meshes(
        meshes,
        truth,
        seed=[index],
        with_correspondence=test.eval_mesh_correspondences,
        project_last=test.project_to_final_mesh,
        samples=samples,
    )


def score_meshes(
    meshes: Sequence[Mesh],
    truth: Truth,
    seed: Sequence[int],
    *,
    with_correspondence: bool = True,
    project_last: bool = False,
    samples: int = SURFACE_SAMPLES,
) -> Row:
    """Scores of one mesh a frame, IoU where the truth has occupancies; `seed` draws the samples of surfaces.

    Raises DataError where the frames are not those of the truth.
    """
    if len(meshes) != len(truth.particles):
        raise DataError(
            f"found {len(meshes)} meshes and {len(truth.particles)} true frames; wanted as many: "
            "generation.n_time_steps must be data.length_sequence, and generation.only_end_time_points "
            "go with test.eval_only_end_time_steps"
        )
    row: Row = {}
    if with_correspondence:
        vertices = [vertices for vertices, _ in meshes]
        if len({len(frame) for frame in vertices}) > 1:
            raise DataError(
                "the meshes of a sequence have different numbers of vertices, so they do not correspond; "
                "set test.eval_mesh_correspondences: false"
            )
        row |= _columns("l2", correspondence_l2(np.stack(vertices), truth.particles, project_last), "mesh")
    frames = [_score_mesh(mesh, truth, frame, [*seed, frame], samples) for frame, mesh in enumerate(meshes)]
    for key in frames[0]:
        row |= _columns(key, [scores[key] for scores in frames], "mesh")
    return row


def _score_mesh(mesh: Mesh, truth: Truth, frame: int, seed: Sequence[int], samples: int) -> dict[str, float]:
    vertices, faces = mesh
    if not len(faces):
        unknown = dict.fromkeys(WORST_NORMALS, float("nan"))
        return WORST_SURFACE | unknown | ({"iou": 0.0} if truth.points is not None else {})
    rng = np.random.default_rng(seed)
    corners = vertices.astype(np.float64)  # [V, 3]
    surface = draw_surface_points(corners, faces, samples, rng).on(corners)  # [S, 3]
    scores = surface_scores(surface.astype(np.float32), truth.particles[frame])
    if truth.points is not None and truth.occupancies is not None:
        # Any turn of the surface counts as inside, so that it does not matter which way its faces run.
        inside = winding_numbers(vertices, faces, truth.points[frame]) != 0
        scores["iou"] = float(iou(inside, truth.occupancies[frame]))
    return scores


def score_points(
    clouds: Sequence[NDArray[np.float32]], truth: Truth, with_correspondence: bool = True
) -> Row:
    """Scores of points, T arrays [N, 3], taken as samples of the surface, row j the same particle in each."""
    if len(clouds) != len(truth.particles):
        raise DataError(f"found {len(clouds)} clouds and {len(truth.particles)} true frames; wanted as many")
    row: Row = {}
    if with_correspondence:
        row |= _columns("l2", correspondence_l2(clouds, truth.particles), "pcl")
    frames = [surface_scores(cloud, true) for cloud, true in zip(clouds, truth.particles, strict=True)]
    for key in frames[0]:
        row |= _columns(key, [scores[key] for scores in frames], "pcl")
    return row


def worst_scores(
    frames: int, with_iou: bool = True, with_correspondence: bool = True, kind: str = "mesh"
) -> Row:
    """The row of a window that gave nothing: the worst that the unit box allows."""
    scores = ({"l2": WORST_DISTANCE} if with_correspondence else {}) | WORST_SURFACE
    scores |= {"iou": 0.0} if with_iou else {}
    row: Row = {}
    for key, value in scores.items():
        row |= _columns(key, [value] * frames, kind)
    return row


def _columns(key: str, values: Sequence[float] | NDArray[np.float64], kind: str) -> Row:
    """`iou 0 (mesh)`, `iou 1 (mesh)`, … and, over all frames, `iou (mesh)`."""
    columns = {f"{key} {frame} ({kind})": float(value) for frame, value in enumerate(values)}
    return columns | {f"{key} ({kind})": float(np.mean(values))}
