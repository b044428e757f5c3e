"""Binary glTF (GLB): the JSON of a scene and the arrays in its buffer.

Format: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, sections 3.6 and 4.4.
"""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import Source, invalid, read_whole, too_large

MAX_BYTES = 256 << 20
MAX_JSON_BYTES = 16 << 20
MAX_VALUES = 12_000_000  # of one array
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_KNOWN = ("KHR_mesh_quantization", "KHR_texture_transform", "KHR_materials_unlit")


class Gltf:
    """The document of a GLB file and its arrays. Raises SequenceError for whatever does not fit the file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        data = read_whole(source, limit=MAX_BYTES)
        magic, version, size = struct.unpack_from("<4s2L", data.ljust(20, b"\0"))
        length, kind = struct.unpack_from("<L4s", data.ljust(20, b"\0"), 12)
        if magic != b"glTF" or version != 2 or size != len(data) or kind != b"JSON" or 20 + length > size:
            found = f"version {version}, {size:,} bytes in a file of {len(data):,}"
            raise invalid(source, "is not a GLB file", found, "glTF 2.0 of the size that it declares")
        if length > MAX_JSON_BYTES:
            raise too_large(source, f"{length:,} bytes of JSON", f"at most {MAX_JSON_BYTES:,}")
        try:
            self.document: Any = json.loads(data[20 : 20 + length])
        except (ValueError, RecursionError) as error:
            raise invalid(source, "has invalid JSON", quoted(str(error)), "a glTF document") from None
        start = 20 + length + 8
        self._binary = data[start:] if data[start - 4 : start] == b"BIN\0" else b""
        if required := set(self.document.get("extensionsRequired", ())) - set(_KNOWN):
            found = ", ".join(sorted(map(str, required))[:3])
            raise invalid(
                source, "needs extensions that are not read", found, "an export without compression"
            )

    def array(self, index: int) -> NDArray[Any]:
        """The values of an accessor, [count] or [count, width], float32 if they are normalized."""
        accessor = self.document["accessors"][index]
        kind, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        count = accessor["count"]
        if type(count) is not int or not 0 <= count <= MAX_VALUES // width:
            raise self.fault("has an array of an invalid size", str(count)[:20])
        if "bufferView" not in accessor:
            values: NDArray[Any] = np.zeros((count, width), kind)
        else:
            values = self._view(accessor, kind, width, count)
        if "sparse" in accessor:
            values = self._replaced(values, accessor["sparse"])
        if accessor.get("normalized") and kind.kind != "f":
            values = np.maximum(values.astype(np.float32) / np.iinfo(kind).max, -1)
        return values[:, 0] if width == 1 else values

    def _replaced(self, values: NDArray[Any], sparse: Any) -> NDArray[Any]:
        """Values [count, width] of an accessor with those of some rows replaced (section 3.6.2.3)."""
        count = sparse["count"]
        if type(count) is not int or not 0 <= count <= len(values):
            raise self.fault("has a sparse array of an invalid size", str(count)[:20])
        kind = np.dtype(_TYPES[sparse["indices"]["componentType"]])
        rows = self._view(sparse["indices"], kind, 1, count)[:, 0]
        if kind.kind != "u" or (count and rows.max() >= len(values)):
            raise self.fault("has a sparse array with a missing row", f"{len(values):,} rows")
        values = values.copy()
        values[rows] = self._view(sparse["values"], values.dtype, values.shape[1], count)
        return values

    def _view(self, accessor: Any, kind: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
        view = self.document["bufferViews"][accessor["bufferView"]]
        start = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
        item = kind.itemsize * width
        stride = int(view.get("byteStride", item))
        end = start + (stride * (count - 1) + item if count else 0)
        if view.get("buffer") != 0 or start < 0 or stride < item or end > len(self._binary):
            found = f"bytes {start:,} to {end:,} of {len(self._binary):,}"
            raise self.fault("has an array outside of its buffer", found)
        shape, strides = (count, width), (stride, kind.itemsize)
        return np.ndarray(shape, kind, self._binary, start, strides)

    def fault(self, message: str, found: str) -> Exception:
        return invalid(self._source, message, found, "a GLB file with its arrays in it")
