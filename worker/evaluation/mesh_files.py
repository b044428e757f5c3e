"""Meshes as OFF and point clouds as PLY, byte for byte as the published code writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from worker.data.errors import DataError

Mesh = tuple[NDArray[np.float32], NDArray[np.int32]]  # vertices [V, 3] and faces [F, 3]


def write_off(path: Path, vertices: ArrayLike, faces: ArrayLike, colored: bool = False) -> None:
    """Write vertices [V, 3] and faces [F, 3]; `colored` runs red to blue over the faces, so that a part of
    the body can be followed by its colour from frame to frame.
    """
    vertices, faces = np.asarray(vertices), np.asarray(faces)
    columns = np.concatenate([np.full((len(faces), 1), 3), faces], axis=1)
    if colored:
        along = np.arange(len(faces)) * (255.0 / max(len(faces), 1))
        colors = np.stack([255 - along, np.full(len(faces), 25), along], axis=1)
        columns = np.concatenate([columns, colors.astype(np.int64)], axis=1)
    positions = "%.10f %.10f %.10f\n" * len(vertices) % tuple(vertices.ravel().tolist())
    line = " ".join(["%d"] * columns.shape[1]) + "\n"
    indices = line * len(columns) % tuple(columns.ravel().tolist())
    path.write_text(
        f"OFF\n{len(vertices)} {len(faces)} 0\n{positions}{indices}".rstrip("\n"), encoding="ascii"
    )


def read_off(path: Path) -> Mesh:
    """Read a triangle mesh, with or without colours; an empty one has neither vertices nor faces.

    Raises DataError naming the file.
    """
    if path.stat().st_size < 16 and path.read_bytes().split() == [b"OFF", b"0", b"0", b"0"]:
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)
    try:
        mesh = trimesh.load_mesh(path, process=False)
        vertices, faces = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)
    except Exception as error:  # trimesh raises whatever its parsing happens to
        raise DataError(f"{path} cannot be read as an OFF mesh: {error}") from None
    if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise DataError(
            f"{path} holds {len(vertices)} vertices and {len(faces)} faces; "
            "wanted finite vertices, and faces that name them"
        )
    return vertices, faces


def read_ply(path: Path) -> NDArray[np.float32]:
    """Read points [N, 3]. Raises DataError naming the file."""
    try:
        cloud: Any = trimesh.load(path, process=False)
        points = np.asarray(cloud.vertices, np.float32)
    except Exception as error:  # trimesh raises whatever its parsing happens to
        raise DataError(f"{path} cannot be read as a PLY point cloud: {error}") from None
    if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
        raise DataError(f"{path} holds points {list(points.shape)}; wanted finite ones [N, 3]")
    return points


def write_ply(path: Path, points: ArrayLike) -> None:
    """Write points [N, 3] as binary PLY, float32."""
    points = np.ascontiguousarray(points, dtype="<f4")
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    path.write_bytes(header.encode() + points.tobytes())
