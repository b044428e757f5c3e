"""Writers of archives: OBJ and PLY, one file per frame in a zip, and numpy.

Output is deterministic: it contains no timestamps or host names.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.meshes.normals import vertex_normals
from model.meshes.sequence import MeshSequence

# Permitted rounding error relative to the extent of a sequence: that of float32 for a mesh at the origin.
ROUNDING = 1e-7


def write_obj_zip(meshes: MeshSequence) -> bytes:
    """A zip of `00000.obj`, … with lines `v x y z [r g b]`, `vn` and `f`, and a manifest."""
    return zip_bytes(_named(obj_frames(meshes), "obj", meshes))


def obj_frames(meshes: MeshSequence) -> Iterable[bytes]:
    """The OBJ file of each frame, with vertex normals."""
    line = f"v{f' %.{_decimals(meshes.vertices)}f' * 3}"
    columns = meshes.vertices  # [T, V, 3 or 6]
    if meshes.colors is not None:
        line += " %.4f" * 3
        colors = np.broadcast_to(meshes.colors / 255, meshes.vertices.shape)
        columns = np.concatenate([meshes.vertices, colors], axis=2)
    corners = np.repeat((meshes.faces + 1).ravel(), 2)  # a vertex and its normal have the same number
    faces = "f %d//%d %d//%d %d//%d\n" * len(meshes.faces) % tuple(corners.tolist())
    template = f"{line}\n" * meshes.vertices.shape[1]
    directions = "vn %.4f %.4f %.4f\n" * meshes.vertices.shape[1]
    for frame in columns:
        local = (frame[:, :3] - frame[:, :3].mean(axis=0)).astype(np.float32)
        normals = vertex_normals(local[None], meshes.faces)[0]
        places = template % tuple(frame.ravel().tolist())
        yield (places + directions % tuple(normals.ravel().tolist()) + faces).encode()


def write_ply_zip(meshes: MeshSequence) -> bytes:
    """A zip of binary `00000.ply`, … and a manifest; float64 if float32 is too coarse for the coordinates."""
    coordinates = _compact(meshes.vertices)
    number = "float" if coordinates.dtype == np.float32 else "double"
    layout: list[Any] = [("position", coordinates.dtype.newbyteorder("<"), 3)]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {coordinates.shape[1]}"]
    header += [f"property {number} {axis}" for axis in "xyz"]
    if meshes.colors is not None:
        layout.append(("color", np.dtype("u1"), 3))
        header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    if meshes.confidence is not None:
        layout.append(("confidence", np.dtype("<f4")))
        header += ["property float confidence"]
    header += [f"element face {len(meshes.faces)}", "property list uchar int vertex_indices", "end_header\n"]

    faces = np.empty(len(meshes.faces), [("count", "u1"), ("indices", "<i4", 3)])
    faces["count"], faces["indices"] = 3, meshes.faces
    vertices = np.empty(coordinates.shape[1], layout)
    if meshes.colors is not None:
        vertices["color"] = meshes.colors
    if meshes.confidence is not None:
        vertices["confidence"] = meshes.confidence

    def frames() -> Iterable[bytes]:
        for frame in coordinates:
            vertices["position"] = frame
            yield "\n".join(header).encode() + vertices.tobytes() + faces.tobytes()

    return zip_bytes(_named(frames(), "ply", meshes))


def write_npz(meshes: MeshSequence) -> bytes:
    """An npz of `vertices` (float64 if float32 is too coarse), `faces`, `times`, and `colors` and
    `confidence` if present.
    """
    arrays: dict[str, NDArray[Any]] = {
        "vertices": _compact(meshes.vertices),
        "faces": meshes.faces,
        "times": meshes.times,
    }
    if meshes.colors is not None:
        arrays["colors"] = meshes.colors
    if meshes.confidence is not None:
        arrays["confidence"] = meshes.confidence
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)  # dates every member 1980-01-01
    return file.getvalue()


def _extent(vertices: NDArray[np.float64]) -> float:
    return float(np.ptp(vertices, axis=(0, 1)).max())


def _decimals(vertices: NDArray[np.float64]) -> int:
    """Number of decimals for a rounding error below `ROUNDING` times the extent."""
    step = ROUNDING * _extent(vertices)
    return max(0, int(np.ceil(-np.log10(step)))) if step > 0 else 17


def _compact(vertices: NDArray[np.float64]) -> NDArray[np.floating]:
    """The vertices as float32, unless they are so far from the origin that this would distort the shape."""
    single = vertices.astype(np.float32)
    return single if np.abs(single - vertices).max() <= ROUNDING * _extent(vertices) else vertices


def _named(frames: Iterable[bytes], extension: str, meshes: MeshSequence) -> Iterable[tuple[str, bytes]]:
    manifest = {
        "fps": meshes.fps,
        "times": meshes.times.tolist(),
        "frames": len(meshes.times),
        "vertices": meshes.vertices.shape[1],
        "faces": len(meshes.faces),
    }
    yield "manifest.json", json.dumps(manifest, indent=2).encode()
    for index, frame in enumerate(frames):
        yield f"{index:05d}.{extension}", frame


def zip_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of members by name, without dates."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01 by default
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, compresslevel=1)
    return file.getvalue()
