"""Malicious, truncated and malformed zip archives."""

import io
import os
import random
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from numpy.typing import ArrayLike
from typing_extensions import Buffer

from service.core.sequences.archives import Archive, Budget
from service.core.sequences.sequence import Limits, SequenceError, inspect_sequence, read_sequence

Reader = Callable[[BinaryIO, Limits], object]

POINTS = np.random.default_rng(0).normal(size=(3, 40, 3)).astype(np.float32)  # [T, N, 3]


def npy(array: ArrayLike) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@dataclass
class Entry:
    """An entry of a handmade archive, whose local header can differ from the directory."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    after: bytes = b""
    comment: bytes = b""
    extra: bytes = b""  # in the directory only
    offset: int | None = None


def raw_zip(
    *entries: Entry,
    before: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    offset: int | None = None,
    locator: bytes = b"",
) -> bytes:
    body, directory = before, b""
    for entry in entries:
        plain = zlib.decompress(entry.data, -15) if entry.method == 8 and entry.size is None else entry.data
        size = len(plain) if entry.size is None else entry.size
        packed = len(entry.data) if entry.packed is None else entry.packed
        crc = zlib.crc32(plain) if entry.crc is None else entry.crc
        start = len(body) if entry.offset is None else entry.offset
        local_name = entry.local_name or entry.name
        local_size = size if entry.local_size is None else entry.local_size
        common = struct.pack("<4H", entry.flags, entry.method, 0, 33)
        body += b"PK\3\4" + struct.pack("<H", 20) + common
        body += struct.pack("<3L2H", crc, packed, local_size, len(local_name), 0) + local_name
        body += entry.data + entry.after
        directory += b"PK\1\2" + struct.pack("<2H", 20, 20) + common + struct.pack("<3L", crc, packed, size)
        directory += struct.pack(
            "<5H2L", len(entry.name), len(entry.extra), len(entry.comment), 0, 0, 0, start
        )
        directory += entry.name + entry.extra + entry.comment
    count = len(entries) if count is None else count
    offset = len(body) if offset is None else offset
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), offset, len(comment))
    return body + directory + locator + end + comment


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zeros_deflated(count: int) -> bytes:
    """`count` zero bytes (a multiple of 16 MiB) as a deflate stream, made by repeating one flushed block."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (count >> 24) + packer.flush()


def refused(
    data: bytes | bytearray, reader: Reader = inspect_sequence, limits: Limits | None = None
) -> SequenceError:
    with pytest.raises(SequenceError) as caught:
        reader(io.BytesIO(data), limits or Limits())
    return caught.value


GOOD = Entry(b"points.npy", npy(POINTS))
PACKED = deflated(npy(POINTS))


def test_handmade_archive_is_read() -> None:
    for entry in (GOOD, Entry(b"points.npy", PACKED, method=8)):
        assert np.array_equal(np.stack(read_sequence(io.BytesIO(raw_zip(entry))).points), POINTS)


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"", "an empty file"),
        (b"\x80\x04\x95" + bytes(100), "a Python pickle, which is never loaded"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip file: unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"0.1 0.2 0.3\n" * 50, "text"),
        (bytes(range(256)), "unrecognized binary data"),
        (b"#!/bin/sh\n" + npz(points=POINTS), "unrecognized binary data"),
    ],
)
def test_other_file_types_are_recognized(head: bytes, text: str) -> None:
    error = refused(head)
    assert error.code == "unsupported_media"
    assert str(error).startswith(
        f"file: is not a sequence (found {text}; wanted an .npz with points [T, N, 3]"
    )


