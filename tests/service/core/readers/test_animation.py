"""Animated GLB files: written by our own writer, with bones, and by hand with moving nodes."""

import io
import json
import struct
from random import Random
from typing import Any

import numpy as np
import pytest

from model import MeshSequence
from model.meshes.glb import write_glb
from service.core.sequences.read_options import ReadOptions, Sample
from service.core.sequences.readers.animation import Animation
from service.core.sequences.readers.frame import BytesSource
from service.core.sequences.sequence import (
    DEFAULT_LIMITS,
    SequenceError,
    inspect_sequence,
    read_sequence,
    store_sequence,
)
from tests.service.core.readers.meshes import ball, triangles

VERTICES, POLYGONS = ball()
FACES = np.array(triangles(POLYGONS), np.int32)
TIMES = np.array([0.0, 0.25, 0.5, 1.0])


def turned(angle: float) -> Any:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


MOVED = np.stack([VERTICES @ turned(t).T + np.array([t, 0, 0]) for t in TIMES])  # [T, V, 3]


@pytest.mark.parametrize("options", [{"animation": "morph"}, {"animation": "skin"}, {"compress": True}])
def test_a_result_can_be_an_input(options: dict[str, Any]) -> None:
    data = write_glb(MeshSequence(MOVED, FACES, TIMES), **options)
    document = json.loads(data[20 : 20 + struct.unpack_from("<L", data, 12)[0]])
    stated = document["asset"].get("extras", {}).get("skin", {}).get("max_error", 0.0)  # of bones
    sequence = read_sequence(io.BytesIO(data), options=ReadOptions(Sample.VERTICES))
    np.testing.assert_allclose(sequence.times, TIMES, atol=1e-6)
    assert sequence.corresponding
    assert len(sequence.points) == len(TIMES)
    for points, wanted in zip(sequence.points, MOVED, strict=True):
        near = np.linalg.norm(points[:, None] - wanted[None], axis=2).min(axis=1)
        assert near.max() < 2e-3 + stated


def glb(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    body = (
        struct.pack("<L4s", len(text), b"JSON") + text + struct.pack("<L4s", len(binary), b"BIN\0") + binary
    )
    return struct.pack("<4s2L", b"glTF", 2, 12 + len(body)) + body


def by_hand(interpolation: str = "LINEAR", **changes: Any) -> bytes:
    """A ball below a turning node that is half as large, moved along x by its own node: 2 s, 3 keys."""
    half = [[0, 0, 0, 1], [0, np.sqrt(0.5), 0, np.sqrt(0.5)], [0, 1, 0, 0]]  # 0°, 90°, 180° about y
    moves = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    if interpolation == "CUBICSPLINE":
        moves = np.stack([np.zeros((3, 3)), moves, np.zeros((3, 3))], axis=1).reshape(-1, 3)
    arrays: list[Any] = [VERTICES, FACES.reshape(-1), np.array([0, 1, 2.0]), np.array(half), moves]
    kinds = [(5126, "VEC3", "<f4"), (5125, "SCALAR", "<u4"), (5126, "SCALAR", "<f4"), (5126, "VEC4", "<f4")]
    binary, views, accessors = b"", [], []
    for index, (array, (code, name, dtype)) in enumerate(zip(arrays, [*kinds, kinds[0]], strict=True)):
        data = array.astype(dtype).tobytes()
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)})
        accessors.append({"bufferView": index, "componentType": code, "count": len(array), "type": name})
        binary += data
    samplers = [{"input": 2, "output": 3}, {"input": 2, "output": 4, "interpolation": interpolation}]
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"children": [1], "scale": [0.5, 0.5, 0.5]}, {"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": views,
        "accessors": accessors,
        "animations": [
            {
                "samplers": samplers,
                "channels": [
                    {"sampler": 0, "target": {"node": 0, "path": "rotation"}},
                    {"sampler": 1, "target": {"node": 1, "path": "translation"}},
                ],
            }
        ],
    }
    return glb(document | changes, binary)


@pytest.mark.parametrize(
    ("interpolation", "along"), [("LINEAR", 0.25), ("STEP", 0), ("CUBICSPLINE", 0.15625)]
)
def test_nodes_move_what_is_below_them(interpolation: str, along: float) -> None:
    animation = Animation(BytesSource(by_hand(interpolation), "a.glb"))
    np.testing.assert_array_equal(animation.times, [0, 1, 2])
    np.testing.assert_array_equal(animation.faces, FACES)
    for time, place in ((0, 0), (1, 1), (2, 2), (0.25, along)):
        moved = VERTICES + np.array([place, 0, 0])
        fraction = time - int(time)
        a, b = np.array([0, 1.0]), np.array([np.sqrt(0.5), np.sqrt(0.5)])  # (sin, cos) of half the angle
        sine, cosine = a + fraction * (b - a)
        angle = 2 * np.arctan2(sine, cosine) if fraction else time * np.pi / 2
        np.testing.assert_allclose(animation.vertices(time), 0.5 * moved @ turned(angle).T, atol=1e-6)


