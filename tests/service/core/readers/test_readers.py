"""What each format can hold beyond points, and what its readers refuse; `test_ply` has PLY."""

import io
import struct
from typing import Any

import laspy
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.core.sequences.errors import SequenceError
from service.core.sequences.formats import FRAME_READERS
from service.core.sequences.readers.cameras import Intrinsics, read_intrinsics
from service.core.sequences.readers.depth import DepthReader
from service.core.sequences.readers.frame import BytesSource, Frame
from service.core.sequences.readers.lzf import decompress

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(50, 3)).astype(np.float32)
COLORS = RNG.integers(0, 256, (50, 3), np.uint8)
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)


def read(ending: str, data: bytes | str, limit: int = 1000) -> Frame:
    data = data.encode() if isinstance(data, str) else data
    return FRAME_READERS[ending](BytesSource(data, f"a{ending}"), limit)


def lzf(data: bytes) -> bytes:
    """Literals, and references to the 64 bytes before where these repeat."""
    out, at = bytearray(), 0
    while at < len(data):
        run = 0
        while run < 264 and at >= 64 and at + run < len(data) and data[at + run] == data[at + run - 64]:
            run += 1
        if run < 3:
            piece = data[at : at + 32]
            out += bytes([len(piece) - 1]) + piece
            at += len(piece)
        else:
            size = run - 2
            out += bytes([size << 5]) if size < 7 else bytes([7 << 5, size - 7])
            out += bytes([63])
            at += run
    return bytes(out)


def test_lzf_restores_what_was_compressed() -> None:
    for data in (b"", b"a", RNG.bytes(1000), bytes(1000), RNG.bytes(64) * 20 + b"tail"):
        assert decompress(lzf(data), len(data)) == data
    assert len(lzf(bytes(1000))) < 100
    assert decompress(b"\x00a\xe0\x00\x00", 10) == b"a" * 10  # a reference that overlaps what it writes
    for data, size in ((b"\x05abc", 6), (b"\x20\x05", 3), (b"\x00a", 2), (b"\xe0", 9)):
        with pytest.raises(ValueError, match=r"bytes|truncated|before"):
            decompress(data, size)


def pcd(kind: str, records: NDArray[Any]) -> bytes:
    names = records.dtype.names or ()
    kinds = [records.dtype[name].base for name in names]
    header = "# .PCD v0.7\nVERSION 0.7\nFIELDS " + " ".join(name.rstrip("0123456789") for name in names)
    header += "\nSIZE " + " ".join(str(k.itemsize) for k in kinds)
    header += "\nTYPE " + " ".join({"f": "F", "u": "U", "i": "I"}[k.kind] for k in kinds)
    header += "\nCOUNT " + " ".join(str(int(np.prod(records.dtype[name].shape))) for name in names)
    header += (
        f"\nWIDTH {len(records)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(records)}\nDATA {kind}\n"
    )
    if kind == "ascii":
        rows = [" ".join(str(v) for name in names for v in np.ravel(row[name]).tolist()) for row in records]
        return (header + "\n".join(rows) + "\n").encode()
    if kind == "binary":
        return header.encode() + records.tobytes()
    plain = b"".join(np.ascontiguousarray(records[name]).tobytes() for name in names)
    small = lzf(plain)
    return header.encode() + struct.pack("<2I", len(small), len(plain)) + small


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("color", ["<f4", "<u4"])
def test_pcd_keeps_colors_and_normals_and_drops_missing_points(kind: str, color: str) -> None:
    fields: Any = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("_1", "u1", 4), ("rgb", color), ("_2", "u1", 2)]
    records = np.zeros(50, fields + [(f"normal_{axis}", "<f4") for axis in "xyz"])
    for index, axis in enumerate("xyz"):
        records[axis], records[f"normal_{axis}"] = POINTS[:, index], NORMALS[:, index]
    red, green, blue = COLORS.T.astype(np.uint32) & 0x7F  # no NaN among the floats
    records["rgb"] = (red << 16 | green << 8 | blue).astype(np.uint32).view(color)
    records["x"][7] = np.nan
    frame = read(".pcd", pcd(kind, records))
    kept = np.arange(50) != 7
    np.testing.assert_array_equal(frame.points, POINTS[kept])
    if color == "<u4" or kind != "ascii":  # denormal floats lose bits as text
        np.testing.assert_array_equal(frame.colors, COLORS[kept] & 0x7F)
    np.testing.assert_array_equal(frame.normals, NORMALS[kept])


