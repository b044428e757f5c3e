"""Points with named fields, as PCD files and ROS messages have them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import Frame, Source, bytes_of, coordinates, invalid


class Fields:
    """The fields of a record array [N] by name, without a prefix up to a blank, which makes names unique."""

    def __init__(self, records: NDArray[Any], source: Source) -> None:
        self._source = source
        self._columns: dict[str, NDArray[Any]] = {}
        for name in records.dtype.names or ():
            column = records[name]  # [N], or [N, values]
            if column.ndim == 1 or column.shape[1]:
                first = column if column.ndim == 1 else column[:, 0]
                self._columns.setdefault(name.rpartition(" ")[2].lower(), first)

    def frame(self) -> Frame:
        """The points whose coordinates are numbers, with colors and normals if there are."""
        if missing := [axis for axis in "xyz" if axis not in self._columns]:
            found = ", ".join(map(quoted, list(self._columns)[:8])) or "no field"
            raise invalid(self._source, "has no coordinates", found, f"the field {missing[0]}")
        points = coordinates(self._stacked("x", "y", "z"))  # [N, 3]
        colors, normals = self._colors(), None
        for names in (("normal_x", "normal_y", "normal_z"), ("nx", "ny", "nz")):
            if all(name in self._columns for name in names):
                normals = self._stacked(*names).astype(np.float32)
        measured = ~np.isnan(points).any(axis=1)
        if measured.all():
            return Frame(points, colors, normals)
        return Frame(
            points[measured],
            None if colors is None else colors[measured],
            None if normals is None else normals[measured],
        )

    def _colors(self) -> NDArray[np.uint8] | None:
        """From r, g and b, or from one number 0xRRGGBB, which may be stored in the bits of a float."""
        if all(name in self._columns for name in "rgb"):
            return bytes_of(self._stacked("r", "g", "b"))
        for name in ("rgb", "rgba"):
            packed = self._columns.get(name)
            if packed is not None and packed.dtype.itemsize == 4:
                bits = np.ascontiguousarray(packed).view(np.uint32)  # [N]
                return np.stack([bits >> 16, bits >> 8, bits], axis=-1).astype(np.uint8)
        return None

    def _stacked(self, *names: str) -> NDArray[Any]:
        return np.stack([self._columns[name] for name in names], axis=-1)
