"""Animated binary glTF 2.0: one mesh whose morph targets are the frames, and one animation on their weights.

Frame 0 is the base mesh and frame i is morph target i - 1 at weight 1. At time i only that weight is 1, so
that LINEAR interpolation blends consecutive frames. Written without a library, since those that write GLB do
not support morph targets. Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.normals import vertex_normals
from model.meshes.sequence import MeshSequence

# Viewers keep one weight per target in shader uniforms, and some fail beyond about 200. The animation also
# grows with the square of the number of frames.
MAX_FRAMES = 200

_FLOAT, _UINT16, _UINT32, _UINT8 = 5126, 5123, 5125, 5121
_VERTICES, _INDICES = 34962, 34963  # targets of buffer views
_GREY = [0.6, 0.63, 0.67, 1.0]


def write_glb(meshes: MeshSequence, normals: bool = True) -> bytes:
    """The sequence as one GLB file, optionally with vertex normals. Time starts at 0.

    Vertices are float32 relative to the center of the sequence, which is stored as translation of the node,
    so that they are precise at any distance from the origin. Raises InputError for more than `MAX_FRAMES`
    frames.
    """
    frames = len(meshes.times)
    if frames > MAX_FRAMES:
        raise InputError(
            f"A GLB file holds at most {MAX_FRAMES} frames (one morph target each), and there are {frames}: "
            "request fewer frames, or obj, ply or npz."
        )
    axes = np.ascontiguousarray(np.moveaxis(meshes.vertices, 2, 0)).reshape(3, -1)  # [3, T V]
    low, high = axes.min(axis=1), axes.max(axis=1)
    center = (low + high) / 2  # [3]
    positions = (meshes.vertices - center).astype(np.float32)  # [T, V, 3]
    attributes = {"POSITION": positions}
    if normals:
        attributes["NORMAL"] = vertex_normals(positions, meshes.faces)

    buffer = _Buffer()
    primitive: dict[str, Any] = {
        "attributes": {name: buffer.vectors(frames_of[0]) for name, frames_of in attributes.items()},
        "indices": buffer.indices(meshes.faces, len(positions[0])),
        "material": 0,
    }
    if meshes.colors is not None:
        primitive["attributes"]["COLOR_0"] = buffer.colors(meshes.colors)
    if meshes.confidence is not None:
        primitive["attributes"]["_CONFIDENCE"] = buffer.vertex_scalars(meshes.confidence)
    mesh: dict[str, Any] = {"name": "surface", "primitives": [primitive]}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "oflow", "extras": {"fps": meshes.fps, "frames": frames}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "sequence", "mesh": 0, "translation": center.tolist()}],
        "meshes": [mesh],
        "materials": [_material(colored=meshes.colors is not None)],
    }
    if frames > 1:
        primitive["targets"] = [
            {name: buffer.vectors(frames_of[i] - frames_of[0]) for name, frames_of in attributes.items()}
            for i in range(1, frames)
        ]
        mesh["weights"] = [0.0] * (frames - 1)
        mesh["extras"] = {"targetNames": [f"frame_{i:03d}" for i in range(1, frames)]}
        document["animations"] = [_animation(buffer, meshes.times)]
    document |= {
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    return _container(document, bytes(buffer.data))


def _animation(buffer: _Buffer, times: NDArray[np.float64]) -> dict[str, Any]:
    seconds = (times - times[0]).astype(np.float32)  # [T]
    if not (np.diff(seconds) > 0).all():
        raise InputError("The frames are too close in time for a GLB file, whose times are float32.")
    weights = np.eye(len(times), dtype=np.float32)[:, 1:]  # [T, T - 1]
    sampler = {"input": buffer.scalars(seconds, bounds=True), "output": buffer.scalars(weights.ravel())}
    return {
        "name": "flow",
        "samplers": [sampler | {"interpolation": "LINEAR"}],
        "channels": [{"sampler": 0, "target": {"node": 0, "path": "weights"}}],
    }


def _material(colored: bool) -> dict[str, Any]:
    pbr = {
        "baseColorFactor": [1.0] * 4 if colored else _GREY,
        "metallicFactor": 0.0,
        "roughnessFactor": 0.85,
    }
    return {"name": "matte", "pbrMetallicRoughness": pbr}


class _Buffer:
    """The binary chunk; each method appends an array and returns the index of its accessor."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def vectors(self, array: NDArray[np.float32]) -> int:
        """Vectors [V, 3] with their bounds, which viewers need to frame the scene."""
        axes = np.ascontiguousarray(array.T)  # [3, V], many times faster to reduce than rows of three
        bounds: dict[str, Any] = {"min": axes.min(axis=1).tolist(), "max": axes.max(axis=1).tolist()}
        return self._append(array.astype("<f4"), _FLOAT, "VEC3", target=_VERTICES, **bounds)

    def scalars(self, array: NDArray[np.float32], bounds: bool = False) -> int:
        extra: dict[str, Any] = {"min": [float(array.min())], "max": [float(array.max())]} if bounds else {}
        return self._append(array.astype("<f4"), _FLOAT, "SCALAR", **extra)

    def vertex_scalars(self, array: NDArray[np.float32]) -> int:
        """Numbers [V], one per vertex."""
        return self._append(array.astype("<f4"), _FLOAT, "SCALAR", target=_VERTICES)

    def indices(self, faces: NDArray[np.integer], vertices: int) -> int:
        # The largest index of each type is reserved (primitive restart).
        dtype, component = ("<u2", _UINT16) if vertices <= 65535 else ("<u4", _UINT32)
        return self._append(faces.ravel().astype(dtype), component, "SCALAR", target=_INDICES)

    def colors(self, srgb: NDArray[np.uint8]) -> int:
        """Colors [V, 3] as RGBA: glTF requires linear vertex colors, and four bytes keep them aligned."""
        value = srgb / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        rgba = np.concatenate([linear, np.ones((len(srgb), 1))], axis=1)  # [V, 4]
        array = np.round(rgba * 255).astype(np.uint8)
        return self._append(array, _UINT8, "VEC4", target=_VERTICES, normalized=True)

    def _append(
        self, array: NDArray[Any], component: int, kind: str, *, target: int | None = None, **extra: Any
    ) -> int:
        content = array.tobytes()
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self.accessors.append(
            {"bufferView": len(self.views) - 1, "componentType": component, "count": len(array), "type": kind}
            | extra
        )
        self.data += content + bytes(-len(content) % 4)
        return len(self.accessors) - 1


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
