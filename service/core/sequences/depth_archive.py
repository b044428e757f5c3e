"""Format 5: one archive with the depth images of a sequence, and their camera."""

from typing import Any

import numpy as np

from service.core.sequences.archives import Archive
from service.core.sequences.arrays import ArrayStream
from service.core.sequences.checks import MIN_POINTS, time_faults
from service.core.sequences.errors import Fault, SequenceError
from service.core.sequences.named_arrays import DEPTH_KEYS, NamedArrays
from service.core.sequences.readers.cameras import MATRICES, MILLIMETERS, NUMBERS, Intrinsics, camera_of
from service.core.sequences.readers.depth import MAX_PIXELS, MAX_POINTS, NothingSeenError, points_of
from service.core.sequences.readers.frame import NOTHING
from service.core.sequences.reading import Reading
from service.core.sequences.times import seconds_since_first

CAMERA_WANTED = (
    "K [3, 3], or fx, fy, cx and cy, in pixels, or one of each per image; optional depth_scale, depth_max, "
    "or width and height; fx, fy and the optional ones are positive"
)

PER_IMAGE = (*MATRICES, "fx", "fy", "cx", "cy", "ppx", "ppy")  # which may be given for each image
MEASURED = (
    f"at least {MIN_POINTS} in two images or more; 0, negative numbers and NaN mean that nothing was measured"
)


def is_depth_archive(names: list[str]) -> bool:
    return "depth.npy" in names and "points.npy" not in names


def read_depth_arrays(archive: Archive, reading: Reading) -> None:
    """Read `depth` [T, H, W] with the camera's intrinsics, and `times` [T] if they are known.

    A camera that zooms has intrinsics for each image: `K` [T, 3, 3], or numbers [T].
    Without `depth_scale` whole numbers are thousandths of a unit of length, others are in it.
    """
    arrays = NamedArrays(archive, reading, DEPTH_KEYS, required=("depth",))
    depth = arrays.shaped("depth", ("T", "H", "W"))
    frames = depth.shape[0] if depth else "T"
    if times := arrays.shaped("times", (frames,)):
        reading.check_limit(reading.limits.max_frames, times.size, "times", "frames")
        reading.times = seconds_since_first(times.read())
        reading.faults += time_faults(reading.times, len(reading.times))
    if depth is None:
        return
    reading.check_limit(reading.limits.max_frames, depth.shape[0], depth.key, "frames")
    reading.check_limit(MAX_PIXELS, depth.shape[1] * depth.shape[2], depth.key, "pixels in an image")
    if depth.fortran and depth.size:
        reading.fault(depth.key, "is in Fortran order", "fortran_order True", "np.ascontiguousarray(depth)")
    cameras = _cameras(archive, arrays, reading, depth)
    if cameras is not None and not reading.faults:
        _read_images(depth, cameras, reading)
        if not reading.faults:
            reading.check_lengths(False, depth.key)
        reading.corresponding = False  # a pixel does not stay on one particle


def _cameras(
    archive: Archive, arrays: NamedArrays, reading: Reading, depth: ArrayStream
) -> list[Intrinsics] | None:
    """The camera of each image; None, and a fault, if one is not valid."""
    frames = depth.shape[0]
    values: dict[str, Any] = {}
    of_images: set[str] = set()  # names of what is given for each image
    for name in (*MATRICES, *NUMBERS):
        single: list[tuple[int, ...]] = [(3, 3)] if name in MATRICES else [(), (1,)]
        several = [(frames, *single[0])] if name in PER_IMAGE else []
        if stream := arrays.shaped(name, *single, *several):
            values[name] = stream.read()
            if stream.shape in several:
                of_images.add(name)
            else:
                values[name] = values[name].reshape(single[0])
    if {fault.key for fault in reading.faults} & {*MATRICES, *NUMBERS}:  # of their types, too
        return None
    cameras = []
    for t in range(frames if of_images else 1):
        own = {name: value[t] if name in of_images else value for name, value in values.items()}
        try:
            cameras.append(camera_of(own, 1.0 if depth.dtype.kind == "f" else MILLIMETERS))
        except ValueError:
            found = ", ".join(f"{name} {_text(value)}" for name, value in own.items())
            names = ", ".join(name.removesuffix(".npy") for name in archive.names[:12])
            key = f"{depth.key}[{t}]" if of_images else depth.key
            reading.fault(key, "has no valid camera", found or names, CAMERA_WANTED)
            return None
    return cameras if of_images else cameras * frames


def _text(value: Any) -> str:
    rows = np.atleast_2d(value)
    text = ", ".join("[" + ", ".join(f"{number:g}" for number in row) + "]" for row in rows)
    return f"[{text}]" if np.ndim(value) else f"{value:g}"


def _read_images(depth: ArrayStream, cameras: list[Intrinsics], reading: Reading) -> None:
    """Read one image after the other, up to the first that is not valid."""
    frames, height, width = depth.shape
    most = min(MAX_POINTS, reading.limits.max_points // max(frames, 1))
    if frames and not depth.size:
        reading.fault(depth.key, "has empty images", str(list(depth.shape)), "[T, H, W] of at least 1")
    for start, values in depth.chunks(max(height * width, 1)):
        index = start // (height * width)
        key = f"{depth.key}[{index}]"
        try:
            frame = points_of(values.reshape(height, width), cameras[index], most, key)
        except NothingSeenError as error:
            reading.nothing += error.faults
            frame = NOTHING
        except SequenceError as error:
            reading.faults += error.faults
            return
        if len(frame.points) < MIN_POINTS:
            found = f"{len(frame.points)} of {height * width:,} pixels"
            reading.nothing.append(Fault(key, "has too few pixels with a depth", found, MEASURED))
        reading.add_frame(frame, index, key)
