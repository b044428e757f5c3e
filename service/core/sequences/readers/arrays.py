"""NPY frames, and the .bin scans of KITTI."""

import numpy as np

from service.core.sequences.arrays import ArrayStream
from service.core.sequences.readers.frame import Frame, Source, check_count, coordinates, invalid, read_whole


def read_npy(source: Source, limit: int) -> Frame:
    """Points from an array [N, 3]; of one with more columns, such as intensity, the first three."""
    stream = ArrayStream(source, source.key)
    if len(stream.shape) != 2 or stream.shape[1] < 3 or stream.dtype.kind not in "fiu":
        found = f"{stream.dtype.name} {list(stream.shape)}"
        raise invalid(source, "has the wrong type or shape", found, "numbers [N, 3]")
    check_count(source, stream.shape[0], limit)
    return Frame(coordinates(stream.read()[:, :3]))


def read_kitti(source: Source, limit: int) -> Frame:
    """Points from float32 x, y, z and reflectance, as in the velodyne folders of KITTI."""
    if source.size % 16:
        found = f"{source.size:,} bytes"
        raise invalid(source, "is not a KITTI scan", found, "16 bytes for each point: x, y, z, reflectance")
    check_count(source, source.size // 16, limit)
    return Frame(np.frombuffer(read_whole(source), "<f4").reshape(-1, 4)[:, :3].copy())
