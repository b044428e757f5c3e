"""PLY in all its kinds, with colors, normals and whatever else writers put into it."""

import struct

import numpy as np
import pytest

from service.core.sequences.errors import SequenceError
from service.core.sequences.readers.frame import BytesSource, Frame
from service.core.sequences.readers.ply import read_ply
from tests.service.core.readers.meshes import ball, ply, triangles

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(40, 3)).astype(np.float32)
COLORS = RNG.integers(0, 256, (40, 3), np.uint8)
NORMALS = RNG.normal(size=(40, 3)).astype(np.float32)
KINDS = ("ascii", "binary_little_endian", "binary_big_endian")


def read(data: bytes, limit: int = 1000) -> Frame:
    return read_ply(BytesSource(data, "a.ply"), limit)


def scan(kind: str, newline: str = "\n") -> bytes:
    """A cloud as scanners write it: with quality and camera elements around and between what is wanted."""
    header = (
        f"ply\nformat {kind} 1.0\ncomment made by a scanner\nobj_info none\nelement camera 1\n"
        "property double view_px\nproperty list uchar short flags\nelement vertex 40\n"
        + "".join(f"property float32 {axis}\n" for axis in "xyz")
        + "".join(f"property uchar {name}\n" for name in ("red", "green", "blue", "alpha"))
        + "".join(f"property float n{axis}\n" for axis in "xyz")
        + "property ushort quality\nend_header\n"
    ).replace("\n", newline)
    if kind == "ascii":
        rows = ["1.5 2 7 -8"]
        for point, color, normal in zip(POINTS.tolist(), COLORS.tolist(), NORMALS.tolist(), strict=True):
            rows.append(" ".join(map(str, [*point, *color, 255, *normal, 9])))
        return (header + newline.join(rows) + newline).encode()
    order = "<" if "little" in kind else ">"
    data = struct.pack(order + "dB2h", 1.5, 2, 7, -8)
    for point, color, normal in zip(POINTS.tolist(), COLORS.tolist(), NORMALS.tolist(), strict=True):
        data += struct.pack(order + "3f4B3fH", *point, *color, 255, *normal, 9)
    return header.encode() + data


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", KINDS)
def test_points_colors_and_normals_are_exact_among_other_properties(kind: str, newline: str) -> None:
    frame = read(scan(kind, newline))
    assert frame.points.dtype == np.float32
    np.testing.assert_array_equal(frame.points, POINTS)
    np.testing.assert_array_equal(frame.colors, COLORS)
    np.testing.assert_array_equal(frame.normals, NORMALS)
    assert frame.faces is None


@pytest.mark.parametrize("kind", KINDS)
def test_quads_and_triangles_become_triangles(kind: str) -> None:
    vertices, polygons = ball()
    frame = read(ply(vertices, polygons, kind))
    np.testing.assert_allclose(frame.points, vertices, atol=1e-6)
    assert frame.faces is not None
    assert frame.faces.tolist() == [list(face) for face in triangles(polygons)]


def test_coordinates_of_other_types() -> None:
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 2\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += "".join(f"property {kind} {name}\n" for kind, name in zip(("float",) * 3, "rgb", strict=True))
    data = struct.pack("<3d3f3d3f", 5.4e6, 1, 2, 0, 0.5, 1, 5.4e6 + 0.01, 4, 5, 1, 1, 1)
    frame = read((header + "end_header\n").encode() + data)
    assert frame.points.tolist() == [[5.4e6, 1, 2], [5.4e6 + 0.01, 4, 5]]
    assert frame.colors is not None
    assert frame.colors.tolist() == [[0, 128, 255], [255, 255, 255]]


AXES = "".join(f"property float {axis}\n" for axis in "xyz")
HEAD = "ply\nformat {} 1.0\nelement vertex {}\n" + AXES + "{}end_header\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "has no PLY header"),
        (b"ply\nformat ascii 1.0\n" + bytes(100), "has no PLY header"),
        (b"ply\nelement vertex 1\nend_header\n", "does not name its format|without coordinates"),
        (HEAD.format("ascii", "-1", "").encode(), "has an invalid count"),
        (HEAD.format("ascii", 999, "").encode() + b"1 2 3\n", "is truncated or declares too many"),
        (HEAD.format("ascii", 3, "").encode() + b"1 2 3\n4 5 6\n", "2 of 3 lines"),
        (HEAD.format("ascii", 2, "").encode() + b"1 2 3\n4 five 6\n", "is not a table of numbers"),
        (HEAD.format("binary_little_endian", 900, "").encode() + bytes(99), "declares too many items"),
        (HEAD.format("binary_little_endian", 2, "property quad q\n").encode(), "property of unknown type"),
        (HEAD.format("binary_little_endian", 2, "property list float int q\n").encode(), "fractional length"),
        (
            b"ply\nformat ascii 1.0\nelement face 0\nproperty list uchar int f\nend_header\n",
            "has no vertices",
        ),
        (b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float a\nend_header\n", "without coordinates"),
        (ply(np.eye(3), [(0, 1, 3)], "ascii"), "corner 3 of 3 vertices"),
        (ply(np.eye(3), [(0, 1, -1)], "binary_big_endian"), "corner -1 of 3 vertices"),
        (ply(np.eye(3), [(0, 1, 2), (0, 1)], "binary_little_endian")[:-1], "is truncated"),
    ],
)
def test_each_fault_is_told(data: bytes, words: str) -> None:
    with pytest.raises(SequenceError, match=words) as caught:
        read(data)
    assert caught.value.code == "invalid_sequence"
    assert caught.value.faults[0].key == "a.ply"


def test_more_points_than_allowed_are_refused_by_the_header() -> None:
    data = HEAD.format("binary_little_endian", 10**12, "").encode() + bytes(1000)
    with pytest.raises(SequenceError, match="at most 1,000 points") as caught:
        read(data)
    assert caught.value.code == "too_large"