def rows(*columns: NDArray[Any], mark: str = " ") -> str:
    lines = zip(*(part.tolist() for part in columns), strict=True)
    return "".join(mark.join(repr(value) for part in line for value in part) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("ending", "text", "colored", "oriented"),
    [
        (".xyz", rows(POINTS, COLORS), True, False),
        (".xyz", rows(POINTS, NORMALS), False, True),
        (".xyz", rows(POINTS, COLORS, NORMALS), True, True),
        (".xyz", rows(POINTS, NORMALS[:, :1]), False, False),  # an intensity
        (".txt", "//X Y Z R G B Nx Ny Nz\n" + rows(POINTS, COLORS, NORMALS), True, True),
        (".txt", "# a scan\n# x, y, z\n\n" + rows(POINTS).replace("\n", "\r\n"), False, False),
        (".csv", '"X","Y","Z","Red","Green","Blue"\n' + rows(POINTS, COLORS, mark=","), True, False),
        (".csv", "x;y;z;normal_x;normal_y;normal_z\n" + rows(POINTS, NORMALS, mark=";"), False, True),
        (".csv", "time,z,y,x\n" + rows(POINTS[:, :1], POINTS[:, ::-1], mark=", "), False, False),
        (".pts", "50\n" + rows(POINTS, COLORS), True, False),
    ],
)
def test_columns_of_text(ending: str, text: str, colored: bool, oriented: bool) -> None:
    frame = read(ending, text)
    np.testing.assert_array_equal(frame.points, POINTS)
    assert (frame.colors is not None, frame.normals is not None) == (colored, oriented)
    if frame.colors is not None:
        np.testing.assert_array_equal(frame.colors, COLORS)
    if frame.normals is not None:
        np.testing.assert_array_equal(frame.normals, NORMALS)


def las(version: str, kind: int, compress: bool, wide: bool = True) -> bytes:
    header = laspy.LasHeader(point_format=kind, version=version)
    header.scales, header.offsets = [0.001] * 3, [500_000.0, 5_400_000.0, 0.0]
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = (POINTS + np.array([500_000, 5_400_000, 0])).T
    if kind in (2, 3, 7):
        cloud.red, cloud.green, cloud.blue = COLORS.T.astype(np.uint16) * (257 if wide else 1)
    out = io.BytesIO()
    cloud.write(out, do_compress=compress)
    return out.getvalue()


@pytest.mark.parametrize(("version", "kind"), [("1.2", 0), ("1.2", 2), ("1.2", 3), ("1.4", 6), ("1.4", 7)])
@pytest.mark.parametrize("compress", [False, True])
def test_las_and_laz_as_laspy_writes_them(version: str, kind: int, compress: bool) -> None:
    for wide in (True, False):
        frame = read(".laz" if compress else ".las", las(version, kind, compress, wide))
        assert frame.points.dtype == np.float64
        np.testing.assert_allclose(frame.points - [500_000, 5_400_000, 0], POINTS, atol=0.0006)
        if kind in (2, 3, 7):
            np.testing.assert_array_equal(frame.colors, COLORS)
        else:
            assert frame.colors is None


def test_a_laz_that_declares_too_much_is_refused_before_memory_is_allocated() -> None:
    data = bytearray(las("1.2", 2, compress=True))
    struct.pack_into("<L", data, 107, 10**9)
    with pytest.raises(SequenceError, match="at most"):
        read(".laz", bytes(data))
    with pytest.raises(SequenceError, match="times its size"):
        read(".laz", bytes(data), limit=2 * 10**9)
    chunks = bytearray(las("1.2", 2, compress=True))
    start = struct.unpack_from("<L", chunks, 96)[0]
    table = struct.unpack_from("<q", chunks, start)[0]
    struct.pack_into("<L", chunks, table + 4, 2**32 - 1)
    with pytest.raises(SequenceError, match="invalid table of chunks"):
        read(".laz", bytes(chunks))


