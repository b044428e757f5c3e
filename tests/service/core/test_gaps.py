"""Frames without points among others, in every form of upload: they stay in their place, and hold nothing."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from service.core.sequences.errors import SequenceError
from service.core.sequences.sequence import (
    DEFAULT_LIMITS,
    PointCloudSequence,
    ReadOptions,
    inspect_sequence,
    read_sequence,
    store_sequence,
)

POINTS = np.random.default_rng(0).normal(size=(5, 40, 3)).astype(np.float32)
GONE = 2
COLORS = np.full((40, 3), 7, np.uint8)


def npz(**arrays: Any) -> io.BytesIO:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out


def archive(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out


def ply(points: NDArray[Any], kind: str) -> bytes:
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    properties += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    head = f"ply\nformat {kind} 1.0\nelement vertex {len(points)}\n{properties}end_header\n".encode()
    if kind == "ascii":
        return head + b"".join(b"%f %f %f 7 7 7\n" % tuple(point) for point in points)
    return head + b"".join(point.astype("<f4").tobytes() + b"\7\7\7" for point in points)


def pcd(points: NDArray[Any], kind: str) -> bytes:
    head = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nPOINTS {len(points)}\nDATA {kind}\n"
    ).encode()
    if kind == "binary":
        return head + points.astype("<f4").tobytes()
    return head + b"".join(b"%f %f %f\n" % tuple(point) for point in points)


def las(points: NDArray[Any], suffix: str) -> bytes:
    header = laspy.LasHeader(point_format=0, version="1.2")
    header.scales = np.full(3, 1e-4)
    file = laspy.LasData(header)
    file.xyz = points.astype(np.float64)
    out = io.BytesIO()
    file.write(out, do_compress=suffix == "laz")
    return out.getvalue()


def npy(points: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, points)
    return out.getvalue()


def text(points: NDArray[Any], head: str = "") -> bytes:
    return (head + "".join("{:f} {:f} {:f}\n".format(*point) for point in points)).encode()


WRITERS = {
    "binary.ply": lambda points: ply(points, "binary_little_endian"),
    "ascii.ply": lambda points: ply(points, "ascii"),
    "binary.pcd": lambda points: pcd(points, "binary"),
    "ascii.pcd": lambda points: pcd(points, "ascii"),
    "las": lambda points: las(points, "las"),
    "laz": lambda points: las(points, "laz"),
    "xyz": text,
    "csv": lambda points: text(points, "x y z\n"),
    "npy": npy,
    "npz": lambda points: npz(points=points).getvalue(),
    "bin": lambda points: np.pad(points, ((0, 0), (0, 1))).astype("<f4").tobytes(),
    "obj": lambda points: b"".join(b"v %f %f %f\n" % tuple(point) for point in points),
    "off": lambda points: text(points, f"OFF\n{len(points)} 0 0\n"),
}


def check(sequence: PointCloudSequence) -> None:
    assert sequence.points_per_frame == tuple(0 if t == GONE else 40 for t in range(5))
    for t in {*range(5)} - {GONE}:
        np.testing.assert_allclose(sequence.points[t], POINTS[t], atol=1e-4)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("empty", [False, True])
def test_a_frame_may_hold_no_points(name: str, empty: bool) -> None:
    """Its file may say so, or be empty."""
    *_, suffix = name.split(".")
    write: Any = WRITERS[name]
    files = {
        f"{t}.{suffix}": b"" if t == GONE and empty else write(points[:0] if t == GONE else points)
        for t, points in enumerate(POINTS)
    }
    sequence = read_sequence(archive(files))
    check(sequence)
    assert sequence.timed is False
    info = inspect_sequence(archive(files))
    assert (info.points, info.total_points) == ((0, 40), 160)
    first = archive({name: b"" if name.startswith("0") else data for name, data in files.items()})
    assert read_sequence(first).points_per_frame == (0, 40, 0, 40, 40)


def test_a_mesh_may_have_no_faces() -> None:
    box = trimesh.creation.box()
    nothing = bytes(80) + bytes(4)
    files = {f"{t}.stl": nothing if t == GONE else box.export(file_type="stl") for t in range(5)}
    assert read_sequence(archive(files)).points_per_frame == (8192, 8192, 0, 8192, 8192)


def test_colors_are_kept_although_a_frame_has_no_points() -> None:
    files = {f"{t}.ply": b"" if t == GONE else ply(points, "ascii") for t, points in enumerate(POINTS)}
    out = io.BytesIO()
    info, kept = store_sequence(archive(files), out, DEFAULT_LIMITS)
    assert info.colors
    sequence = read_sequence(kept)
    check(sequence)
    assert sequence.colors is not None
    assert [len(colors) for colors in sequence.colors] == [40, 40, 0, 40, 40]


@pytest.mark.parametrize("corresponding", [None, True, False])
def test_rows_correspond_across_a_frame_without_points(tmp_path: Path, corresponding: bool | None) -> None:
    flag = {} if corresponding is None else {"corresponding": corresponding}
    rows = np.concatenate([*POINTS[:GONE], *POINTS[GONE + 1 :]])
    sequence = read_sequence(npz(points=rows, lengths=[40, 40, 0, 40, 40], **flag))
    check(sequence)
    assert sequence.corresponding is corresponding
    sequence.save(tmp_path / "saved.npz")
    with (tmp_path / "saved.npz").open("rb") as file:
        assert read_sequence(file).corresponding is corresponding
    unequal = npz(points=rows, lengths=[39, 41, 0, 40, 40], **flag)
    if corresponding:
        with pytest.raises(SequenceError, match="cannot be combined with frame or lengths"):
            read_sequence(unequal)
    else:
        assert read_sequence(unequal).corresponding is False


def test_a_frame_may_hold_invalid_points_alone() -> None:
    points = POINTS.copy()
    points[[0, GONE]] = np.nan
    with pytest.raises(SequenceError, match="drop_invalid"):
        read_sequence(npz(points=points))
    read = read_sequence(npz(points=points), options=ReadOptions(drop_invalid=True))
    assert [np.isfinite(cloud).all(axis=1).sum() for cloud in read.points] == [0, 40, 0, 40, 40]


def png(depth: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(depth.astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


CAMERA = {"fx": 20.0, "fy": 20.0, "cx": 7.5, "cy": 5.5}


@pytest.mark.parametrize("stored", [0, 9000])
def test_depth_images_may_show_nothing_or_only_what_is_too_far_away(stored: int) -> None:
    depth = np.full((5, 12, 16), 2000)
    depth[GONE] = stored
    camera = CAMERA | {"depth_max": 5.0}
    files = {f"{t}.png": png(image) for t, image in enumerate(depth)}
    images = archive(files | {"camera.json": json.dumps(camera).encode()})
    for upload in (npz(depth=depth.astype(np.uint16), **camera), images):
        assert read_sequence(upload).points_per_frame == (192, 192, 0, 192, 192)


def test_too_few_frames_with_points_are_refused() -> None:
    with pytest.raises(
        SequenceError, match=r"31 points in frame 0, and 3 more such.*at least 32 in 2 frames"
    ):
        read_sequence(npz(points=POINTS.reshape(-1, 3)[:164], lengths=[31, 31, 31, 31, 40]))
    files = {f"{t}.ply": ply(POINTS[t, : 40 if t else 0], "ascii") if t < 2 else b"" for t in range(5)}
    with pytest.raises(SequenceError, match=r"0 points in frame 0, and 3 more such.*at least 32 in 2 frames"):
        read_sequence(archive(files))


@pytest.mark.parametrize("zeros", [(0,), (2,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_frames_of_zeros_are_missing(zeros: tuple[int, ...], order: Any) -> None:
    """Trackers write them for what they have not found, at the beginning as well."""
    points = POINTS.copy()
    points[list(zeros)] = 0
    upload = npz(points=np.asarray(points, order=order))
    assert read_sequence(upload).points_per_frame == (40,) * 5
    assert inspect_sequence(upload).frames == 5
    files = archive({f"{t}.ply": ply(frame, "binary_little_endian") for t, frame in enumerate(points)})
    assert read_sequence(files).points_per_frame == (40,) * 5


@pytest.mark.parametrize("kept", [0, 1])
def test_frames_of_zeros_are_told_where_too_few_others_are_left(kept: int) -> None:
    points = POINTS.copy()
    points[: 5 - kept] = 0
    files = {f"{t}.ply": ply(frame, "binary_little_endian") for t, frame in enumerate(points)}
    with pytest.raises(SequenceError, match=r"^0\.ply: has a first frame without extent"):
        read_sequence(archive({name: files[name] for name in ("0.ply", "4.ply")}))
