"""Pinhole cameras of depth images, from a JSON file or from arrays beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.core.sequences.errors import quoted
from service.core.sequences.readers.frame import Source, invalid, read_whole, too_large

CAMERA_WANTED = (
    'positive numbers such as {"fx": 525, "fy": 525, "cx": 319.5, "cy": 239.5, "depth_scale": 1000}'
)
MATRICES = ("intrinsic_matrix", "K", "camera_matrix", "intrinsics")  # [3, 3]
NUMBERS = ("fx", "fy", "cx", "cy", "ppx", "ppy", "depth_scale", "depth_max", "width", "height")
MILLIMETERS = 1000.0  # stored units in a meter
_MAX_JSON_BYTES = 1 << 16
_SAME_SHAPE = 0.02  # relative difference of the sides that rounding to whole pixels explains
_WIDEST = 20  # sides of an image in focal lengths, of a view of 169 degrees
_CORNER = 0.1  # of a side, from the last corner


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera in pixels. `scale` stored units are a unit of length; more than `most` is left out.

    `size` is the width and height of the images that the other numbers are of, if it is known.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    scale: float = MILLIMETERS
    most: float = float("inf")
    size: tuple[float, float] | None = None

    def of(self, width: int, height: int) -> "Intrinsics | None":
        """The camera of smaller or larger copies of its images; None if it cannot have taken them."""
        own_width, own_height = self.size or (width, height)
        across, down = width / own_width, height / own_height
        scaled = replace(
            self,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=(self.cx + 0.5) * across - 0.5,  # 0 is the middle of the first pixel
            cy=(self.cy + 0.5) * down - 0.5,
            size=(width, height),
        )
        same_shape = abs(across - down) < _SAME_SHAPE * across
        inside = -0.5 <= scaled.cx <= width - 0.5 and -0.5 <= scaled.cy <= height - 0.5
        # Numbers that are shares of the side instead of pixels show as a focal length of about one pixel.
        in_pixels = max(width / scaled.fx, height / scaled.fy) < _WIDEST
        # Those of images twice as large put the center in the last corner. A crop may, if its size is given.
        in_corner = scaled.cx + 0.5 > (1 - _CORNER) * width and scaled.cy + 0.5 > (1 - _CORNER) * height
        known = self.size is not None or not in_corner
        return scaled if same_shape and inside and in_pixels and known else None


def read_intrinsics(source: Source) -> Intrinsics:
    """The camera in a JSON file, as `camera_of`. Raises SequenceError."""
    if source.size > _MAX_JSON_BYTES:
        raise too_large(source, f"{source.size:,} bytes", f"at most {_MAX_JSON_BYTES:,}")
    text = read_whole(source)
    try:
        return camera_of(json.loads(text))
    except (ValueError, RecursionError):
        found = quoted(text.decode(errors="replace").strip()) if text.strip() else "an empty file"
        raise invalid(source, "are not the intrinsics of a camera", found, CAMERA_WANTED) from None


def camera_of(values: Mapping[str, Any], scale: float = MILLIMETERS) -> Intrinsics:
    """From `fx`, `fy`, `cx`, `cy`, or one of MATRICES [3, 3], by rows or by columns, or in `data` as OpenCV
    writes it; RealSense calls the center `ppx`, `ppy`. They may be in `intrinsics` or, as Open3D writes them,
    in `intrinsic`.

    Optional are `width` and `height` of the images that they are of, `depth_scale` (stored units in one unit
    of length, `scale` if it is not given; or what a unit is, 0.001) and `depth_max`. Raises ValueError.
    """
    try:
        if isinstance(inner := values.get("intrinsics", values.get("intrinsic")), dict):
            values = {name: value for name, value in values.items() if name != "intrinsics"} | inner
        matrix = next((values[name] for name in MATRICES if values.get(name) is not None), None)
        if matrix is not None:
            matrix = matrix["data"] if isinstance(matrix, dict) else matrix  # as OpenCV writes it
            values = {**values, **_of_matrix(np.array(matrix, np.float64).reshape(3, 3))}
        elif {"ppx", "ppy"} <= values.keys():
            values = {**values, "cx": values["ppx"], "cy": values["ppy"]}
        numbers = {name: float(values[name]) for name in ("fx", "fy", "cx", "cy")}
        numbers["scale"] = float(values.get("depth_scale", scale))
        if values.get("depth_max") is not None:
            numbers["most"] = float(values["depth_max"])
        size = float(values.get("width") or 0), float(values.get("height") or 0)  # 0 is not known
    except (ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    finite = all(np.isfinite(value) for name, value in numbers.items() if name != "most")
    positive = all(numbers[name] > 0 for name in ("fx", "fy", "scale", "most") if name in numbers)
    sized = size == (0, 0) or 0 < min(size) <= max(size) < np.inf
    if not (finite and positive and sized):
        raise ValueError(f"{numbers}, {size}")
    if numbers["scale"] < 1:  # what a stored unit is, as drivers tell it
        numbers["scale"] = 1 / numbers["scale"]
    return Intrinsics(**numbers, size=size if any(size) else None)


def _of_matrix(matrix: Any) -> dict[str, float]:
    if matrix[2, :2].any():  # column by column, as Open3D writes it
        matrix = matrix.T
    return {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
