"""Uploads of every form become one stored form, with the colors and normals of their points."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from service.core.sequences.read_options import DEFAULT_OPTIONS
from service.core.sequences.sequence import (
    DEFAULT_LIMITS,
    PointCloudSequence,
    ReadOptions,
    Sample,
    SequenceError,
    inspect_sequence,
    pack_frames,
    read_sequence,
    store_sequence,
)
from tests.service.core.readers.meshes import ball, ply

RNG = np.random.default_rng(0)


def cloud(count: int, colored: bool = True) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A PLY file, its points and its colors."""
    kinds: Any = [("p", "<f4", 3), ("c", "u1", 3), ("n", "<f4", 3)]
    rows = np.zeros(count, kinds)
    rows["p"], rows["c"], rows["n"] = RNG.normal(size=(count, 3)), RNG.integers(0, 256, (count, 3)), [0, 0, 1]
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += "".join(f"property uchar {name}\n" for name in (("red", "green", "blue") if colored else "abc"))
    header += "".join(f"property float n{axis}\n" for axis in "xyz")
    return header.encode() + b"end_header\n" + rows.tobytes(), rows["p"], rows["c"]


def packed(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    pack_frames([(name, io.BytesIO(data)) for name, data in files.items()], out)
    return out


def stored(upload: io.BytesIO, options: ReadOptions = DEFAULT_OPTIONS) -> PointCloudSequence:
    """What the worker reads of an upload; the same as if it had read the upload itself."""
    info, kept = store_sequence(upload, io.BytesIO(), DEFAULT_LIMITS, options)
    sequence = read_sequence(kept, DEFAULT_LIMITS.stored)
    direct = read_sequence(upload, options=options)
    for name in ("points", "colors", "normals"):
        ours, theirs = getattr(sequence, name), getattr(direct, name)
        assert (ours is None) == (theirs is None)
        for a, b in zip(ours or (), theirs or (), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(sequence.times, direct.times)
    assert inspect_sequence(upload, options=options) == info
    return sequence


@pytest.mark.parametrize("counts", [(40, 40, 40), (40, 50, 60)])
def test_colors_and_normals_reach_the_worker(counts: tuple[int, ...]) -> None:
    frames = [cloud(count) for count in counts]
    sequence = stored(packed({f"f{i}.ply": data for i, (data, _, _) in enumerate(frames)}))
    assert sequence.points_per_frame == counts
    assert sequence.colors is not None
    assert sequence.normals is not None
    for index, (_, points, colors) in enumerate(frames):
        np.testing.assert_array_equal(sequence.points[index], points)
        np.testing.assert_array_equal(sequence.colors[index], colors)
    assert sequence.normals[0].tolist() == [[0, 0, 1]] * counts[0]


def test_colors_are_dropped_unless_all_frames_have_them() -> None:
    upload = packed({"0.ply": cloud(40)[0], "1.ply": cloud(40, colored=False)[0]})
    sequence = stored(upload)
    assert sequence.colors is None
    assert sequence.normals is not None


def test_frames_of_several_precisions_keep_the_finer_one() -> None:
    near, far = np.zeros((2, 40, 3)) + RNG.normal(size=(40, 3))
    near, far = near.astype(np.float32), far + 5.4e6
    files = {}
    for name, points in (("0.npy", near), ("1.npy", far)):
        file = io.BytesIO()
        np.save(file, points)
        files[name] = file.getvalue()
    info, kept = store_sequence(packed(files), io.BytesIO(), DEFAULT_LIMITS)
    sequence = read_sequence(kept)
    assert info.dtype == "float64"
    np.testing.assert_array_equal(sequence.points[0], near)
    np.testing.assert_array_equal(sequence.points[1], far)


def test_the_archive_of_a_sequence_is_kept_as_it_is() -> None:
    upload = io.BytesIO()
    points = RNG.normal(size=(3, 40, 3)).astype(np.float32)
    colors = RNG.integers(0, 256, (3, 40, 3), np.uint8)
    np.savez(upload, points=points, colors=colors, normals=points)
    _, kept = store_sequence(upload, io.BytesIO(), DEFAULT_LIMITS)
    assert kept is upload
    sequence = read_sequence(upload)
    assert sequence.colors is not None
    np.testing.assert_array_equal(np.stack(sequence.colors), colors)
    again = io.BytesIO()
    sequence.save(again)
    copy = read_sequence(again)
    assert copy.colors is not None
    assert copy.normals is not None
    np.testing.assert_array_equal(np.stack(copy.colors), colors)
    np.testing.assert_array_equal(np.stack(copy.normals), points)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"colors": np.zeros((3, 40, 3))}, "colors: has the wrong type .*float64; wanted uint8"),
        ({"colors": np.zeros((3, 39, 3), np.uint8)}, r"colors: has the wrong shape .*\[3, 39, 3\]"),
        ({"normals": np.full((3, 40, 3), np.nan)}, "normals: contains an invalid value"),
    ],
)
def test_what_does_not_fit_the_points_is_refused(arrays: dict[str, Any], words: str) -> None:
    upload = io.BytesIO()
    np.savez(upload, points=RNG.normal(size=(3, 40, 3)), **arrays)
    for read in (inspect_sequence, read_sequence):
        with pytest.raises(SequenceError, match=words):
            read(upload)


def test_stored_sequences_are_reproducible() -> None:
    upload = packed({f"{i}.ply": cloud(40)[0] for i in range(2)})
    first, second = (store_sequence(upload, io.BytesIO(), DEFAULT_LIMITS)[1] for _ in range(2))
    first.seek(0)
    second.seek(0)
    assert first.read() == second.read()
    assert zipfile.ZipFile(first).namelist() == ["points.npy", "colors.npy", "normals.npy"]


def test_points_of_meshes_lie_on_the_surface_and_follow_it() -> None:
    vertices, polygons = ball()
    files = {
        f"{t}.ply": ply(vertices + np.array([0.5 * t, 0, 0]), polygons, "binary_little_endian")
        for t in range(3)
    }
    sequence = stored(packed(files))
    assert sequence.points_per_frame == (8192,) * 3
    np.testing.assert_allclose(sequence.points[2] - sequence.points[0], [[1, 0, 0]] * 8192, atol=1e-6)
    relative = (sequence.points[0] - [0, 0.9, 0]) / [0.3, 0.9, 0.25]
    lengths = np.linalg.norm(relative, axis=1)
    assert 0.9 < lengths.min() < lengths.max() < 1.0001  # between the flat faces and the round egg
    upper = (sequence.points[0][:, 1] > 0.9).mean()
    assert abs(upper - 0.5) < 0.01  # evenly spread
    only = stored(packed(files), ReadOptions(sample=Sample.VERTICES))
    np.testing.assert_allclose(only.points[0], vertices, atol=1e-6)
