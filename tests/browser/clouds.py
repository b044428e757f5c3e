"""Files of point clouds, written for the tests of the preview."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Points = NDArray[np.float64]


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def published(frame: Points) -> bytes:
    return npz(points=frame, loc=np.zeros(3), scale=np.float32(2))


def text(frame: Points, separator: str = " ", prefix: str = "") -> bytes:
    rows = [prefix + separator.join(f"{value:.6f}" for value in point) for point in frame]
    return "\n".join(["# x y z", *rows, ""]).encode()


def ply(frame: Points, form: str) -> bytes:
    properties = "property uchar red\nproperty float x\nproperty float y\nproperty double z\n"
    head = f"ply\nformat {form} 1.0\nelement vertex {len(frame)}\n{properties}end_header\n".encode()
    if form == "ascii":
        return head + b"".join(b"7 %f %f %f\n" % tuple(point) for point in frame)
    order = "<" if "little" in form else ">"
    return head + b"".join(struct.pack(f"{order}Bffd", 7, *point) for point in frame)


def pcd(frame: Points, form: str) -> bytes:
    """The points, after one that the camera did not see."""
    frame = np.concatenate([np.full((1, 3), np.nan), frame])
    head = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\n"
        f"WIDTH {len(frame)}\nHEIGHT 1\nPOINTS {len(frame)}\nDATA {form}\n"
    ).encode()
    if form == "ascii":
        return head + b"".join(b"%f %f %f 0\n" % tuple(point) for point in frame)
    if form == "binary":
        return head + b"".join(struct.pack("<fffI", *point, 0) for point in frame)
    columns = frame.T.astype("<f4").tobytes() + bytes(4 * len(frame))
    content = lzf(columns)
    return head + struct.pack("<II", len(content), len(columns)) + content


def lzf(data: bytes) -> bytes:
    """LZF with runs of one byte as back references, and everything else as literals."""
    out, at = b"", 0
    while at < len(data):
        run = 1
        while run < 264 and data[at : at + 1] * (run + 1) == data[at : at + run + 1]:
            run += 1
        if run > 3:
            left = run - 3  # after the literal; a reference of n bytes stores n - 2
            out += bytes([0, data[at]])
            out += bytes([(left << 5), 0]) if left < 7 else bytes([7 << 5, left - 7, 0])
            at += run
        else:
            out += bytes([0, data[at]])
            at += 1
    return out


def las(frame: Points) -> bytes:
    head = bytearray(227)
    head[:4] = b"LASF"
    struct.pack_into("<HI", head, 94, 227, 227)
    struct.pack_into("<BHI", head, 104, 0, 20, len(frame))
    struct.pack_into("<6d", head, 131, *[1e-3] * 3, *[0.5] * 3)
    return bytes(head) + b"".join(
        struct.pack("<iii8x", *(int(value) for value in np.rint((point - 0.5) / 1e-3))) for point in frame
    )


def png(depths: NDArray[np.int64]) -> bytes:
    """A depth image [H, W] of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(depths.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def kitti(frame: Points) -> bytes:
    return np.pad(frame, ((0, 0), (0, 1))).astype("<f4").tobytes()


def off(frame: Points) -> bytes:
    return b"OFF\n%d 1 0\n" % len(frame) + text(frame) + b"3 0 1 2\n"


def _triangles(frame: Points) -> Points:
    """Points [N, 3] as corners [F, 3, 3]; what is left over is dropped."""
    return frame[: len(frame) // 3 * 3].reshape(-1, 3, 3)


def stl(frame: Points) -> bytes:
    corners = _triangles(frame)
    records = np.zeros(
        len(corners), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("", "<u2")])
    )
    records["corners"] = corners
    return bytes(80) + struct.pack("<I", len(corners)) + records.tobytes()


def stl_text(frame: Points) -> bytes:
    facets = [
        "facet normal 0 0 1\nouter loop\n"
        + "".join(f"  vertex {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in corners)
        + "endloop\nendfacet\n"
        for corners in _triangles(frame)
    ]
    return ("solid thing\n" + "".join(facets) + "endsolid thing\n").encode()
