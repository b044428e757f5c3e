"""Depth images: 16-bit PNG with the intrinsics of the camera in a JSON file beside them.

Points are in the axes of glTF cameras, x to the right, y up, the camera looking along -z, so that they stand
upright.
"""

import io
import json
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.core.sequences.errors import SequenceError, quoted
from service.core.sequences.readers.depth_noise import smoothed
from service.core.sequences.readers.frame import Frame, Source, invalid, read_whole, too_large

MAX_POINTS = 32_768  # of one image; a random selection of more
MAX_PIXELS = 16_000_000
_MAX_JSON_BYTES = 1 << 16
CAMERA_WANTED = (
    'positive numbers such as {"fx": 525, "fy": 525, "cx": 319.5, "cy": 239.5, "depth_scale": 1000}'
)
_NOTHING = (0, 65_535)  # stored where nothing was measured
_SAME_SHAPE = 0.02  # relative difference of the sides that rounding to whole pixels explains


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera in pixels. `scale` stored units are a unit of length; more than `most` is left out.

    `size` is the width and height of the images that the other numbers are of, if it is known.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    scale: float = 1000.0  # millimeters to meters
    most: float = float("inf")
    size: tuple[float, float] | None = None

    def of(self, width: int, height: int) -> "Intrinsics | None":
        """The camera of smaller or larger copies of its images; None if they are no such copies."""
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
        return scaled if same_shape and inside else None


def read_intrinsics(source: Source) -> Intrinsics:
    """From `fx`, `fy`, `cx`, `cy`, or a matrix `K` or `camera_matrix` [3, 3], or Open3D's `intrinsic_matrix`,
    by rows or by columns, or in `data` as OpenCV writes it; RealSense calls the center `ppx`, `ppy`.
    Optional are `width` and `height` of the images that they are of, `depth_scale` (stored units in one unit
    of length, 1000; or what a unit is, 0.001) and `depth_max`."""
    if source.size > _MAX_JSON_BYTES:
        raise too_large(source, f"{source.size:,} bytes", f"at most {_MAX_JSON_BYTES:,}")
    text = read_whole(source)
    try:
        values: Any = json.loads(text)
        if isinstance(inner := values.get("intrinsics", values.get("intrinsic")), dict):
            values = values | inner
        if matrix := values.get("intrinsic_matrix", values.get("K", values.get("camera_matrix"))):
            matrix = matrix["data"] if isinstance(matrix, dict) else matrix  # as OpenCV writes it
            values = values | _of_matrix(np.array(matrix, np.float64).reshape(3, 3))
        elif {"ppx", "ppy"} <= values.keys():
            values = values | {"cx": values["ppx"], "cy": values["ppy"]}
        numbers = {name: float(values[name]) for name in ("fx", "fy", "cx", "cy")}
        numbers["scale"] = float(values.get("depth_scale", 1000.0))
        if values.get("depth_max") is not None:
            numbers["most"] = float(values["depth_max"])
        size = float(values.get("width") or 0), float(values.get("height") or 0)
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError):
        found = quoted(text.decode(errors="replace").strip()) if text.strip() else "an empty file"
        raise invalid(source, "are not the intrinsics of a camera", found, CAMERA_WANTED) from None
    finite = all(np.isfinite(value) for name, value in numbers.items() if name != "most")
    positive = all(numbers[name] > 0 for name in ("fx", "fy", "scale", "most") if name in numbers)
    if not (finite and positive):
        raise invalid(source, "are not the intrinsics of a camera", quoted(str(numbers)), CAMERA_WANTED)
    if numbers["scale"] < 1:  # what a stored unit is, as drivers tell it
        numbers["scale"] = 1 / numbers["scale"]
    return Intrinsics(**numbers, size=size if 0 < min(size) <= max(size) < np.inf else None)


def _of_matrix(matrix: Any) -> dict[str, float]:
    if matrix[2, :2].any():  # column by column, as Open3D writes it
        matrix = matrix.T
    return {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}


def read_depth(source: Source, limit: int, camera: Intrinsics, most: int = MAX_POINTS) -> Frame:
    """Points of the pixels that have a depth, a random selection if there are more than `most`."""
    depth = _pixels(source)  # [H, W]
    height, width = depth.shape
    if (own := camera.of(width, height)) is None:
        center = f"the camera's center at {camera.cx:g}, {camera.cy:g}"
        size = f" of {camera.size[0]:g} by {camera.size[1]:g} pixels" if camera.size else ""
        found = f"{width} by {height} pixels, {center}{size}"
        wanted = "fx, fy, cx, cy of the depth images, or the `width` and `height` of those that they are of"
        raise invalid(source, "is no image of the camera in the JSON file", found, wanted)
    camera = own
    valid = ~np.isin(depth, _NOTHING)
    rows, columns = np.nonzero(valid)
    away = depth[rows, columns] / camera.scale  # [N]
    seen = np.flatnonzero(away <= camera.most)
    if len(away) and not len(seen):
        found = f"depths from {away.min():g} to {away.max():g}, depth_max {camera.most:g}"
        wanted = "a larger `depth_max` in the JSON file, in units of length as `depth_scale` makes them"
        raise invalid(source, "shows nothing within `depth_max`", found, wanted)
    if len(seen) > min(most, limit):
        # The same draw for equal images, whichever frame they are.
        seen = np.sort(np.random.default_rng(len(seen)).choice(seen, min(most, limit), replace=False))
    rows, columns = rows[seen], columns[seen]
    away = smoothed(depth, valid, rows, columns) / camera.scale
    x, y = (columns - camera.cx) * away / camera.fx, (rows - camera.cy) * away / camera.fy
    return Frame(np.stack([x, -y, -away], axis=-1).astype(np.float32))  # [N, 3]


def _pixels(source: Source) -> Any:
    """Stored depths [H, W] uint16."""
    from PIL import Image, UnidentifiedImageError  # when it is needed: it takes memory

    data = read_whole(source)
    size, kind = struct.unpack_from(">2L", data, 16) if len(data) > 32 else (0, 0), data[24:26]
    if data[:8] != b"\x89PNG\r\n\x1a\n" or kind != b"\x10\x00":
        found = "a PNG of another kind" if data[:4] == b"\x89PNG" else quoted(data[:8].decode("latin-1"))
        raise invalid(source, "is not a depth image", found, "a PNG with one channel of 16 bits")
    if size[0] * size[1] > MAX_PIXELS:
        raise too_large(source, f"{size[0]} by {size[1]} pixels", f"at most {MAX_PIXELS:,}")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise _corrupt(source, error) from None
    if pixels.ndim != 2 or pixels.dtype.kind not in "ui":
        raise invalid(
            source, "is not a depth image", f"{pixels.dtype} {list(pixels.shape)}", "[H, W] of 16 bits"
        )
    return pixels


def _corrupt(source: Source, error: Exception) -> SequenceError:
    return invalid(source, "is corrupt", quoted(str(error)), "a readable PNG")
