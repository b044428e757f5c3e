"""Frames of moving meshes in the published layout, for `worker data bodies` and `worker data build`."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from worker.bodies.rig import Floats
from worker.bodies.sampling import Surface, SurfacePoints
from worker.data.inside import inside

BOX = (
    1.1  # side of the cube around a frame in which occupancy is sampled, in longest sides of its bounding box
)


class MovingMesh(Protocol):
    """A closed mesh of one topology in many frames, which are read or made on demand: small to pickle."""

    @property
    def name(self) -> str: ...
    @property
    def numbers(self) -> tuple[int, ...]:
        """By which the frames are named."""

    @property
    def faces(self) -> NDArray[np.int32]: ...  # [F, 3]
    def vertices(self, index: int) -> Floats: ...  # [V, 3] of the frame at this place in `numbers`


@dataclass(frozen=True)
class Sampling:
    """What is written of each frame."""

    points: int  # on the surface, and as many in the box
    seed: int
    meshes: bool  # as well, as OBJ


def write_frames(mesh: MovingMesh, folder: Path, indices: range, sampling: Sampling) -> None:
    """Write these frames of a sequence; those that are there already are kept.

    Each frame's draws depend on the seed, the sequence's name and the frame alone, in whatever order and by
    however many processes they are written.
    """
    identity = [sampling.seed, zlib.crc32(mesh.name.encode())]
    particles = None
    for index in indices:
        files = _files(folder, mesh.numbers[index], sampling.meshes)
        if all(file.exists() for file in files.values()):
            continue
        if particles is None:  # drawn on the first frame, whichever frames are written here
            first = Surface(mesh.vertices(0), mesh.faces)
            particles = first.draw(sampling.points, np.random.default_rng(identity))
        rng = np.random.default_rng([*identity, index])
        _write_frame(files, mesh.vertices(index), mesh.faces, particles, rng)


def _files(folder: Path, number: int, meshes: bool) -> dict[str, Path]:
    files = {name: folder / name / f"{number:08d}.npz" for name in ("pcl_seq", "points_seq")}
    return files | ({"mesh_seq": folder / "mesh_seq" / f"{number:05d}.obj"} if meshes else {})


def _write_frame(
    files: dict[str, Path],
    vertices: Floats,
    faces: NDArray[np.int32],
    particles: SurfacePoints,
    rng: np.random.Generator,
) -> None:
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = np.float64((high - low).max())
    loc = _stored_centre((low + high) / 2, float(scale))
    # In the box as it is stored, rounded, so that a reader undoes it exactly.
    boxed = (vertices - loc.astype(np.float64)) / scale
    surface = particles.on(boxed).astype(np.float16)
    points = rng.uniform(-BOX / 2, BOX / 2, (len(surface), 3)).astype(np.float16)
    occupied = inside(boxed, faces, points)  # of the points as they are stored
    _save(files["pcl_seq"], points=surface, loc=loc, scale=scale)
    bits = np.packbits(occupied)
    _save(files["points_seq"], points=points, occupancies=bits, loc=loc, scale=scale)
    if file := files.get("mesh_seq"):
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        _replace(file, lambda part: mesh.export(part, file_type="obj", include_normals=False))


def _stored_centre(centre: Floats, scale: float) -> NDArray[np.floating]:
    """float16 as in the published data, unless the mesh lies so far away that its box would be off centre."""
    with np.errstate(over="ignore"):
        short = centre.astype(np.float16)
    return short if np.abs(short - centre).max() < 0.005 * scale else centre.astype(np.float32)


def _save(file: Path, **arrays: ArrayLike) -> None:
    def write(part: Path) -> None:
        with part.open("wb") as stream:  # an open file, since numpy appends .npz to names without it
            np.savez(stream, allow_pickle=False, **arrays)

    _replace(file, write)


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    """A file is there whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    write(part)
    part.replace(file)
