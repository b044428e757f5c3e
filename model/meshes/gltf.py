"""Parts of a binary glTF 2.0 file: its buffer with accessors, and its container.

Written without a library, since those that write GLB do not support morph targets. Specification:
https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERTICES, INDICES = 34962, 34963  # targets of buffer views
_COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class GltfBuffer:
    """The binary chunk, with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(
        self,
        array: NDArray[Any],
        *,
        target: int | None = None,
        normalized: bool = False,
        bounds: bool = False,
    ) -> int:
        """Append rows [N] or [N, width] and return the index of their accessor.

        Rows of vertex attributes start at multiples of four bytes. `bounds` are required of times, and of
        positions, by which viewers frame the scene.
        """
        rows = array.reshape(len(array), -1)
        width, size = rows.shape[1], rows.dtype.itemsize
        extra: dict[str, Any] = {"normalized": True} if normalized else {}
        if bounds:
            axes = np.ascontiguousarray(rows.T)  # many times faster to reduce than rows of three
            extra |= {"min": axes.min(axis=1).tolist(), "max": axes.max(axis=1).tolist()}
        view: dict[str, Any] = {}
        if target is not None:
            view["target"] = target
        if target == VERTICES and width * size % 4:
            padded = np.zeros((len(rows), -(-width * size // 4) * 4 // size), rows.dtype)
            padded[:, :width] = rows
            rows = padded
            view["byteStride"] = rows.shape[1] * size
        self.accessors.append(
            {
                "bufferView": self.view(rows.astype(rows.dtype.newbyteorder("<")).tobytes(), **view),
                "componentType": _COMPONENTS[rows.dtype.name],
                "count": len(rows),
                "type": _TYPES[width],
            }
            | extra
        )
        return len(self.accessors) - 1

    def view(self, content: bytes, **extra: Any) -> int:
        """Append bytes and return the index of their buffer view."""
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)} | extra)
        self.data += content + bytes(-len(content) % 4)
        return len(self.views) - 1


def glb_bytes(document: dict[str, Any], buffer: GltfBuffer) -> bytes:
    """A GLB file of a document and its buffer."""
    document = document | {
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(buffer.data), b"BIN\0")
        + bytes(buffer.data)
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
