"""Frames of moving meshes in the published layout, for `worker data bodies` and `worker data build`."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from model.meshes.sampling import Surface, SurfacePoints
from worker.bodies.rig import Floats
from worker.data.inside import inside
from worker.rendering.films import View, render
from worker.rendering.pictures import Pixels

JPEG_QUALITY = 92
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
    @property
    def all_vertices(self) -> Floats: ...  # [T, V, 3]
    def vertices(self, index: int) -> Floats: ...  # [V, 3] of the frame at this place in `numbers`


@dataclass(frozen=True)
class Sampling:
    """What is written of each frame."""

    points: int  # on the surface, and as many in the box
    seed: int
    meshes: bool  # as well, as OBJ
    images: int = 0  # views of it, rendered
    image_size: int = 224  # pixels a side


def write_frames(mesh: MovingMesh, folder: Path, indices: range, sampling: Sampling) -> None:
    """Write these frames of a sequence; those that are there already are kept.

    Each frame's draws depend on the seed, the sequence's name and the frame alone, in whatever order and by
    however many processes they are written.
    """
    identity = [sampling.seed, zlib.crc32(mesh.name.encode())]
    particles, views = None, list[View]()
    for index in indices:
        files = _files(folder, mesh.numbers[index], sampling)
        if all(file.exists() for file in files.values()):
            continue
        if particles is None:  # drawn on the first frame, whichever frames are written here
            first = Surface(mesh.vertices(0), mesh.faces)
            particles = first.draw(sampling.points, np.random.default_rng(identity))
            views = _draw_views(mesh, sampling.images, identity)
        rng = np.random.default_rng([*identity, index])
        vertices = mesh.vertices(index)
        _write_frame(files, vertices, mesh.faces, particles, rng)
        for number, view in enumerate(views):
            _write_image(files[f"img/{number:03d}"], render(vertices, mesh.faces, view, sampling.image_size))


def _files(folder: Path, number: int, sampling: Sampling) -> dict[str, Path]:
    files = {name: folder / name / f"{number:08d}.npz" for name in ("pcl_seq", "points_seq")}
    if sampling.meshes:
        files["mesh_seq"] = folder / "mesh_seq" / f"{number:05d}.obj"
    views = [f"img/{view:03d}" for view in range(sampling.images)]
    return files | {name: folder / name / f"{number:08d}.jpg" for name in views}


def _draw_views(mesh: MovingMesh, count: int, identity: list[int]) -> list[View]:
    """Cameras of the whole sequence; that of view 0, which validation sees, stands at a fixed place."""
    draws = [np.random.default_rng([*identity, 0, 1 + view]) for view in range(count)]
    return [View.draw(mesh.all_vertices, rng, fixed=view == 0) for view, rng in enumerate(draws)]


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


def _write_image(file: Path, pixels: Pixels) -> None:
    image = Image.fromarray(pixels)
    _replace(file, lambda part: image.save(part, format="JPEG", quality=JPEG_QUALITY))


def _stored_centre(centre: Floats, scale: float) -> NDArray[np.floating]:
    """float16 as in the published data, or wider where that would move the box off a mesh far away."""
    with np.errstate(over="ignore"):
        for short in (centre.astype(np.float16), centre.astype(np.float32)):
            if np.abs(short - centre).max() < 0.005 * scale:
                return short
    return centre


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
