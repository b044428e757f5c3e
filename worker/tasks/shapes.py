"""A single shape in a file: a mesh, or points alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from model.meshes.sampling import draw_surface_points
from worker.data.errors import DataError
from worker.data.frames import read_arrays
from worker.data.mesh_sequences import EXTENSIONS


@dataclass(frozen=True, eq=False)
class Shape:
    """Vertices of a mesh, or points of a cloud, in the units of the file."""

    file: Path
    points: NDArray[np.float64]  # [V, 3]
    faces: NDArray[np.int32] | None  # [F, 3]; None for a cloud

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Points [count, 3]: on the surface, or drawn with replacement from the cloud."""
        if self.faces is None:
            return self.points[rng.integers(len(self.points), size=count)]
        return draw_surface_points(self.points, self.faces, count, rng).on(self.points)

    def corresponds_to(self, other: "Shape") -> bool:
        """Whether both are meshes with the same faces, so that vertex i is the same particle in both."""
        if self.faces is None or other.faces is None or len(self.points) != len(other.points):
            return False
        return np.array_equal(np.sort(self.faces, axis=1), np.sort(other.faces, axis=1))


def read_shape(file: Path) -> Shape:
    """Read an OBJ, PLY or OFF file, or `points` [N, 3] of an .npz; a data set's frames as well."""
    ending = file.suffix.lower()
    if ending == ".npz":
        points, faces = _read_npz(file), None
    elif ending in EXTENSIONS:
        points, faces = _read_mesh_or_cloud(file)
    else:
        raise DataError(f"{file} ends in {ending!r}; wanted {', '.join(EXTENSIONS)} or .npz")
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3 or not np.isfinite(points).all():
        raise DataError(f"{file} holds points {list(points.shape)}; wanted finite ones [N, 3], 3 at least")
    return Shape(file, points, faces)


def _read_npz(file: Path) -> NDArray[np.float64]:
    arrays = read_arrays(file)
    if "points" not in arrays or arrays["points"].dtype.kind not in "fiu":
        raise DataError(f"{file} holds {', '.join(arrays) or 'nothing'}; wanted numbers `points` [N, 3]")
    points = arrays["points"].astype(np.float64)
    if "loc" in arrays and "scale" in arrays:  # a frame of a data set, in the box of its own
        points = arrays["loc"].astype(np.float64) + float(arrays["scale"]) * points
    return points


def _read_mesh_or_cloud(file: Path) -> tuple[NDArray[np.float64], NDArray[np.int32] | None]:
    try:
        read: Any = trimesh.load(file, process=False, maintain_order=True, skip_materials=True)
        if isinstance(read, trimesh.Scene):
            read = read.to_geometry()
        faces = np.asarray(getattr(read, "faces", np.empty((0, 3))), np.int32)
        return np.asarray(read.vertices, np.float64), faces if len(faces) else None
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise DataError(f"{file} cannot be read as a mesh or a point cloud: {error}") from None
