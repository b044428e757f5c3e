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

from model.meshes.sequence import MeshSequence

# Permitted rounding error relative to the extent of a sequence: that of float32 for a mesh at the origin.
ROUNDING = 1e-7


def write_obj_zip(meshes: MeshSequence) -> bytes:
    """A zip of `00000.obj`, … with lines `v x y z [r g b]` and `f`, and a manifest."""
    line = f"v{f' %.{_decimals(meshes.vertices)}f' * 3}"
    columns = meshes.vertices  # [T, V, 3 or 6]
    if meshes.colors is not None:
        line += " %.4f" * 3
        colors = np.broadcast_to(meshes.colors / 255, meshes.vertices.shape)
        columns = np.concatenate([meshes.vertices, colors], axis=2)
    faces = "f %d %d %d\n" * len(meshes.faces) % tuple((meshes.faces + 1).ravel().tolist())
    template = f"{line}\n" * meshes.vertices.shape[1]
    frames = ((template % tuple(frame.ravel().tolist()) + faces).encode() for frame in columns)
    return _zip(_named(frames, "obj", meshes))


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

    return _zip(_named(frames(), "ply", meshes))


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


def _zip(members: Iterable[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01 by default
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, compresslevel=1)
    return file.getvalue()