def test_points_lie_on_the_moving_surface_at_the_rate_that_is_asked_for() -> None:
    upload = io.BytesIO(by_hand())
    options = ReadOptions(fps=4)
    info, kept = store_sequence(upload, io.BytesIO(), DEFAULT_LIMITS, options)
    assert (info.frames, info.points, info.corresponding, info.duration) == (9, 8192, True, 2.0)
    assert info == inspect_sequence(upload, options=options)
    sequence = read_sequence(kept)
    np.testing.assert_allclose(sequence.times, np.arange(9) / 4)
    assert sequence.corresponding


def sparse(indices: list[int], **changes: Any) -> bytes:
    """`by_hand` with the rows `indices` of the vertices replaced by (9, 9, 9) in a sparse accessor."""
    data = by_hand()
    size = struct.unpack_from("<L", data, 12)[0]
    document, binary = json.loads(data[20 : 20 + size]), data[28 + size :]
    rows = np.array(indices, "<u2").tobytes()
    values = np.full((len(indices), 3), 9, "<f4").tobytes()
    start = len(binary)
    document["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": len(rows)},
        {"buffer": 0, "byteOffset": start + len(rows), "byteLength": len(values)},
    ]
    document["accessors"][0]["sparse"] = {
        "count": len(indices),
        "indices": {"bufferView": 5, "componentType": 5123},
        "values": {"bufferView": 6},
    } | changes
    return glb(document, binary + rows + values)


def test_sparse_arrays_replace_rows() -> None:
    wanted = VERTICES.copy()
    wanted[[1, 5]] = 9
    found = Animation(BytesSource(sparse([1, 5]), "a.glb")).vertices(0)
    np.testing.assert_allclose(found, 0.5 * wanted, atol=1e-6)


@pytest.mark.parametrize("damaged", [sparse([60_000]), sparse([1], count=10**9), sparse([1], values={})])
def test_damaged_sparse_arrays_are_refused(damaged: bytes) -> None:
    with pytest.raises(SequenceError) as caught:
        read_sequence(io.BytesIO(damaged))
    assert caught.value.code == "invalid_sequence"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"animations": []}, "holds no animation"),
        ({"meshes": []}, "is not a valid glTF document"),
        ({"nodes": [{"children": [1]}, {"mesh": 0, "children": [0]}]}, "node below itself"),
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "KHR_draco_mesh_compression"),
        ({"bufferViews": [{"buffer": 0, "byteOffset": 10**9}] * 5}, "array outside of its buffer"),
        ({"accessors": [{"componentType": 5126, "count": 10**12, "type": "VEC3"}] * 5}, "invalid size"),
        ({"nodes": []}, "holds no surface"),
    ],
)
def test_other_documents_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SequenceError, match=words) as caught:
        read_sequence(io.BytesIO(by_hand(**changes)))
    assert caught.value.code == "invalid_sequence"


def test_damaged_files_are_read_or_refused() -> None:
    sound = [
        by_hand(),
        by_hand("CUBICSPLINE"),
        write_glb(MeshSequence(MOVED, FACES, TIMES), animation="skin"),
        sparse([1, 5]),
    ]
    words = [b"0", b"-1", b"7", b"65536", b"99999999999", b"null", b"[]", b"1e400"]
    refused = 0
    for seed in range(300):
        random = Random(seed)
        data = bytearray(random.choice(sound))
        for _ in range(random.randint(1, 3)):
            place = random.randrange(20, len(data))
            if random.random() < 0.7:
                numbers = [i for i in range(20, 1500) if chr(data[i]).isdigit()]
                place = random.choice(numbers)
                word = random.choice(words)
                data[place : place + 1] = word
                size = len(data)
                data[8:12], data[12:16] = (
                    size.to_bytes(4, "little"),
                    (int.from_bytes(data[12:16], "little") + len(word) - 1).to_bytes(4, "little"),
                )
            else:
                data[place] ^= 1 << random.randrange(8)
        try:
            with np.errstate(all="ignore"):
                read_sequence(io.BytesIO(bytes(data)))
        except SequenceError as error:
            refused += bool(error.faults)
    assert refused > 100
