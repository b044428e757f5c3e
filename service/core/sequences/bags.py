"""Point clouds of ROS 1 and ROS 2 bags. Needs the extra `ros`; used on the machine of the caller alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from service.core.sequences.errors import DEFAULT_LIMITS
from service.core.sequences.readers.fields import Fields
from service.core.sequences.readers.frame import NOTHING, BytesSource, Frame, check_count
from service.core.sequences.sources import SourceError
from service.core.sequences.stores import DiskStore

CLOUD = "sensor_msgs/msg/PointCloud2"
# PointField.msg: numbers of the types
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def pack_bag(bag: Path, topic: str | None, out: BinaryIO) -> None:
    """Write the clouds of a topic as one sequence, with the times of their headers, from the first.

    The topic may be left out if there is only one with point clouds. Raises SourceError and SequenceError.
    """
    stamps: list[int] = []
    with DiskStore() as store:
        for stamp, frame in _clouds(bag, topic):
            if len(stamps) == DEFAULT_LIMITS.max_frames:
                raise SourceError(f"{bag.name} holds more than {len(stamps)} clouds; wanted at most as many")
            stamps.append(stamp)
            store.add(frame if len(frame.points) else NOTHING)
        if not stamps:
            raise SourceError(f"{bag.name} holds no clouds on this topic")
        store.write(out, (np.array(stamps) - stamps[0]) / 1e9, None)


def _clouds(bag: Path, topic: str | None) -> Iterator[tuple[int, Frame]]:
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise SourceError("ROS bags need the package rosbags: pip install 'oflow[ros]'") from None
    try:
        with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            clouds = {c.topic: c for c in reader.connections if c.msgtype == CLOUD}
            if topic is None and len(clouds) == 1:
                [topic] = clouds
            if topic not in clouds:
                found = f"no point clouds on {topic}" if topic else f"point clouds on {len(clouds)} topics"
                names = ", ".join(sorted(clouds)) or "none"
                raise SourceError(f"{bag.name} has {found}; name one with --topic: {names}")
            for connection, time, raw in reader.messages([clouds[topic]]):
                message: Any = reader.deserialize(raw, connection.msgtype)
                stamp = message.header.stamp
                yield int(stamp.sec) * 10**9 + int(stamp.nanosec) or time, frame_of(message, bag.name)
    except (AnyReaderError, OSError, ValueError) as error:
        raise SourceError(f"{bag.name} cannot be read as a ROS bag: {error}") from None


def frame_of(message: Any, name: str) -> Frame:
    """The points of a PointCloud2 message. Raises SequenceError."""
    if not message.width * message.height:
        return NOTHING
    data = bytes(message.data)
    source = BytesSource(data, name)
    order = ">" if message.is_bigendian else "<"
    fields = [field for field in message.fields if field.datatype in _TYPES]
    record = np.dtype(
        {
            "names": [f"{index} {field.name}" for index, field in enumerate(fields)],
            "formats": [order + _TYPES[field.datatype] for field in fields],
            "offsets": [field.offset for field in fields],
            "itemsize": message.point_step,
        }
    )
    check_count(source, message.height, DEFAULT_LIMITS.max_points, message.row_step, len(data))
    check_count(source, message.width, DEFAULT_LIMITS.max_points, message.point_step, message.row_step)
    rows = np.frombuffer(data, np.uint8, message.height * message.row_step).reshape(message.height, -1)
    points = np.ascontiguousarray(rows[:, : message.width * message.point_step])  # rows may be padded
    return Fields(points.reshape(-1).view(record), source).frame()
