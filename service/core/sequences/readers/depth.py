"""Depth images: 16-bit PNG with the intrinsics of the camera in a JSON file beside them.

Points are in the axes of glTF cameras, x to the right, y up, the camera looking along -z, so that they stand
upright.
"""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.sequences.errors import Fault, SequenceError, quoted, refusal
from service.core.sequences.readers.cameras import Intrinsics
from service.core.sequences.readers.depth_noise import smoothed
from service.core.sequences.readers.frame import Frame, Source, invalid, read_whole, too_large

MAX_POINTS = 32_768  # of one image; a random selection of more
MAX_PIXELS = 16_000_000
_NOTHING = (0, 65_535)  # stored where nothing was measured


class NothingSeenError(SequenceError):
    """All that an image shows is too far away."""


class DepthReader:
    """Reads the images of one camera: points of the pixels that have a depth, `most` of each at most.

    If it is not known of which size the camera's images are, all have to be of one.
    """

    def __init__(self, camera: Intrinsics, most: int = MAX_POINTS) -> None:
        self.camera, self.most = camera, most
        self._first: tuple[str, tuple[int, ...]] | None = None  # name and shape [H, W] of the first image

    def __call__(self, source: Source, limit: int) -> Frame:
        depth = _pixels(source)  # [H, W]
        name, shape = self._first = self._first or (source.key, depth.shape)
        if self.camera.size is None and depth.shape != shape:
            found = f"{_size(depth.shape)}, after {_size(shape)} in {quoted(name)}"
            wanted = (
                "images of one size, or in the JSON file the `width` and `height` of those that fx, fy, cx, "
                "cy are of"
            )
            raise invalid(source, "is of another size than the images before it", found, wanted)
        return points_of(depth, self.camera, min(self.most, limit), source.key)


def points_of(depth: NDArray[Any], camera: Intrinsics, most: int, key: str) -> Frame:
    """Points of an image [H, W] of distances, a random selection if there are more than `most`.

    Where nothing was measured, whole numbers are 0, negative or 65535, others also NaN or infinite. Raises
    SequenceError, which names `key`; NothingSeenError if all of it is beyond `depth_max`.
    """
    height, width = depth.shape
    if (own := camera.of(width, height)) is None:
        numbers = f"fx {camera.fx:g}, fy {camera.fy:g}, the camera's center at {camera.cx:g}, {camera.cy:g}"
        size = f" of {camera.size[0]:g} by {camera.size[1]:g} pixels" if camera.size else ""
        found = f"{_size(depth.shape)}, {numbers}{size}"
        wanted = (
            "fx, fy, cx, cy of these images in pixels, or the `width` and `height` of those that they are of"
        )
        raise refusal("invalid_sequence", key, "is no image of the camera", found, wanted)
    camera = own
    valid = (depth > 0) & (np.isfinite(depth) if depth.dtype.kind == "f" else ~np.isin(depth, _NOTHING))
    depth = np.where(valid, depth, 0).astype(np.float32 if depth.dtype == np.float16 else depth.dtype)
    rows, columns = np.nonzero(valid)
    away = depth[rows, columns] / camera.scale  # [N]
    seen = np.flatnonzero(away <= camera.most)
    if len(away) and not len(seen):
        found = f"depths from {away.min():g} to {away.max():g}, depth_max {camera.most:g}"
        wanted = "a larger `depth_max` of the camera, in units of length as `depth_scale` makes them"
        raise NothingSeenError(
            "invalid_sequence", [Fault(key, "shows nothing within `depth_max`", found, wanted)]
        )
    if len(seen) > most:
        # The same draw for equal images, whichever frame they are.
        seen = np.sort(np.random.default_rng(len(seen)).choice(seen, most, replace=False))
    rows, columns = rows[seen], columns[seen]
    with np.errstate(all="ignore"):  # coordinates that are too large are reported as faults
        away = smoothed(depth, valid, rows, columns) / camera.scale
        x, y = (columns - camera.cx) * away / camera.fx, (rows - camera.cy) * away / camera.fy
        return Frame(np.stack([x, -y, -away], axis=-1).astype(np.float32))  # [N, 3]


def _size(shape: tuple[int, ...]) -> str:
    height, width = shape
    return f"{width} by {height} pixels"


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