def test_obj_vertices_with_colors() -> None:
    lines = rows(POINTS, COLORS / 255)
    frame = read(".obj", "".join("v " + line for line in lines.splitlines(keepends=True)))
    np.testing.assert_array_equal(frame.points, POINTS)
    np.testing.assert_array_equal(frame.colors, COLORS)
    plain = read(".obj", "v 1 2 3 1.0\nv 4 5 6\n")
    assert plain.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert plain.colors is None


def test_off_with_colors_and_comments() -> None:
    text = "COFF # made here\n3 1 0\n0 0 0 255 0 0 255\n1 0 0 0 255 0 255\n0 1 0 0 0 255 255\n"
    text += "3 0 1 2 0.5 0.5 0.5\n"
    frame = read(".off", text)
    assert frame.colors is not None
    assert frame.colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert frame.faces is not None
    assert frame.faces.tolist() == [[0, 1, 2]]


def test_stl_as_text() -> None:
    facet = "facet normal 0 0 1\nouter loop\n vertex 0 0 0\n vertex 1 0 0\n vertex 0 1 0\nendloop\nendfacet\n"
    frame = read(".stl", f"solid a\n{facet}{facet.replace('1 0 0', '0 0 2e0')}endsolid a\n")
    assert frame.points.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]]
    assert frame.faces is not None
    assert frame.faces.tolist() == [[0, 1, 2], [0, 3, 2]]


@pytest.mark.parametrize(
    "text",
    [
        '{"fx": 500, "fy": 510, "cx": 320, "cy": 240}',
        '{"width": 640, "height": 480, "intrinsic_matrix": [500, 0, 0, 0, 510, 0, 320, 240, 1]}',
        '{"K": [[500, 0, 320], [0, 510, 240], [0, 0, 1]], "depth_scale": 1000}',
        '{"camera_matrix": [500, 0, 320, 0, 510, 240, 0, 0, 1]}',
        '{"intrinsics": {"fx": 500, "fy": 510, "cx": 320, "cy": 240}}',
        '{"fx": 500, "fy": 510, "ppx": 320, "ppy": 240, "depth_scale": 0.001}',
    ],
)
def test_intrinsics_as_cameras_write_them(text: str) -> None:
    camera = read_intrinsics(BytesSource(text.encode(), "camera.json"))
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.scale) == (500, 510, 320, 240, 1000)


def depth_image(values: list[list[int]]) -> BytesSource:
    out = io.BytesIO()
    Image.fromarray(np.array(values, np.uint16)).save(out, "PNG")
    return BytesSource(out.getvalue(), "0.png")


def test_neither_0_nor_65535_is_a_depth() -> None:
    frame = DepthReader(Intrinsics(1, 1, 0, 0))(depth_image([[0, 65_535], [2000, 1000]]), 9)
    assert frame.points.tolist() == [[0, -2, -2], [1, -1, -1]]


def test_a_camera_of_larger_images_is_scaled_with_them() -> None:
    """Phones tell the camera of their color images, of which depth images are smaller copies."""
    values = [[1000] * 4] * 3
    small = DepthReader(Intrinsics(4, 4, 1.5, 1))(depth_image(values), 99)
    large = DepthReader(Intrinsics(40, 40, 19.5, 14.5, size=(40, 30)))(depth_image(values), 99)
    np.testing.assert_allclose(large.points, small.points, atol=1e-6)


