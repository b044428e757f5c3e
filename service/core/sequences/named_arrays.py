"""The arrays of an archive by name, with their types and shapes checked."""

from service.core.sequences.archives import Archive
from service.core.sequences.arrays import ArrayStream
from service.core.sequences.errors import SequenceError, quoted
from service.core.sequences.readers.cameras import MATRICES, NUMBERS
from service.core.sequences.reading import Reading

# key: (accepted numpy dtype kinds, description)
_KEYS = {
    "points": ("f", "float16, float32 or float64"),
    "times": ("fiu", "numbers"),
    "corresponding": ("b", "bool"),
    "frame": ("iu", "integers"),
    "lengths": ("iu", "integers"),
    "loc": ("fiu", "numbers"),
    "scale": ("fiu", "numbers"),
    "colors": ("u", "uint8, 0 to 255"),
    "normals": ("f", "float16, float32 or float64"),
    "depth": ("fiu", "numbers"),
} | dict.fromkeys((*MATRICES, *NUMBERS), ("fiu", "numbers"))
SEQUENCE_KEYS = ("points", "times", "corresponding", "frame", "lengths", "colors", "normals")
FRAME_KEYS = ("points", "loc", "scale", "colors", "normals")
DEPTH_KEYS = ("depth", "times", *MATRICES, *NUMBERS)


class NamedArrays:
    """The arrays of `archive` with valid headers.

    Others that are known or required add a fault to `reading`; so do unknown ones, unless they are ignored.
    """

    def __init__(
        self,
        archive: Archive,
        reading: Reading,
        known: tuple[str, ...],
        required: tuple[str, ...],
        *,
        ignore_unknown: bool = False,
    ) -> None:
        self._reading = reading
        self._arrays: dict[str, ArrayStream] = {}
        for name in archive.names:
            key = name.removesuffix(".npy")
            if key not in known or key == name:
                if ignore_unknown and key != "occupancies":
                    continue
                reading.fault(archive.key_of(key), "is not a recognized key", quoted(name), _hint(key, known))
                continue
            try:
                stream = ArrayStream(archive.open(name), archive.key_of(key))
            except SequenceError as error:
                reading.faults += error.faults
                continue
            kinds, description = _KEYS[key]
            if stream.dtype.kind in kinds and (key != "colors" or stream.dtype.itemsize == 1):
                self._arrays[key] = stream
            else:
                reading.fault(stream.key, "has the wrong type", stream.dtype.name, description)
        for key in required:
            if f"{key}.npy" not in archive.names:
                found = ", ".join(map(quoted, archive.names[:8])) or "no array"
                reading.fault(archive.key_of(key), "is missing", found, f"an array named {key}")

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def like(self, key: str, points: ArrayStream | None) -> ArrayStream | None:
        """The array if it has the shape of the points."""
        return self.shaped(key, points.shape) if points else None

    def shaped(self, key: str, *shapes: tuple[int | str, ...]) -> ArrayStream | None:
        """The array if it has one of the shapes (letters match any size); otherwise None and a fault."""
        stream = self._arrays.get(key)
        if stream is None:
            return None
        for shape in shapes:
            if len(shape) == len(stream.shape) and all(
                size == found or isinstance(size, str)
                for size, found in zip(shape, stream.shape, strict=True)
            ):
                return stream
        wanted = " or ".join(
            f"[{', '.join(map(str, shape))}]" if shape else "a single value" for shape in shapes
        )
        if shapes == (("T", "N", 3),):
            wanted += ", or [M, 3] with frame or lengths"
        self._reading.fault(stream.key, "has the wrong shape", str(list(stream.shape)), wanted)
        return None


def _hint(key: str, known: tuple[str, ...]) -> str:
    """What is wanted in place of an unknown key."""
    if key == "occupancies":
        return "surface points: the files of pcl_seq, not of points_seq"
    wanted = ", ".join(known)
    if key.startswith("depth") and "depth" not in known:
        return "points, or for depth images without points, depth [T, H, W] with K [3, 3]"
    if key in FRAME_KEYS and "depth" not in known:
        wanted += "; a single frame is not a sequence: send a zip of frames such as 00000017.npz"
    return wanted
