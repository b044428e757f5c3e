"""The three upload formats are read exactly, and every refusal names its key."""

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.core.sequences.sequence import (
    Limits,
    PointCloudSequence,
    ReadOptions,
    SequenceError,
    evenly_spaced,
    inspect_sequence,
    pack_frames,
    read_sequence,
)

# A file, its clouds, its times, and whether its points correspond.
Upload = tuple[io.BytesIO, list[NDArray[Any]], NDArray[Any], bool | None]

POINTS = np.random.default_rng(0).normal(size=(5, 40, 3)).astype(np.float32)  # [T, N, 3]
ROWS = POINTS.reshape(-1, 3)  # [M, 3]
FRAME = np.repeat(np.arange(5), 40)


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer


def frames_zip(frames: dict[str, dict[str, Any]], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, arrays in frames.items():
            archive.writestr(name, npz(**arrays).getvalue())
    return buffer


def published(index: int, count: int = 40, **changes: Any) -> dict[str, Any]:
    """A frame in the published layout: float16 points in their own box, float16 loc, float64 scale."""
    points = (POINTS[index % 5, :count] / 4).astype(np.float16)
    arrays = {
        "points": points,
        "loc": np.array([index, 0.5, -1], np.float16),
        "scale": np.float64(1.5 + index),
    } | changes
    return {key: value for key, value in arrays.items() if value is not None}


def with_value(points: NDArray[Any], place: tuple[int | slice, ...], value: float) -> NDArray[Any]:
    points = points.copy()
    points[place] = value
    return points


def test_dense_points_with_times_and_flag() -> None:
    times = np.array([0, 0.5, 2, 3, 10])
    upload = npz(points=POINTS, times=times, corresponding=np.bool_(False))
    info = inspect_sequence(upload)
    assert (info.frames, info.points, info.total_points, info.corresponding) == (5, 40, 200, False)
    assert (info.dtype, info.bytes) == ("float32", len(upload.getvalue()))
    sequence = read_sequence(upload)
    assert np.array_equal(np.stack(sequence.points), POINTS)
    assert np.array_equal(sequence.times, times)
    assert not sequence.corresponding
    assert sequence.points_per_frame == (40,) * 5


def test_whether_rows_correspond_may_be_left_open() -> None:
    sequence = read_sequence(npz(points=POINTS))
    assert sequence.corresponding is None
    assert np.array_equal(sequence.times, [0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_orders_and_packing(save: Callable[..., None], dtype: Any, order: Literal["C", "F"]) -> None:
    stored = POINTS.astype(dtype, order=order)
    sequence = read_sequence(npz(save, points=stored))
    expected = np.float64 if dtype.endswith("8") else np.float32
    assert {cloud.dtype for cloud in sequence.points} == {np.dtype(expected)}
    assert np.array_equal(np.stack(sequence.points), stored.astype(expected))
    sizes = [32, 33, 50, 40, 45]
    ragged = read_sequence(npz(save, points=stored.reshape(-1, 3).astype(dtype, order=order), lengths=sizes))
    assert np.array_equal(np.concatenate(ragged.points), stored.reshape(-1, 3).astype(expected))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_header_versions(version: tuple[int, int]) -> None:
    entry, upload = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(entry, POINTS, version=version)
    with zipfile.ZipFile(upload, "w") as archive:
        archive.writestr("points.npy", entry.getvalue())
    assert np.array_equal(np.stack(read_sequence(upload).points), POINTS)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, ">i4"])
def test_ragged_by_frame_or_lengths(dtype: Any) -> None:
    sizes = [32, 48, 40, 33, 47]
    times = np.arange(5, dtype=np.int32)
    for key, value in (("frame", np.repeat(np.arange(5), sizes)), ("lengths", np.array(sizes))):
        upload = npz(points=ROWS, times=times, **dict[str, Any]({key: value.astype(dtype)}))
        info = inspect_sequence(upload)
        assert (info.points, info.total_points, info.corresponding) == ((32, 48), 200, False)
        sequence = read_sequence(upload)
        assert sequence.points_per_frame == tuple(sizes)
        assert np.array_equal(np.concatenate(sequence.points), ROWS)
    assert not read_sequence(npz(points=ROWS, frame=FRAME)).corresponding, "frames of one size, yet ragged"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_published_frames_are_ordered_and_placed_in_the_world(compression: int) -> None:
    upload = frames_zip({f"{index + 80:08d}.npz": published(index) for index in (2, 0, 1)}, compression)
    assert inspect_sequence(upload).dtype == "float16"
    sequence = read_sequence(upload)
    assert sequence.corresponding is None
    for index, cloud in enumerate(sequence.points):
        frame = published(index)
        assert np.array_equal(
            cloud, frame["loc"].astype(float) + frame["scale"] * frame["points"].astype(float)
        )


def test_published_frames_far_from_the_origin_keep_their_detail() -> None:
    far = np.array([5e6, 0, 0])
    sequence = read_sequence(frames_zip({f"{i:08d}.npz": published(i, loc=far, scale=1.0) for i in range(2)}))
    assert np.allclose(sequence.points[0] - far, published(0)["points"].astype(float), atol=1e-8)


def test_published_frames_of_different_size_do_not_correspond() -> None:
    upload = frames_zip({f"{index:08d}.npz": published(index, 40 - index) for index in range(3)})
    assert inspect_sequence(upload).points == (38, 40)
    assert read_sequence(upload).corresponding is False


def test_separate_frame_files_are_packed() -> None:
    parts = {f"{index:08d}.npz": published(index) for index in range(3)}
    out, again = io.BytesIO(), io.BytesIO()
    for target in (out, again):
        pack_frames(((name, npz(**arrays)) for name, arrays in parts.items()), target)
    assert out.getvalue() == again.getvalue()
    one, other = read_sequence(out), read_sequence(frames_zip(parts))
    assert np.array_equal(np.stack(one.points), np.stack(other.points))


@pytest.mark.parametrize(
    ("names", "limits", "code", "message"),
    [
        ([""], Limits(), "invalid_sequence", "has a file without a name"),
        (["00000001.npz"] * 2, Limits(), "invalid_sequence", "has two files of one name"),
        (["00000001.npz", "00000002.npz"], Limits(max_bytes=1500), "too_large", "is too large"),
        ([f"{i}.npz" for i in range(69)], Limits(max_frames=1), "too_large", "is too large"),
    ],
)
def test_invalid_frame_files_are_refused(names: list[str], limits: Limits, code: str, message: str) -> None:
    with pytest.raises(SequenceError) as caught:
        pack_frames([(name, npz(**published(0))) for name in names], io.BytesIO(), limits)
    assert (caught.value.code, caught.value.faults[0].message) == (code, message)


FRAMES = {"00000000.npz": published(0), "00000001.npz": published(1)}
STRUCTURED = np.zeros((5, 40), dtype=[("x", "f4")])
REFUSALS = {
    # upload, key, message, found
    "no points": (npz(times=np.arange(3.0)), "points", "is missing", "'times.npy'"),
    "empty archive": (npz(), "points", "is missing", "no array"),
    "unknown key": (npz(points=POINTS, color=POINTS), "color", "is not a recognized key", "'color.npy'"),
    "one published frame": (npz(**published(0)), "loc", "is not a recognized key", "'loc.npy'"),
    "rank": (npz(points=POINTS[0]), "points", "has the wrong shape", "[40, 3]"),
    "two coordinates": (npz(points=POINTS[..., :2]), "points", "has the wrong shape", "[5, 40, 2]"),
    "integers": (npz(points=POINTS.astype(int)), "points", "has the wrong type", "int64"),
    "complex": (npz(points=POINTS * 1j), "points", "has an unsupported type", "type '<c8'"),
    "text": (npz(points=np.array(["a"])), "points", "has an unsupported type", "type '<U1'"),
    "objects": (npz(points=np.array([None])), "points", "has an unsupported type", "Python objects"),
    "structured": (npz(points=STRUCTURED), "points", "has an unsupported type", "a structured type"),
    "NaN": (
        npz(points=with_value(POINTS, (3, 7, 1), np.nan)),
        "points",
        "contains an invalid coordinate",
        "nan in frame 3, row 7",
    ),
    "infinities in Fortran order": (
        npz(points=np.asfortranarray(with_value(POINTS, (slice(2, 4), 9), -np.inf))),
        "points",
        "contains an invalid coordinate",
        "-inf in frame 2, row 9, and 5 more",
    ),
    "NaN in a ragged frame": (
        npz(points=with_value(ROWS, (45, 2), np.nan), lengths=[40, 160]),
        "points",
        "contains an invalid coordinate",
        "nan in frame 1, row 5",
    ),
    "too large for float32": (
        npz(points=with_value(POINTS.astype(float), (0, 0, 0), 1e300)),
        "points",
        "contains an invalid coordinate",
        "1e+300 in frame 0, row 0",
    ),
    "one frame": (npz(points=POINTS[:1]), "points", "has too few frames", "1 frame"),
    "no frame": (npz(points=POINTS[:0]), "points", "has too few frames", "0 frames"),
    "31 points": (
        npz(points=POINTS[:, :31]),
        "points",
        "has too few points",
        "31 points in frame 0, and 4 more",
    ),
    "no points in frames": (npz(points=POINTS[:, :0]), "points", "has too few points", "0 points in frame 0"),
    "31 points in all frames but one": (
        npz(points=ROWS, lengths=[138, 31, 31]),
        "points",
        "has too few points",
        "31 points in frame 1, and 1 more such frames",
    ),
    "all in one place": (
        npz(points=POINTS * 0 + 3),
        "points",
        "has a first frame without extent",
        "a longest side of 0",
    ),
    "lost in rounding": (
        npz(points=POINTS + np.float32(1e6)),
        "points",
        "has too little precision for its first frame",
        "a longest side of",
    ),
    "times fall": (
        npz(points=POINTS, times=[0, 1, 1, 2, 3.0]),
        "times",
        "is not strictly increasing",
        "1.0 after 1.0 at frame 2",
    ),
    "times too close for a motion between them": (
        npz(points=POINTS, times=[0, 1e-20, 1, 2, 3.0]),
        "times",
        "has times too close together",
        "1e-20 after 0.0 at frame 1",
    ),
    "times of day that fall": (
        npz(points=POINTS, times=1.7e9 + np.array([0, 0.5, 0.25, 1, 2])),
        "times",
        "is not strictly increasing",
        "1700000000.25 after 1700000000.5 at frame 2",
    ),
    "times infinite": (
        npz(points=POINTS, times=[0, 1, 2, 3, np.inf]),
        "times",
        "contains an invalid value",
        "inf at frame 4",
    ),
    "times of another length": (
        npz(points=POINTS, times=np.arange(4.0)),
        "times",
        "has the wrong shape",
        "[4]",
    ),
    "times bool": (npz(points=POINTS, times=np.ones(5, bool)), "times", "has the wrong type", "bool"),
    "flag a number": (npz(points=POINTS, corresponding=1), "corresponding", "has the wrong type", "int64"),
    "flag an array": (
        npz(points=POINTS, corresponding=np.ones(5, bool)),
        "corresponding",
        "has the wrong shape",
        "[5]",
    ),
    "flag on ragged": (
        npz(points=ROWS, frame=FRAME, corresponding=True),
        "corresponding",
        "cannot be combined with frame or lengths",
        "True",
    ),
    "frame and lengths": (
        npz(points=ROWS, frame=FRAME, lengths=[40] * 5),
        "frame",
        "cannot be combined with lengths",
        "both",
    ),
    "frame unsorted": (
        npz(points=ROWS, frame=FRAME[::-1]),
        "frame",
        "is not in order",
        "frame 3 after 4 in row 40",
    ),
    "frame falls": (
        npz(points=ROWS, frame=np.r_[FRAME[:-1], 0]),
        "frame",
        "is not in order",
        "frame 0 after 4 in row 199",
    ),
    "frame too short": (npz(points=ROWS, frame=FRAME[1:]), "frame", "has the wrong shape", "[199]"),
    "frame of floats": (npz(points=ROWS, frame=FRAME * 1.0), "frame", "has the wrong type", "float64"),
    "lengths short": (
        npz(points=ROWS, lengths=[40, 40]),
        "lengths",
        "do not add up to the number of points",
        "80",
    ),
    "lengths negative": (
        npz(points=ROWS, lengths=[240, -40]),
        "lengths",
        "contains a negative number",
        "-40 at frame 1",
    ),
    "occupancies": (
        frames_zip(
            {"00000000.npz": published(0, occupancies=np.zeros(5, np.uint8)), "00000001.npz": published(1)}
        ),
        "00000000.npz:occupancies",
        "is not a recognized key",
        "'occupancies.npy'",
    ),
    "frame without loc": (
        frames_zip(FRAMES | {"00000002.npz": published(0, loc=None)}),
        "00000002.npz:loc",
        "is missing",
        "'points.npy', 'scale.npy'",
    ),
    "loc of two": (
        frames_zip(FRAMES | {"00000002.npz": published(0, loc=np.zeros(2))}),
        "00000002.npz:loc",
        "has the wrong shape",
        "[2]",
    ),
    "loc NaN": (
        frames_zip(FRAMES | {"00000002.npz": published(0, loc=np.array([0, np.nan, 0]))}),
        "00000002.npz:loc",
        "is not a valid position",
        "[ 0. nan  0.]",
    ),
    "scale 0": (
        frames_zip(FRAMES | {"00000002.npz": published(0, scale=0.0)}),
        "00000002.npz:scale",
        "is not a valid scale",
        "0",
    ),
    "NaN in a frame": (
        frames_zip(FRAMES | {"00000002.npz": published(0, points=with_value(POINTS[0], (4, 0), np.nan))}),
        "00000002.npz:points",
        "contains an invalid coordinate",
        "nan in frame 2, row 4",
    ),
    "placed too far out": (
        frames_zip(FRAMES | {"00000002.npz": published(0, points=POINTS[0] * 1e10, scale=1e10)}),
        "00000002.npz:points",
        "is out of range after applying loc and scale",
        "2.",
    ),
    "placed where float64 ends": (
        frames_zip({name: published(0, loc=np.array([1e17, 0, 0])) for name in FRAMES}),
        "00000000.npz:points",
        "has too little precision for its first frame",
        "a longest side of",
    ),
    "one frame in the zip": (
        frames_zip({"00000000.npz": published(0)}),
        "points",
        "has too few frames",
        "1 frame",
    ),
    "a frame of rank 3": (
        frames_zip(FRAMES | {"00000002.npz": published(0, points=POINTS)}),
        "00000002.npz:points",
        "has the wrong shape",
        "[5, 40, 3]",
    ),
    "other names": (
        frames_zip(FRAMES | {"clip.mp4": published(0)}),
        "file",
        "contains files that are not frames",
        "'clip.mp4'",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case: str) -> None:
    upload, key, message, found = REFUSALS[case]
    errors = []
    for reader in (inspect_sequence, read_sequence):
        with pytest.raises(SequenceError) as caught:
            reader(upload)
        errors.append(caught.value)
    fault = errors[0].faults[0]
    assert errors[0].code == "invalid_sequence"
    assert (fault.key, fault.message, fault.found[: len(found)]) == (key, message, found)
    assert fault.wanted
    assert errors[0].faults == errors[1].faults


def test_hints_for_files_of_the_published_data_set() -> None:
    with pytest.raises(SequenceError, match="pcl_seq, not of points_seq"):
        inspect_sequence(frames_zip({"00000000.npz": published(0, occupancies=np.zeros(5, np.uint8))}))
    with pytest.raises(SequenceError, match=r"send a zip of frames such as 00000017\.npz"):
        inspect_sequence(npz(**published(0)))


def test_all_faults_are_reported_at_once() -> None:
    upload = npz(points=POINTS[:, :20] * np.nan, times=[3, 2, 1.0], corresponding=7, name=np.zeros(3))
    with pytest.raises(SequenceError) as caught:
        inspect_sequence(upload)
    assert [fault.key for fault in caught.value.faults] == [
        "corresponding",
        "name",
        "points",
        "times",
        "points",
    ]
    assert len(str(caught.value).splitlines()) == 5


def test_faults_of_many_frames_are_truncated() -> None:
    upload = frames_zip({f"{index:08d}.npz": published(index, scale=0.0) for index in range(50)})
    with pytest.raises(SequenceError) as caught:
        inspect_sequence(upload)
    assert len(caught.value.faults) == 21
    assert caught.value.faults[-1].message == "has further errors that are not listed"


@pytest.mark.parametrize(
    ("upload", "limits", "key", "message"),
    [
        (npz(points=POINTS), Limits(max_frames=4), "points", "has too many frames"),
        (npz(points=np.zeros((10**9, 0, 3))), Limits(), "points", "has too many frames"),
        (npz(points=ROWS, frame=FRAME), Limits(max_frames=4), "frame", "has too many frames"),
        (npz(points=ROWS, lengths=[40] * 5), Limits(max_frames=4), "lengths", "has too many frames"),
        (npz(points=ROWS, times=np.arange(2000.0)), Limits(), "times", "has too many frames"),
        (npz(points=POINTS), Limits(max_points=199), "points", "has too many points in total"),
        (
            npz(points=ROWS, frame=FRAME),
            Limits(max_points=199),
            "points",
            "has too many points in total",
        ),
        (frames_zip(FRAMES), Limits(max_points=79), "file", "has too many points in total"),
        (
            frames_zip({f"{i:08d}.npz": {} for i in range(9)}),
            Limits(max_frames=8),
            "file",
            "has too many frames",
        ),
        (
            frames_zip({f"{i:08d}.npz": {} for i in range(6)}),
            Limits(max_frames=5),
            "file",
            "has too many frames",
        ),
    ],
)
def test_limits(upload: io.BytesIO, limits: Limits, key: str, message: str) -> None:
    for reader in (inspect_sequence, read_sequence):
        with pytest.raises(SequenceError) as caught:
            reader(upload, limits)
        assert caught.value.code == "too_large"
        assert (caught.value.faults[0].key, caught.value.faults[0].message) == (key, message)


def test_fortran_order_is_checked_across_chunks() -> None:
    points = np.zeros((2, 32_768, 3), np.float32, order="F")  # a coordinate lies 65,536 values after another
    points[..., 2] = np.arange(32_768)
    assert inspect_sequence(npz(points=points)).total_points == 65_536, "all of the extent is in z"
    points[0, 3, 0] = points[1, 32_767, 2] = np.nan
    with pytest.raises(SequenceError, match="nan in frame 0, row 3, and 1 more"):
        inspect_sequence(npz(points=points))


DROPPING = ReadOptions(drop_invalid=True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_invalid_points_are_read_as_nan_where_they_are_to_be_left_out(order: Any) -> None:
    points = np.array(POINTS, order=order)
    points[0, 3], points[2, 7, 1], points[4, 8, 2], points[4, 9, 0] = np.nan, np.inf, -np.inf, 1e30
    for upload in (npz(points=points), npz(points=points.reshape(-1, 3), lengths=[40] * 5)):
        with pytest.raises(SequenceError, match=r"nan in frame 0, row 3, and 5 more; .*cleanup drop_invalid"):
            read_sequence(upload)
        assert inspect_sequence(upload, options=DROPPING).points == 40
        read = np.stack(read_sequence(upload, options=DROPPING).points)
        gone = np.zeros((5, 40), bool)
        gone[[0, 2, 4, 4], [3, 7, 8, 9]] = True
        np.testing.assert_array_equal(read[~gone], POINTS[~gone])
        np.testing.assert_array_equal(np.isfinite(read).all(axis=2), ~gone)


def test_two_frames_need_enough_valid_points() -> None:
    points = POINTS[:3].copy()
    points[0, :24] = points[1, :25, 0] = points[2, 2:27, 2] = np.nan  # 16, 15 and 15 are left
    for upload in (npz(points=points), frames_zip({f"{i}.npz": {"points": c} for i, c in enumerate(points)})):
        with pytest.raises(SequenceError) as caught:
            inspect_sequence(upload, options=DROPPING)
        (fault,) = caught.value.faults
        assert fault.message == "has too few valid points"
        assert fault.found == "15 valid points of 40 in frame 1, and 1 more such frames"
        assert fault.wanted == "at least 16 in 2 frames or more"
    assert inspect_sequence(npz(points=[POINTS[3], *points]), options=DROPPING).frames == 4
    unequal = npz(points=points.reshape(-1, 3)[:-1], lengths=[40, 40, 39])  # no rows could fill the gaps
    with pytest.raises(SequenceError, match=r"16 valid points of 40 in frame 0, and 2 more .*at least 32"):
        inspect_sequence(unequal, options=DROPPING)


def test_forged_shape_in_a_tiny_file_is_refused() -> None:
    entry = (
        b"\x93NUMPY\1\0\x46\0{'descr':'<f8','fortran_order':False,'shape':(10000,10000,3)}".ljust(79) + b"\n"
    )
    upload = io.BytesIO()
    with zipfile.ZipFile(upload, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", entry)
    assert len(upload.getvalue()) < 250
    with pytest.raises(SequenceError) as caught:
        read_sequence(upload)
    fault = caught.value.faults[0]
    assert (fault.key, fault.message) == ("points", "has a shape that does not match its data")
    assert fault.found.startswith("2,400,000,080 bytes")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "has an invalid header"),
        (b"{'descr': '<f4', 'fortran_order': False}", "has an invalid header"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 40, -3)}", "has an invalid header"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 40, 3)}", "has an invalid header"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': [2, 40, 3]}", "has an invalid header"),
        (b"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 40, 3)}", "has an invalid header"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9, 40, 3)}", "has an invalid header"),
        (
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,)}" % (b"9" * 999),
            "has an invalid header",
        ),
        (b"{[]: '<f4', 'fortran_order': False, 'shape': (2, 40, 3)}", "has an invalid header"),
        (b"__import__('os').system('true')", "has an invalid header"),
        (b"(" * 3000, "has an invalid header"),
        (b" " * 11_000, "has an oversized header"),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 40, 3)}", "has an unsupported type"),
        (b"{'descr': '<f16', 'fortran_order': False, 'shape': (2, 40, 3)}", "has an unsupported type"),
    ],
)
def test_hostile_headers(header: bytes, message: str) -> None:
    upload = io.BytesIO()
    with zipfile.ZipFile(upload, "w") as archive:
        archive.writestr(
            "points.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(960)
        )
    with pytest.raises(SequenceError) as caught:
        inspect_sequence(upload)
    assert [fault.message for fault in caught.value.faults] == [message]


