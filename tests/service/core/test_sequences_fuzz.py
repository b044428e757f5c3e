"""Thousands of corrupt and malicious uploads are read or refused with SequenceError, in bounded memory.

Each is generated from a seed, in a subprocess with limited address space. To run other seeds:
`python tests/service/core/test_sequences_fuzz.py FIRST_SEED HOW_MANY`.
"""

import io
import json
import os
import re
import resource
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from service.core.sequences.sequence import (
    PointCloudSequence,
    SequenceError,
    SequenceInfo,
    inspect_sequence,
    read_sequence,
)

Entries = list[tuple[str, bytes]]
Harm = Callable[[Random, Entries], Entries]
Reader = Callable[[BinaryIO], SequenceInfo | PointCloudSequence]

UPLOADS = 5000  # of each kind
MEMORY = 24 << 20  # allowed growth of the process, including generation of the uploads

POINTS = np.random.default_rng(0).normal(size=(3, 32, 3)).astype(np.float32)  # [T, N, 3]
ROWS = POINTS.reshape(-1, 3)  # [M, 3]
SOUND: list[dict[str, ArrayLike]] = [
    {"points": POINTS, "times": np.arange(3.0), "corresponding": np.bool_(True)},
    {"points": np.asfortranarray(POINTS), "times": np.arange(3, dtype=">i2")},
    {"points": ROWS, "frame": np.repeat(np.arange(3), 32)},
    {"points": ROWS.astype(">f8"), "lengths": np.array([32, 32, 32], np.uint8)},
    {"depth": np.full((3, 6, 8), 2000, np.uint16), "K": np.diag([9, 9, 1])},
    {"depth": np.full((3, 6, 8), 2, ">f4"), "fx": 9, "fy": 9, "cx": 3.5, "cy": 2.5, "times": np.arange(3)},
]
FRAME = {"points": POINTS[0].astype(np.float16), "loc": np.zeros(3), "scale": np.float64(2)}

