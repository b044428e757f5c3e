"""`worker match`: one shape carried onto another, and which point of it each vertex goes to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from model.meshes.colors import correspondence_colors
from model.meshes.sequence import MeshSequence
from model.metrics import nearest
from model.reconstruction.normalization import UnitBox
from worker.tasks.animation_files import write_animation
from worker.tasks.given_meshes import EndsFlow
from worker.tasks.loaded import LoadedModel
from worker.tasks.shapes import Shape

FAR, RESIZED = 1.0, 2.0  # in sides of A's box: training knows motions about a body's own place and size


@dataclass(frozen=True, eq=False)
class Errors:
    """Mean distances from the true partners, in the units of the files."""

    carried: float
    matched: float  # of the points of B that were found
    unmoved: float  # of the points of B nearest to A as it is: what a match has to beat


@dataclass(frozen=True, eq=False)
class Match:
    """A on its way to B, and the point of B that lies nearest to each carried vertex."""

    path: NDArray[np.float64]  # [T, V, 3], the vertices of A from t = 0 to 1
    partner: NDArray[np.int64]  # [V], numbers of points of B
    distance: NDArray[np.float64]  # [V], from the carried vertex to it
    side: float  # longest side of B's box
    errors: Errors | None  # where the truth is known: both meshes have the same faces

    @property
    def carried(self) -> NDArray[np.float64]:
        """Where the vertices of A end [V, 3]."""
        last: NDArray[np.float64] = self.path[-1]
        return last


def match(model: LoadedModel, a: Shape, b: Shape) -> Match:
    """Carry A onto B. Nothing is asked of their points: neither order nor number has to agree."""
    data, generation = model.config.data, model.config.generation
    rng = np.random.default_rng(generation.rand_seed)
    box = UnitBox.around(a.points)
    clouds = np.stack([box.normalize(shape.draw(data.input_pointcloud_n, rng)) for shape in (a, b)])
    flow = EndsFlow(model, clouds)
    inside = flow.forward(box.normalize(a.points), np.linspace(0, 1, data.length_sequence))
    path = box.denormalize(inside)  # [T, V, 3]
    path[0] = a.points
    distance, partner = nearest(path[-1], b.points)
    side = UnitBox.around(b.points).scale
    return Match(path, partner, distance, side, _errors(path[-1], partner, a, b))


def doubt(a: Shape, b: Shape) -> str | None:
    """Why B may lie outside of what such a model has learned, if it does."""
    box, other = UnitBox.around(a.points), UnitBox.around(b.points)
    away = float(np.abs(other.center - box.center).max() / box.scale)
    larger = other.scale / box.scale
    if away <= FAR and 1 / RESIZED <= larger <= RESIZED:
        return None
    return (
        f"{b.file.name} lies {away:.1f} sides of {a.file.name}'s box away and is {larger:.2g} times as "
        "large; models know motions within about one side: bring both to one place and unit"
    )


def write_match(found: Match, a: Shape, b: Shape, folder: Path) -> None:
    """match.npz; a.glb and b.glb, matched places in the same colour; the way of A, if it is a mesh."""
    folder.mkdir(parents=True, exist_ok=True)
    colors = correspondence_colors(a.points)  # [V, 3]
    _, source = nearest(b.points, found.carried)  # of each point of B, a vertex of A
    (folder / "a.glb").write_bytes(_colored(a, colors))
    (folder / "b.glb").write_bytes(_colored(b, colors[source]))
    if a.faces is not None:
        times = np.linspace(0, 1, len(found.path))
        write_animation(MeshSequence(found.path, a.faces, times, colors), folder, "carried")
    arrays = {"carried": found.carried, "partner": found.partner, "distance": found.distance}
    if found.errors is not None:
        arrays["error"] = np.linalg.norm(found.carried - b.points, axis=-1)
    with (folder / "match.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _errors(carried: NDArray[np.float64], partner: NDArray[np.int64], a: Shape, b: Shape) -> Errors | None:
    if not a.corresponds_to(b):
        return None
    _, closest = nearest(a.points, b.points)
    ways = (carried, b.points[partner], b.points[closest])
    return Errors(*(float(np.linalg.norm(way - b.points, axis=-1).mean()) for way in ways))


def _colored(shape: Shape, colors: NDArray[np.uint8]) -> bytes:
    if shape.faces is not None:
        return MeshSequence(shape.points[None], shape.faces, np.zeros(1), colors).to_glb()
    cloud: Any = trimesh.PointCloud
    glb: bytes = cloud(shape.points, colors=colors).export(file_type="glb")
    return glb
