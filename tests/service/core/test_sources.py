"""Files, folders, patterns and ROS bags, as commands and the client pack them."""

import io
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from service.core.sequences.bags import frame_of
from service.core.sequences.sequence import PointCloudSequence, read_sequence
from service.core.sequences.sources import SourceError, find_source
from service.core.sequences.times import times_of_names
from tests.service.core.readers.meshes import ply

CLOUDS: Any = np.random.default_rng(0).normal(size=(3, 40, 3)).astype(np.float32)  # [T, N, 3]
STAMPS = [1_700_000_000_000_000_000 + 50_000_000 * i for i in range(3)]


def read(*places: str | Path, topic: str | None = None) -> PointCloudSequence:
    with find_source(places).open(topic) as file:
        return read_sequence(io.BytesIO(file.read()))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, points in zip((8, 9, 10), CLOUDS, strict=True):
        (folder / f"scan{number}.ply").write_bytes(ply(points, [], "binary_little_endian"))
    (folder / "README.txt").write_text("scans")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def test_a_folder_a_pattern_and_files_are_the_same_sequence(scans: Path) -> None:
    files = sorted(scans.glob("*.ply"))  # not in the order of their numbers
    for places in ([scans], [f"{scans}/*.ply"], [f"{scans.parent}/**/*.ply"], files):
        np.testing.assert_array_equal(np.stack(read(*places).points), CLOUDS)
        source = find_source(places)
        assert (source.name, source.stem, source.folder) == ("walk", "walk", scans.parent)


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    """Of old cameras, for example, in Latin-1."""
    for number in (1, 2):
        (tmp_path / os.fsdecode(b"Ger\xe4t%d.xyz" % number)).write_text("1 2 3\n" * 40)
    source = find_source([tmp_path])
    assert [name for name, _ in source.files] == ["Gerät1.xyz", "Gerät2.xyz"]
    with source.open() as packed:
        assert zipfile.ZipFile(packed).namelist() == ["Gerät1.xyz", "Gerät2.xyz"]
    assert find_source([source.files[0][1]]).name == "Gerät1.xyz"


@pytest.mark.parametrize("numbers", [("9" * 39 + "1", "9" * 39 + "2"), ("1", "2", "9" * 200)])
def test_numbers_beyond_all_times_only_order_frames(numbers: tuple[str, ...]) -> None:
    assert times_of_names([f"f{number}.xyz" for number in numbers], None) is None


def test_one_file_is_sent_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "take.npz"
    np.savez(file, points=CLOUDS)
    source = find_source([file])
    assert (source.name, source.stem, source.folder) == ("take.npz", "take", tmp_path)
    with source.open() as opened:
        assert opened.read() == file.read_bytes()


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (["none"], "none does not exist"),
        (["*.none"], r"nothing matches \*\.none"),
        (["empty"], "empty holds no files"),
        (["empty", "a.ply"], "empty is a folder beside other sources"),
        ([], "nothing was named"),
    ],
)
def test_what_is_no_source_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("a.ply").write_text("ply")
    with pytest.raises(SourceError, match=words):
        find_source(places)


def cloud(store: Any, points: Any, stamp: int, version: int) -> Any:
    """A PointCloud2 message whose rows are padded and whose points carry a color."""
    types = store.types
    kinds: Any = {"names": ["x", "y", "z", "rgb"], "formats": ["<f4"] * 3 + ["<u4"], "itemsize": 20}
    records = np.zeros(len(points), kinds | {"offsets": [0, 4, 8, 16]})
    records["x"], records["y"], records["z"] = points.T
    records["rgb"] = 0x102030
    data = np.concatenate([np.frombuffer(records.tobytes(), np.uint8), np.zeros(12, np.uint8)])
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    sequence = {"seq": 0} if version == 1 else {}
    field = types["sensor_msgs/msg/PointField"]
    return types["sensor_msgs/msg/PointCloud2"](
        header=types["std_msgs/msg/Header"](stamp=time, frame_id="lidar", **sequence),
        height=1,
        width=len(points),
        fields=[
            field(name=name, offset=offset, datatype=kind, count=1)
            for name, offset, kind in (("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("rgb", 16, 6))
        ],
        is_bigendian=False,
        point_step=20,
        row_step=len(data),
        data=data,
        is_dense=True,
    )


@pytest.mark.parametrize("version", [1, 2])
def test_clouds_of_a_bag(tmp_path: Path, version: int) -> None:
    store = get_typestore(Stores.ROS1_NOETIC if version == 1 else Stores.ROS2_HUMBLE)
    bag = tmp_path / ("take.bag" if version == 1 else "take")
    serialize = store.serialize_ros1 if version == 1 else store.serialize_cdr
    with Writer1(bag) if version == 1 else Writer2(bag, version=9) as writer:
        for topic in ("/front", "/rear"):
            connection = writer.add_connection(topic, "sensor_msgs/msg/PointCloud2", typestore=store)
            for points, stamp in zip(CLOUDS, STAMPS, strict=True):
                message = cloud(store, points if topic == "/front" else -points, stamp, version)
                writer.write(connection, stamp + 7, serialize(message, connection.msgtype))
    sequence = read(bag, topic="/front")
    np.testing.assert_array_equal(np.stack(sequence.points), CLOUDS)
    np.testing.assert_allclose(sequence.times, [0, 0.05, 0.1], atol=1e-9)
    assert sequence.colors is not None
    assert sequence.colors[0][0].tolist() == [0x10, 0x20, 0x30]
    with pytest.raises(SourceError, match="point clouds on 2 topics; name one with --topic: /front, /rear"):
        read(bag)
    with pytest.raises(SourceError, match="no point clouds on /left"):
        read(bag, topic="/left")


def test_a_message_may_hold_no_points(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer2(tmp_path / "take", version=9) as writer:
        connection = writer.add_connection("/front", "sensor_msgs/msg/PointCloud2", typestore=store)
        for points, stamp in zip(
            [CLOUDS[0], CLOUDS[1][:0], CLOUDS[2] * np.nan, CLOUDS[0]], range(4), strict=True
        ):
            message = cloud(store, points, 10**9 + stamp * 10**8, 2)
            writer.write(connection, stamp, store.serialize_cdr(message, connection.msgtype))
    sequence = read(tmp_path / "take")
    assert sequence.points_per_frame == (len(CLOUDS[0]), 0, 0, len(CLOUDS[0]))
    assert sequence.colors is not None


def test_a_message_that_declares_more_than_it_holds_is_refused() -> None:
    message = SimpleNamespace(
        data=bytes(60), height=10**6, row_step=60, width=3, point_step=20, is_bigendian=False, fields=[]
    )
    with pytest.raises(Exception, match="declares too many items"):
        frame_of(message, "take.bag")


def test_other_files_are_not_bags(tmp_path: Path) -> None:
    (tmp_path / "a.bag").write_bytes(b"hello" * 100)
    with pytest.raises(SourceError, match=r"a\.bag cannot be read as a ROS bag"):
        read(tmp_path / "a.bag")