NUMBERS = [0, 1, 2, 7, 8, 22, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
# Zip records and where their numbers stand: (offset, width).
RECORDS = {
    b"PK\3\4": [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    b"PK\1\2": [(6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)],
    b"PK\5\6": [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
}
NAMES = [
    "points.npy",
    "depth.npy",
    "K.npy",
    "times.npy",
    "frame.npy",
    "loc.npy",
    "occupancies.npy",
    "points",
    "x.npz",
    "../a",
    "a\\b",
    "ü",
]
DESCRS = ["<f2", "<f4", ">f8", "<i8", "|u1", "|b1", "<c8", "|O", "<U3", "f4", "<f16", "<m8[s]", "", "<f4,<f4"]
SHAPES = [
    "(3, 32, 3)",
    "(96, 3)",
    "(3,)",
    "()",
    "(1000000000, 0, 3)",
    "(3, 0, 3)",
    "(0,)",
    "(2, -3)",
    "(True,)",
]
SHAPES += [f"({size}, 32, 3)" for size in (2**31, 2**62, 2**63, 10**40, "9**9", "3L", "0x3", "'a'", "[1]")]
HEADERS = [
    "",
    "(" * 4000,
    "-" * 4000 + "1",
    "[" * 99 + "]" * 99,
    "'",
    "{}",
    "{'descr': [('a', '<f4')]}",
    "\\N",
]
VALUES = [0, 1, -1, 31, 64, 6e4, 1e19, 1e300, np.nan, np.inf, -np.inf]


def npy(array: ArrayLike) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(random: Random, entries: Entries) -> bytes:
    buffer = io.BytesIO()
    compression = random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicate names
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def upload(random: Random, harm: Harm) -> bytes:
    """An archive in one of the formats, with entries modified by the given function."""
    if random.random() < 0.3:
        frames = [(f"{index:08d}.npz", FRAME) for index in range(random.randint(1, 3))]
        return zipped(
            random, harm(random, [(name, archive(random, arrays, harm)) for name, arrays in frames])
        )
    return archive(random, random.choice(SOUND), harm)


def archive(random: Random, arrays: Mapping[str, ArrayLike], harm: Harm) -> bytes:
    return zipped(random, harm(random, [(f"{key}.npy", npy(array)) for key, array in arrays.items()]))


def unharmed(random: Random, entries: Entries) -> Entries:
    return entries


def hostile_entries(random: Random, entries: Entries) -> Entries:
    """Entries renamed, repeated, dropped, or with headers and data that numpy would not write."""
    entries = list(entries)
    for _ in range(random.choice([0, 1, 1, 2])):
        if not entries:
            break
        index = random.randrange(len(entries))
        name, data = entries[index]
        kind = random.choice(["name", "add", "drop", "order", "header", "header", "value", "value", "array"])
        if kind == "name":
            entries[index] = random.choice(NAMES), data
        elif kind == "add":
            entries.append((random.choice(NAMES), npy(random.choice([POINTS, ROWS, np.arange(3.0)]))))
        elif kind == "drop":
            del entries[index]
        elif kind == "order":
            random.shuffle(entries)
        elif kind == "header":
            entries[index] = name, hostile_header(random, data)
        elif kind == "value":
            entries[index] = name, hostile_value(random, data)
        elif kind == "array":
            entries[index] = (
                name,
                npy(
                    random.choice(
                        [POINTS * 0, POINTS + np.float32(1e7), POINTS[:1], ROWS[:9], np.zeros((2000, 0, 3))]
                    )
                ),
            )
    return entries


def hostile_header(random: Random, data: bytes) -> bytes:
    if not data.startswith(b"\x93NUMPY"):
        return data
    length = int.from_bytes(data[8:10], "little")
    text, rest = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    kind = random.choice(["shape", "descr", "order", "text", "letter", "length", "version"])
    version = data[6:8]
    if kind == "shape":
        text = re.sub(r"\(.*?\)", random.choice(SHAPES), text)
    elif kind == "descr":
        text = re.sub(r"'[<>|].*?'", f"'{random.choice(DESCRS)}'", text)
    elif kind == "order":
        text = text.replace("False", random.choice(["True", "0", "None", "False"]))
    elif kind == "text":
        text = random.choice(HEADERS)
    elif kind == "letter" and text:
        place = random.randrange(len(text))
        text = text[:place] + chr(random.randrange(128)) + text[place + 1 :]
    elif kind == "version":
        version = bytes([random.randrange(5), random.randrange(2)])
    length = random.choice(NUMBERS) & 0xFFFF if kind == "length" else len(text)
    rest = b"" if random.random() < 0.2 else rest
    return (
        data[:6]
        + version
        + length.to_bytes(4 if version[0] in (2, 3) else 2, "little")
        + text.encode()
        + rest
    )


def hostile_value(random: Random, data: bytes) -> bytes:
    if not data.startswith(b"\x93NUMPY"):
        return data
    try:
        array = np.load(io.BytesIO(data))
    except Exception:  # numpy raises various errors for a broken header
        return data
    if array.dtype.kind not in "fiu" or not array.size:
        return data
    array = array.astype(random.choice([array.dtype, np.float64]), order="K")
    with np.errstate(all="ignore"):
        array[np.unravel_index(random.randrange(array.size), array.shape)] = np.array(
            random.choice(VALUES)
        ).astype(array.dtype)
    return npy(array)


def hostile_upload(random: Random) -> bytes:
    return upload(random, hostile_entries)


def damaged_upload(random: Random) -> bytes:
    """A valid upload after one to three random modifications of its bytes."""
    data = bytearray(upload(random, unharmed))
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(data) + 1)
        kind = random.choice(
            ["bit", "cut", "drop", "repeat", "splice", "record", "record", "record", "bytes"]
        )
        if kind == "bit" and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == "cut":
            del data[place:]
        elif kind == "drop":
            del data[place : place + random.randint(1, 64)]
        elif kind == "repeat":
            data[place:place] = data[place : place + random.randint(1, 200)]
        elif kind == "splice":
            other = upload(random, unharmed)
            data[place:] = other[random.randrange(len(other)) :]
        elif kind == "bytes":
            data[place:place] = random.randbytes(random.randint(1, 40))
        elif kind == "record":
            signature = random.choice(sorted(RECORDS))
            offset, width = random.choice(RECORDS[signature])
            if found := [match.start() for match in re.finditer(re.escape(signature), data)]:
                at = random.choice(found) + offset
                value = random.choice([*NUMBERS, random.getrandbits(8 * width)]) % 2 ** (8 * width)
                data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data)


def outcome(reader: Reader, data: bytes) -> tuple[str, object]:
    """The outcome of reading an upload: frames and points, or a refusal; anything else fails."""
    try:
        answer = reader(io.BytesIO(data))
    except SequenceError as refusal:
        error = refusal
    else:
        points = answer.total_points if isinstance(answer, SequenceInfo) else sum(answer.points_per_frame)
        return "read", (answer.frames, points, answer.corresponding)
    assert error.faults
    assert all(fault.key and fault.message and fault.found and fault.wanted for fault in error.faults)
    assert all(len(line) < 500 and line.isprintable() for line in str(error).split("\n"))
    return error.code, str(error)


def outcomes(make: Callable[[Random], bytes], seeds: Iterable[int]) -> Counter[str]:
    """Count accepted uploads and refusals by code; both readers must agree on each upload."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        data = make(Random(seed))
        try:
            inspected, read = outcome(inspect_sequence, data), outcome(read_sequence, data)
            assert inspected == read
        except BaseException as error:
            error.add_note(f"{make.__name__}, seed {seed}")
            raise
        counts[inspected[0]] += 1
    return counts


def process_memory(which: str) -> int:
    """Memory in bytes by kernel field: VmSize (current), VmHWM (peak resident)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[which].split()[0]) << 10


