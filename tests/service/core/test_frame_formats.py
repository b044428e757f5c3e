"""Frames in other formats than the published one."""

import io
import zipfile

import numpy as np
import pytest

from service.core.sequences.sequence import (
    Limits,
    SequenceError,
    inspect_sequence,
    pack_frames,
    read_sequence,
)

POINTS = np.random.default_rng(0).normal(size=(3, 40, 3))  # [T, N, 3]


def xyz(points: np.ndarray, columns: str = "") -> str:
    return "# x y z\n" + "".join(f"{x!r}\t{y!r} {z!r}{columns}\r\n" for x, y, z in points.tolist())


def archive(**frames: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, text in frames.items():
            target.writestr(name.replace("_", "."), text)
    return buffer


def test_xyz_frames_are_read_in_natural_order() -> None:
    upload = archive(f10_xyz=xyz(POINTS[2]), f2_xyz=xyz(POINTS[1], " 255 0 0"), f1_xyz=xyz(POINTS[0]))
    sequence = read_sequence(upload)
    np.testing.assert_array_equal(np.stack(sequence.points), POINTS)
    info = inspect_sequence(upload)
    assert (info.frames, info.points, info.dtype) == (3, 40, "float64")


def test_separate_xyz_files_and_frames_of_different_size() -> None:
    packed = io.BytesIO()
    parts = [(f"{i}.xyz", io.BytesIO(xyz(POINTS[i, : 40 - i]).encode())) for i in range(3)]
    pack_frames(parts, packed)
    sequence = read_sequence(packed)
    assert sequence.points_per_frame == (40, 39, 38)
    assert not sequence.corresponding


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 three\n" * 40, "f2.xyz: is not a table of numbers"),
        ("1 2\n" * 40, "f2.xyz: is not a table of numbers"),
        ("PK\3\4\0" * 40, "f2.xyz: is not a table of numbers"),
        ("1" * 300_000, "f2.xyz: has an overlong line"),
        ("1 2 nan\n" * 40, "f2.xyz: .*nan in frame 1, row 0, and 39 more"),
        ("1 2 3\n" * 9, "9 points in frame 1"),
        ("# none\n", "0 points in frame 1"),
    ],
)
def test_each_fault_names_its_frame(text: str, words: str) -> None:
    for read in (read_sequence, inspect_sequence):
        with pytest.raises(SequenceError, match=words) as caught:
            read(archive(f1_xyz=xyz(POINTS[0]), f2_xyz=text))
        assert caught.value.code == "invalid_sequence"


def test_formats_are_not_mixed_and_strangers_are_named() -> None:
    with pytest.raises(SequenceError, match="mixes formats"):
        read_sequence(archive(**{"00000000_npz": "x", "b_xyz": xyz(POINTS[0])}))
    with pytest.raises(SequenceError, match=r"not frames.*'film\.mp4' \(1 .xyz, 1 .mp4\).*\.xyz"):
        read_sequence(archive(a_xyz=xyz(POINTS[0]), film_mp4="hello"))


def test_the_limit_of_points_holds_before_all_are_read() -> None:
    upload = archive(a_xyz=xyz(POINTS[0]), b_xyz=xyz(np.zeros((100_000, 3))))
    with pytest.raises(SequenceError, match="found 101; wanted at most 100") as caught:
        read_sequence(upload, Limits(max_points=100))
    assert caught.value.code == "too_large"