PLAIN = npz(points=POINTS)
FRAME = npz(points=POINTS[0], loc=np.zeros(3), scale=1.0)
DAMAGED = {
    "cut short": (PLAIN[:-1], "file", "is truncated"),
    "cut in half": (PLAIN[: len(PLAIN) // 2], "file", "is truncated"),
    "bytes behind": (PLAIN + b"x", "file", "has a comment or trailing bytes"),
    "comment": (raw_zip(GOOD, comment=b"x" * 65535), "file", "has a comment or trailing bytes"),
    "bytes in front": (raw_zip(GOOD, before=b"PK\3\4junk"), "file", "has overlapping entries or gaps"),
    "shifted": (raw_zip(GOOD, offset=7), "file", "has leading or missing bytes"),
    "bytes between": (
        raw_zip(GOOD, Entry(b"times.npy", npy(np.arange(3.0)), after=b"hidden")),
        "file",
        "has overlapping entries or gaps between them",
    ),
    "entries on top of each other": (
        raw_zip(GOOD, Entry(b"times.npy", b"", offset=0)),
        "file",
        "has overlapping entries or gaps between them",
    ),
    "an entry over the directory": (
        raw_zip(Entry(b"points.npy", npy(POINTS), packed=len(npy(POINTS)) + 9, size=len(npy(POINTS)) + 9)),
        "file",
        "has overlapping entries or gaps between them",
    ),
    "offset beyond the end": (
        raw_zip(Entry(b"points.npy", npy(POINTS), offset=1 << 31)),
        "file",
        "has overlapping entries or gaps between them",
    ),
    "other local name": (
        raw_zip(Entry(b"points.npy", npy(POINTS), local_name=b"pointz.npy")),
        "file",
        "has an entry that contradicts the directory",
    ),
    "other local size": (
        raw_zip(Entry(b"points.npy", npy(POINTS), local_size=5)),
        "file",
        "has an entry that contradicts the directory",
    ),
    "no local header": (
        PLAIN.replace(b"PK\3\4", b"PK\3\4\0", 1)[:-22] + PLAIN[-22:],
        "file",
        "has leading or missing bytes",
    ),
    "wrong count": (raw_zip(GOOD, count=2), "file", "has contradictory entry counts"),
    "Zip64 end record": (raw_zip(GOOD, locator=b"PK\6\7" + bytes(16)), "file", "has a Zip64 end record"),
    "entry comments": (
        raw_zip(Entry(b"points.npy", npy(POINTS), comment=b"x" * 5000)),
        "file",
        "has an oversized central directory",
    ),
    "path": (
        raw_zip(Entry(b"../points.npy", npy(POINTS))),
        "file",
        "has an entry with an invalid name",
    ),
    "absolute path": (
        raw_zip(Entry(b"/points.npy", npy(POINTS))),
        "file",
        "has an entry with an invalid name",
    ),
    "folder above": (raw_zip(Entry(b"../00000001.npz", PLAIN)), "file", "has an entry with an invalid name"),
    "absolute": (raw_zip(Entry(b"/a/00000001.npz", PLAIN)), "file", "has an entry with an invalid name"),
    "null byte": (
        raw_zip(Entry(b"points.npy\0.txt", npy(POINTS))),
        "file",
        "has an entry with an invalid name",
    ),
    "not UTF-8": (
        raw_zip(Entry(b"\xff.npy", npy(POINTS), flags=0x800)),
        "file",
        "has a corrupt central directory",
    ),
    "same name twice": (raw_zip(GOOD, GOOD), "file", "has duplicate entry names"),
    "encrypted": (
        raw_zip(Entry(b"points.npy", npy(POINTS), flags=1)),
        "points.npy",
        "is encrypted or patched",
    ),
    "strongly encrypted": (
        raw_zip(Entry(b"points.npy", npy(POINTS), flags=0x2041)),
        "points.npy",
        "is encrypted or patched",
    ),
    "bzip2": (
        raw_zip(Entry(b"points.npy", npy(POINTS), method=12)),
        "points.npy",
        "has an unsupported compression method",
    ),
    "stored in another size": (
        raw_zip(Entry(b"points.npy", npy(POINTS), size=10, local_size=10)),
        "points.npy",
        "is stored but declares two sizes",
    ),
    "wrong checksum": (raw_zip(Entry(b"points.npy", npy(POINTS), crc=1)), "points.npy", "is corrupt"),
    "not deflate": (
        raw_zip(Entry(b"points.npy", b"\xff" * 900, method=8, size=len(npy(POINTS)))),
        "points",
        "has an incomplete header",
    ),
    "deflate broken inside": (
        raw_zip(Entry(b"points.npy", PACKED[:700] + b"\xff" * 99, method=8, size=len(npy(POINTS)))),
        "points.npy",
        "is corrupt",
    ),
    "deflate stops early": (
        raw_zip(Entry(b"points.npy", deflated(npy(POINTS)[:-12]), method=8, size=len(npy(POINTS)))),
        "points.npy",
        "is truncated",
    ),
    "deflate goes on": (
        raw_zip(Entry(b"points.npy", deflated(npy(POINTS) + b"more"), method=8, size=len(npy(POINTS)))),
        "points.npy",
        "has trailing data",
    ),
    "many bytes after deflate": (
        raw_zip(Entry(b"points.npy", PACKED + bytes(1 << 18), method=8, size=len(npy(POINTS)))),
        "points.npy",
        "has trailing data",
    ),
    "a damaged frame": (
        raw_zip(Entry(b"00000000.npz", FRAME, crc=0), Entry(b"00000001.npz", FRAME)),
        "00000000.npz",
        "is corrupt",
    ),
    "for a later zip": (
        raw_zip(GOOD).replace(b"PK\1\2\x14\0\x14", b"PK\1\2\x14\0\x63"),
        "file",
        "has a corrupt central directory",
    ),
    "bytes after deflate": (
        raw_zip(Entry(b"points.npy", PACKED + b"more", method=8, size=len(npy(POINTS)))),
        "points.npy",
        "has trailing data",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_corrupt_and_malicious_archives_are_refused(case: str) -> None:
    data, key, text = DAMAGED[case]
    error = refused(data)
    assert error.code == "invalid_sequence"
    assert error.faults[0].key == key
    assert error.faults[0].message.startswith(text)
    assert str(refused(data, read_sequence)) == str(error)
    assert str(error).isprintable(), "one fault is one line that any terminal shows"


def test_streamed_entry_may_declare_its_size() -> None:
    descriptor = struct.pack("<4s3L", b"PK\7\10", zlib.crc32(npy(POINTS)), len(PACKED), len(npy(POINTS)))
    data = bytearray(raw_zip(Entry(b"points.npy", PACKED, method=8, flags=8, after=descriptor)))
    data[14:22] = bytes(8)  # as streamed by Info-ZIP: size without checksum and compressed size
    assert inspect_sequence(io.BytesIO(data)).frames == 3
    data[22:26] = b"\1\0\0\0"
    assert refused(data).faults[0].message == "has an entry that contradicts the directory"


def test_trailing_data_at_a_chunk_boundary_is_detected() -> None:
    header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (2, 5400, 3)}".ljust(721)
    points = np.random.default_rng(0).normal(size=(2, 5400, 3)).astype("<f2")
    entry = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + points.tobytes()
    stream = b"\1" + struct.pack("<2H", len(entry), 0xFFFF - len(entry)) + entry  # one stored block, the last
    assert len(stream) == 1 << 16, "as many packed bytes as are read at a time"
    assert inspect_sequence(io.BytesIO(raw_zip(Entry(b"points.npy", stream, method=8)))).points == 5400
    longer = Entry(b"points.npy", stream + b"more", method=8, size=len(entry), crc=zlib.crc32(entry))
    assert refused(raw_zip(longer)).faults[0].message == "has trailing data"


def test_all_faults_of_the_directory_are_reported() -> None:
    error = refused(
        raw_zip(Entry(b"a//b", b""), Entry(b"c.npy", b"", flags=1), Entry(b"d.npy", b"", method=99))
    )
    assert [fault.key for fault in error.faults] == ["file", "c.npy", "d.npy"]


def test_streamed_archives_with_data_descriptors_are_read() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Buffer) -> int:
            written = memoryview(data).nbytes
            self.data += data
            return written

    for save in (np.savez, np.savez_compressed):
        pipe = Pipe()
        save(pipe, points=POINTS, times=np.arange(3.0))
        assert pipe.data[6] & 8, "numpy streams with a descriptor"
        assert inspect_sequence(io.BytesIO(pipe.data)).total_points == 120


def test_twenty_thousand_members_are_refused_before_the_directory_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(20_000):
            archive.writestr(f"a{index}.npy", b"")
    started = time.perf_counter()
    error = refused(buffer.getvalue())
    print(f"20,000 members refused in {1e3 * (time.perf_counter() - started):.2f} ms")
    assert (error.code, error.faults[0].message, error.faults[0].found) == (
        "too_large",
        "has too many entries",
        "20,000",
    )
    lying = buffer.getvalue()[:-14] + struct.pack("<2H", 3, 3) + buffer.getvalue()[-10:]
    assert refused(lying).faults[0].message == "has an oversized central directory"


def test_nine_arrays_are_too_many() -> None:
    error = refused(npz(points=POINTS, **{f"a{index}": POINTS for index in range(8)}))
    assert (error.code, error.faults[0].message) == ("too_large", "has too many entries")


def test_too_many_bytes() -> None:
    error = refused(PLAIN, limits=Limits(max_bytes=1000))
    assert (error.code, error.faults[0].message) == ("too_large", "is too large")


def test_ratio_is_not_checked_for_small_uploads() -> None:
    limits = Limits(max_unpacked_bytes=1 << 40, max_ratio=100)
    still = io.BytesIO()
    np.savez_compressed(still, points=np.broadcast_to(POINTS[0], (1000, 40, 3)))
    assert 1000 * POINTS[0].nbytes > 100 * len(still.getvalue())
    assert inspect_sequence(still, limits).frames == 1000
    error = refused(raw_zip(Entry(b"points.npy", b"", method=8, size=200 << 20, crc=0)), limits=limits)
    assert (error.code, error.faults[0].message) == ("too_large", "has too high a compression ratio")


def test_nested_archives_share_the_budget() -> None:
    inner = npz(points=POINTS[0], loc=np.zeros(3), scale=1.0)
    outer = raw_zip(*(Entry(b"%08d.npz" % index, inner) for index in range(3)))
    needed = 3 * len(inner) + 3 * sum(
        info.file_size for info in zipfile.ZipFile(io.BytesIO(inner)).infolist()
    )
    assert inspect_sequence(io.BytesIO(outer), Limits(max_unpacked_bytes=needed)).frames == 3
    error = refused(outer, limits=Limits(max_unpacked_bytes=needed - 1))
    assert (error.code, error.faults[0].message) == ("too_large", "has too large an uncompressed size")


def test_budget_is_checked_before_entries_are_opened() -> None:
    budget = Budget(Limits(), 1000)
    with pytest.raises(SequenceError, match="has too large an uncompressed size"):
        Archive(io.BytesIO(raw_zip(Entry(b"a", b"", method=8, size=(1 << 30) + 1, crc=0))), budget, 8)


def ten_gigabytes() -> Entry:
    declared = struct.pack("<2HQ", 1, 8, 10 << 30)  # in the Zip64 field, as 32 bits cannot hold it
    return Entry(b"points.npy", zeros_deflated(10 << 30), method=8, size=0xFFFFFFFF, crc=0, extra=declared)


BOMBS = {
    "says what it is": lambda: raw_zip(ten_gigabytes()),
    "says it is small": lambda: raw_zip(
        Entry(
            b"points.npy",
            # a true header and 12 kB of true data, then 10 GiB that were never declared
            deflated_prefix(npy(np.random.default_rng(1).normal(size=(10, 50, 3))))
            + zeros_deflated(10 << 30),
            method=8,
            size=len(npy(np.zeros((10, 50, 3)))),
            crc=0,
        )
    ),
    "inside a frame": lambda: raw_zip(
        Entry(
            b"00000000.npz",
            raw_zip(ten_gigabytes()),
        )
    ),
    "deflated twice": lambda: raw_zip(
        Entry(
            b"00000000.npz",
            deflated(raw_zip(Entry(b"points.npy", zeros_deflated(1 << 30), method=8, size=1 << 30, crc=0))),
            method=8,
        )
    ),
    "false shape": lambda: raw_zip(
        Entry(
            b"points.npy",
            npy(np.zeros((0, 0, 3))).replace(b"(0, 0, 3), }" + 7 * b" ", b"(17, 6250000, 3), }"),
        )
    ),
}


def deflated_prefix(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


IN_A_PROCESS = """
import sys, time
from service.core.sequences.sequence import SequenceError, inspect_sequence, read_sequence
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before = peak()
for reader in (inspect_sequence, read_sequence):
    started = time.perf_counter()
    with open(sys.argv[1], "rb") as file:
        try:
            print(reader(file))
        except SequenceError as error:
            print(f"{error.code} {1e3 * (time.perf_counter() - started):.2f} ms", error)
    if sys.argv[2] == "inspect":
        break
print(peak() - before)
"""


def in_a_process(path: Path, which: str) -> tuple[list[str], float]:
    command = [sys.executable, "-c", IN_A_PROCESS, str(path), which]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    *lines, growth = done.stdout.splitlines()
    print(*lines, f"{growth} MiB", sep="\n")
    return lines, float(growth)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("bomb", BOMBS)
def test_zip_bombs_are_refused_in_constant_memory(bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(BOMBS[bomb]())
    print(f"{path.stat().st_size:,} bytes")
    lines, growth = in_a_process(path, "both")
    assert [line.split()[0] for line in lines] == 2 * [
        "invalid_sequence" if bomb in ("says it is small", "false shape") else "too_large"
    ]
    assert ("has a shape that does not match its data" in lines[0]) == (bomb == "false shape")
    assert growth < 8


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("form", ["stored", "deflated", "ragged", "Fortran order", "frames"])
def test_inspecting_large_uploads_uses_constant_memory(form: str, tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    frame = np.random.default_rng(0).normal(size=(150_000, 3)).astype(np.float32)
    points = np.broadcast_to(frame, (60, *frame.shape))  # 108 MB
    if form == "frames":
        with zipfile.ZipFile(path, "w") as archive:
            inner = npz(points=np.concatenate([frame] * 6), loc=np.zeros(3), scale=1.0)
            for index in range(10):
                archive.writestr(f"{index:08d}.npz", inner)
    elif form == "deflated":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("points.npy", npy(points))
    elif form == "ragged":
        np.savez(path, points=points.reshape(-1, 3), frame=np.repeat(np.arange(60), 150_000))
    else:
        np.savez(path, points=np.asfortranarray(points) if form == "Fortran order" else points)
    lines, growth = in_a_process(path, "inspect")
    assert lines[0].startswith("SequenceInfo(")
    assert "total_points=9000000" in lines[0]
    assert growth < 15


def test_every_truncated_archive_is_refused() -> None:
    whole = npz(points=POINTS, times=np.arange(3.0))
    cuts = random.Random(0).sample(range(4, len(whole)), 300)
    assert {refused(whole[:cut]).code for cut in cuts} == {"invalid_sequence"}