def main(first: int, count: int) -> None:
    warnings.simplefilter("error")
    allowed = process_memory("VmSize") + 2 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    before, started = process_memory("VmHWM"), time.perf_counter()
    seeds = range(first, first + count)
    report: dict[str, object] = {
        make.__name__: outcomes(make, seeds) for make in (damaged_upload, hostile_upload)
    }
    report["growth"] = process_memory("VmHWM") - before
    report["seconds"] = round(time.perf_counter() - started, 1)
    print(json.dumps(report))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process")
def test_thousands_of_damaged_and_hostile_uploads() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "0", str(UPLOADS)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)
    assert answer.returncode == 0, answer.stderr[-5000:]
    print(answer.stdout)
    report = json.loads(answer.stdout)
    every = {"read", "invalid_sequence", "too_large", "unsupported_media"}
    assert sum(report["damaged_upload"].values()) == UPLOADS
    assert sum(report["hostile_upload"].values()) == UPLOADS
    assert set(report["damaged_upload"]) == every
    assert set(report["hostile_upload"]) >= {"read", "invalid_sequence", "too_large"}
    assert report["growth"] < MEMORY


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(
    st.integers(0, 11),
    st.lists(
        st.tuples(st.integers(0, 4000), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4
    ),
)
def test_edited_uploads_are_read_or_refused(seed: int, edits: list[tuple[int, bytes, int]]) -> None:
    data = upload(Random(seed), unharmed)
    for place, inserted, dropped in edits:
        place %= len(data) + 1
        data = data[:place] + inserted + data[place + dropped :]
    assert outcome(inspect_sequence, data) == outcome(read_sequence, data)


if __name__ == "__main__":
    main(first=int(sys.argv[1]), count=int(sys.argv[2]))
