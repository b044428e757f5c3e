"""Thousands of damaged files of every format are read or refused with SequenceError, in bounded memory.

Each is generated from a seed, in a subprocess with limited address space. To run other seeds:
`python tests/service/core/readers/test_readers_fuzz.py FIRST_SEED HOW_MANY`.
"""

import io
import json
import os
import re
import resource
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import laspy
import numpy as np
import pytest
from PIL import Image

from service.core.sequences.errors import SequenceError
from service.core.sequences.formats import FRAME_READERS
from service.core.sequences.readers.cameras import Intrinsics
from service.core.sequences.readers.depth import DepthReader
from service.core.sequences.readers.frame import BytesSource, Frame, Source
from tests.service.core.readers.meshes import ball, obj, ply, triangles

FILES = 400  # of each kind
MEMORY = 64 << 20  # allowed growth of the process
LIMIT = 5000  # points
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(40, 3)).astype(np.float32)
VERTICES, POLYGONS = ball(6, 4)
NUMBERS = [b"0", b"-1", b"3", b"255", b"65536", b"4294967295", b"99999999999", b"1e400", b"nan", b"x", b""]


def las(kind: int, compress: bool) -> bytes:
    cloud = laspy.LasData(laspy.LasHeader(point_format=kind, version="1.4"))
    cloud.x, cloud.y, cloud.z = POINTS.T
    out = io.BytesIO()
    cloud.write(out, do_compress=compress)
    return out.getvalue()


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, POINTS)
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(RNG.integers(0, 3000, (12, 16)).astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


def pcd(kind: str, data: bytes) -> bytes:
    fields = "FIELDS x y z _\nSIZE 4 4 4 1\nTYPE F F F U\nCOUNT 1 1 1 4\n"
    return f"# .PCD v0.7\nVERSION 0.7\n{fields}WIDTH 40\nHEIGHT 1\nPOINTS 40\nDATA {kind}\n".encode() + data


ROWS = np.concatenate([POINTS, POINTS[:, :1]], axis=1)  # [N, 4]
LITERALS = b"".join(b"\x0f" + row.tobytes() for row in ROWS)  # as LZF
CORNERS = [VERTICES[list(face)].astype("<f4").tobytes() for face in triangles(POLYGONS)]
STL = b"".join(bytes(12) + corners + bytes(2) for corners in CORNERS)
KINDS = ("ascii", "binary_little_endian", "binary_big_endian")
LARGE = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
SOUND: list[tuple[str, bytes]] = [
    *((".ply", ply(VERTICES, POLYGONS, kind)) for kind in KINDS),
    (".ply", ply(VERTICES, triangles(POLYGONS), "binary_little_endian")),
    (".pcd", pcd("ascii", "".join(f"{x} {y} {z} 1 2 3 4\n" for x, y, z in POINTS).encode())),
    (".pcd", pcd("binary", ROWS.tobytes())),
    (".pcd", pcd("binary_compressed", np.array([len(LITERALS), 640], "<u4").tobytes() + LITERALS)),
    (".xyz", "".join(f"{x} {y} {z} 255 0 9\n" for x, y, z in POINTS).encode()),
    (".csv", b"x,y,z,r,g,b\n" + "".join(f"{x},{y},{z},1,0,9\n" for x, y, z in POINTS).encode()),
    (".obj", obj(VERTICES, POLYGONS).encode()),
    (".off", b"OFF\n2 1 0\n0 0 0\n1 1 1\n2 0 1\n"),
    (".stl", bytes(80) + len(CORNERS).to_bytes(4, "little") + STL),
    (".stl", b"solid\n" + b"".join(b"vertex %f %f %f\n" % tuple(p) for p in POINTS[:39])),
    *((".las", las(kind, compress)) for kind in (0, 2, 3, 6, 7) for compress in (False, True)),
    (".npy", npy()),
    (".bin", ROWS.tobytes()),
    (".png", png()),
]


def damaged(random: Random, data: bytes) -> bytes:
    """The file after one to three random changes of its bytes, or of the numbers in its text."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(changed) + 1)
        # The headers, where the numbers are that memory depends on, are hit more often than their share.
        if random.random() < 0.5:
            place %= 400
        kind = random.choice(["bit", "cut", "drop", "repeat", "bytes", "word", "word", "integer", "integer"])
        if kind == "bit" and place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
        elif kind == "cut":
            del changed[place:]
        elif kind == "drop":
            del changed[place : place + random.randint(1, 64)]
        elif kind == "repeat":
            changed[place:place] = changed[place : place + random.randint(1, 200)]
        elif kind == "bytes":
            changed[place:place] = random.randbytes(random.randint(1, 40))
        elif kind == "word":
            if numbers := list(re.finditer(rb"-?\d[\d.e+-]*", changed[place : place + 400])):
                found = random.choice(numbers)
                changed[place + found.start() : place + found.end()] = random.choice(NUMBERS)
        else:
            width = random.choice([1, 2, 4, 8])
            value = random.choice([*LARGE, random.getrandbits(64)])
            changed[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(changed)


def outcome(ending: str, data: bytes) -> str:
    camera = Intrinsics(50, 50, 8, 6)
    readers: dict[str, Callable[[Source, int], Frame]] = {".png": DepthReader(camera)}
    read = readers.get(ending) or FRAME_READERS[ending]
    try:
        frame = read(BytesSource(data, f"a{ending}"), LIMIT)
    except SequenceError as refusal:
        told, code = str(refusal).split("\n"), refusal.code
        return code if all(len(line) < 500 and line.isprintable() for line in told) else "unprintable"
    count = len(frame.points)
    assert frame.points.shape == (count, 3)
    for rows in (frame.colors, frame.normals):
        assert rows is None or rows.shape == (count, 3)
    if frame.faces is not None:
        assert frame.faces.min() >= 0
        assert frame.faces.max() < count
    return "read" if count <= LIMIT else "more than asked for"


def main(first: int, count: int) -> None:
    warnings.simplefilter("error")
    for ending, data in SOUND:
        assert outcome(ending, data) == "read", ending
    size = int(re.findall(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    report: dict[str, Any] = {}
    for number, (ending, data) in enumerate(SOUND):
        counts: Counter[str] = Counter()
        for seed in range(first, first + count):
            try:
                counts[outcome(ending, damaged(Random(1000 * seed + number), data))] += 1
            except BaseException as error:
                error.add_note(f"{ending}, file {number}, seed {seed}")
                raise
        report[f"{number} {ending}"] = counts
    print(json.dumps(report))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process")
def test_damaged_files_of_every_format() -> None:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # The symbols of a panic's backtrace, which a developer may have asked for, would not fit.
    environment = {**os.environ, **threads, "RUST_BACKTRACE": "0"}
    command = [sys.executable, __file__, "0", str(FILES)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)
    assert answer.returncode == 0, answer.stderr[-5000:]
    report = json.loads(answer.stdout)
    assert len(report) == len(SOUND)
    for kind, counts in report.items():
        assert sum(counts.values()) == FILES, kind
        assert set(counts) <= {"read", "invalid_sequence", "too_large"}, (kind, counts)
        assert len(counts) > 1, (kind, counts)
    assert {ending for ending, _ in SOUND} >= {*FRAME_READERS} - {".txt", ".asc", ".pts", ".laz"}


if __name__ == "__main__":
    main(first=int(sys.argv[1]), count=int(sys.argv[2]))