@pytest.mark.parametrize("size", [None, (40, 10)])
def test_another_camera_is_refused(size: tuple[float, float] | None) -> None:
    with pytest.raises(SequenceError, match=r"found 4 by 3 pixels, fx 40, .* center at 19"):
        DepthReader(Intrinsics(40, 40, 19.5, 3, size=size))(depth_image([[1000] * 4] * 3), 99)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "no",
        "",
        "[" * 9999,
        '{"fx": 1' + "0" * 400 + ', "fy": 1, "cx": 1, "cy": 1}',
        '{"fx": 0, "fy": 1, "cx": 1, "cy": 1}',
        '{"K": [1, 2]}',
    ],
)
def test_other_json_is_not_a_camera(text: str) -> None:
    with pytest.raises(SequenceError, match="are not the intrinsics of a camera") as refusal:
        read_intrinsics(BytesSource(text.encode(), "camera.json"))
    assert "Error" not in str(refusal.value)


@pytest.mark.parametrize(
    ("ending", "data", "words"),
    [
        (".pcd", b"", "has no PCD header"),
        (".pcd", b"FIELDS x y\nSIZE 4 4\nTYPE F F\nPOINTS 0\nDATA ascii\n", "has no coordinates"),
        (".pcd", b"FIELDS x\nSIZE 4 4\nTYPE F\nPOINTS 1\nDATA ascii\n", "inconsistent header"),
        (".pcd", b"FIELDS x\nSIZE 3\nTYPE F\nPOINTS 1\nDATA ascii\n", "field of unknown type"),
        (".pcd", b"FIELDS x\nSIZE 4\nTYPE F\nPOINTS 99\nDATA binary\n" + bytes(9), "declares too many items"),
        (".pcd", b"FIELDS x\nSIZE 4\nTYPE F\nPOINTS 9\nDATA binary_compressed\n" + bytes(9), "contradictory"),
        (".pcd", b"FIELDS x\nSIZE 4\nTYPE F\nPOINTS 9\nDATA zipped\n", "unknown kind of data"),
        (".las", b"LASF", "is not a LAS file"),
        (".las", b"LASF" + bytes(300), "unsupported header"),
        (".stl", b"hello", "is not an STL file"),
        (".stl", b"solid a\nvertex 1 2 3\n", "is truncated or empty"),
        (".stl", b"solid a\nvertex 1 2 x\n", "invalid vertex"),
        (".off", b"OFF BINARY\n", "has no counts"),
        (".off", b"OFF\n9 0 0\n1 2 3\n", "declares too many items"),
        (".off", b"OFF\n1 1 0\n1 2 3\n3 0 0\n", "invalid face"),
        (".npy", b"hello", "is not a numpy array"),
        (".bin", bytes(17), "is not a KITTI scan"),
        (".obj", b"v 1 2\n", "line 1: 'v 1 2'"),
        (".obj", b"v 1 2 3\n\nf 1 1 -2\n", "face with a missing vertex"),
        (".obj", bytes(100), "is not an OBJ file"),
        (".csv", b"a,b,x\n1,2,3\n", "no column of coordinates"),
        (".xyz", b"1 2 3\n4 5 six\n", "is not a table of numbers"),
    ],
)
def test_each_fault_is_told(ending: str, data: bytes, words: str) -> None:
    with pytest.raises(SequenceError, match=words) as caught:
        read(ending, data)
    assert caught.value.faults[0].key == f"a{ending}"


@pytest.mark.parametrize("ending", [".pcd", ".npy", ".bin", ".obj", ".off"])
def test_more_points_than_allowed_are_refused(ending: str) -> None:
    files = {
        ".pcd": b"FIELDS x\nSIZE 4\nTYPE F\nPOINTS 99\nDATA binary\n" + bytes(396),
        ".bin": bytes(16 * 99),
        ".obj": b"v 1 2 3\n" * 99,
        ".off": b"OFF\n99 0 0\n" + b"1 2 3\n" * 99,
    }
    array = io.BytesIO()
    np.save(array, np.zeros((99, 3)))
    with pytest.raises(SequenceError, match="at most 9 points") as caught:
        read(ending, files.get(ending, array.getvalue()), limit=9)
    assert caught.value.code == "too_large"