def test_invalid_arrays_in_an_archive_are_refused() -> None:
    for entry in (b"", b"hello", b"\x93NUMPY\4\0", b"\x93NUMPY\1\0\xff\x0f"):
        upload = io.BytesIO()
        with zipfile.ZipFile(upload, "w") as archive:
            archive.writestr("points.npy", entry)
        with pytest.raises(SequenceError, match=r"points: (is not a numpy array|has an incomplete header)"):
            inspect_sequence(upload)


def test_large_offsets_need_float64() -> None:
    far = POINTS.astype(np.float64) + 1e6
    assert np.array_equal(np.stack(read_sequence(npz(points=far)).points), far)
    wide = (POINTS * 100 + np.float32(1e6)).astype(np.float32)
    assert inspect_sequence(npz(points=wide)).frames == 5, (
        "hundreds of units across, float32 still resolves it"
    )


def sequence(
    points: Sequence[NDArray[Any]] | NDArray[Any] = POINTS,
    times: NDArray[Any] | None = None,
    corresponding: bool | None = True,
) -> PointCloudSequence:
    return PointCloudSequence(
        tuple(points), evenly_spaced(len(points)) if times is None else times, corresponding
    )


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        ({"points": POINTS.astype(int)}, "points", "has a frame of the wrong type or shape"),
        ({"points": POINTS[..., :2]}, "points", "has a frame of the wrong type or shape"),
        ({"points": POINTS[:1]}, "points", "has too few frames"),
        ({"points": ()}, "points", "has too few frames"),
        ({"points": POINTS[:, :9]}, "points", "has too few points"),
        ({"points": POINTS * 0}, "points", "has a first frame without extent"),
        (
            {"points": with_value(POINTS, (2, 3, 0), np.nan)},
            "points",
            "contains an invalid coordinate",
        ),
        ({"points": (POINTS[0], POINTS[1, :35])}, "corresponding", "requires frames of equal size"),
        ({"times": np.arange(4.0)}, "times", "has the wrong shape"),
        ({"times": np.zeros(5)}, "times", "is not strictly increasing"),
    ],
)
def test_the_type_is_validated_on_construction(arguments: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(SequenceError) as caught:
        sequence(**arguments)
    assert (caught.value.faults[0].key, caught.value.faults[0].message) == (key, message)


def test_saving_is_exact_and_deterministic(tmp_path: Path) -> None:
    for saved in (
        sequence(),
        sequence(corresponding=None),
        sequence(POINTS.astype(np.float64) + 1e6, times=np.arange(5.0), corresponding=False),
        sequence([POINTS[0], POINTS[1, :35]], corresponding=False),
    ):
        path, buffer = tmp_path / "clip.npz", io.BytesIO()
        saved.save(path)
        saved.save(buffer)
        assert path.read_bytes() == buffer.getvalue()
        again = read_sequence(buffer)
        assert (again.points_per_frame, again.corresponding) == (saved.points_per_frame, saved.corresponding)
        assert np.array_equal(again.times, saved.times)
        for one, other in zip(again.points, saved.points, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


@st.composite
def uploads(draw: st.DrawFn) -> Upload:
    """A valid upload in any format, with the expected point clouds."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    form = draw(st.sampled_from(["one", "frame", "lengths", "frames"]))
    frames = draw(st.integers(2, 6))
    sizes = [draw(st.integers(32, 90)) for _ in range(frames)]
    if form == "one":
        sizes = sizes[:1] * frames
    dtype = draw(st.sampled_from(["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]))
    order: Literal["C", "F"] = draw(st.sampled_from(["C", "F"]))
    clouds = [random.normal(size=(size, 3)).astype(dtype) for size in sizes]
    save = draw(st.sampled_from([np.savez, np.savez_compressed]))
    arrays: dict[str, Any] = {}
    if form == "frames":
        places = [(random.normal(size=3), random.uniform(0.1, 9)) for _ in clouds]
        parts = [
            (f"{index:08d}.npz", npz(save, points=cloud.astype(dtype, order=order), loc=loc, scale=scale))
            for index, (cloud, (loc, scale)) in enumerate(zip(clouds, places, strict=True))
        ]
        upload = io.BytesIO()
        pack_frames(draw(st.permutations(parts)), upload)
        clouds = [
            loc + scale * cloud.astype(float) for cloud, (loc, scale) in zip(clouds, places, strict=True)
        ]
        return upload, clouds, evenly_spaced(frames), None if len(set(sizes)) == 1 else False
    times, corresponding = evenly_spaced(frames), None if form == "one" else False
    if draw(st.booleans()):
        times = np.cumsum(random.uniform(0.1, 2, frames))
        arrays["times"] = times
    if form == "one" and draw(st.booleans()):
        corresponding = draw(st.booleans())
        arrays["corresponding"] = np.bool_(corresponding)
    arrays["points"] = (np.stack if form == "one" else np.concatenate)(clouds).astype(dtype, order=order)
    if form == "frame":
        arrays["frame"] = np.repeat(np.arange(frames), sizes).astype(
            draw(st.sampled_from(["u1", "<i8", ">u4"]))
        )
    if form == "lengths":
        arrays["lengths"] = np.array(sizes, draw(st.sampled_from(["u1", "<i8", ">u4"])))
    return npz(save, **dict(draw(st.permutations(list(arrays.items()))))), clouds, times, corresponding


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(uploads())
def test_inspect_and_read_agree_on_valid_uploads(drawn: Upload) -> None:
    upload, clouds, times, corresponding = drawn
    info, read = inspect_sequence(upload), read_sequence(upload)
    sizes = tuple(len(cloud) for cloud in clouds)
    assert read.points_per_frame == sizes
    assert (info.frames, info.total_points) == (read.frames, sum(sizes))
    assert info.points == (sizes[0] if len(set(sizes)) == 1 else (min(sizes), max(sizes)))
    assert info.corresponding == read.corresponding == corresponding
    assert np.array_equal(read.times, times)
    for one, other in zip(read.points, clouds, strict=True):
        assert np.array_equal(one, other)
