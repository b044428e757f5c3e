import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.glb import MAX_MORPH_FRAMES, write_glb
from model.meshes.normals import vertex_normals
from model.meshes.sequence import MeshSequence
from model.meshes.upright import upright_rotation

COMPONENT = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def breathing_ball(
    frames: int = 5,
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scale: float = 1.0,
    start: float = 0.0,
) -> MeshSequence:
    ball = trimesh.creation.icosphere(subdivisions=2)
    times = start + np.arange(frames) / 24
    stretch = 1 + 0.3 * np.sin(np.arange(frames))[:, None] * np.array([1.0, -1.0, 0.5])  # [T, 3]
    vertices = scale * ball.vertices * stretch[:, None] + offset  # [T, V, 3]
    colors = np.random.default_rng(0).integers(0, 256, (len(ball.vertices), 3), dtype=np.uint8)
    return MeshSequence(vertices, ball.faces, times, colors)


def read_glb(content: bytes) -> tuple[dict[str, Any], Callable[[int], NDArray[Any]]]:
    """The document and a function from the index of an accessor to its array."""
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack_from("<I4s", content, 12)
    assert kind == b"JSON"
    document = json.loads(content[20 : 20 + size])
    binary_size, kind = struct.unpack_from("<I4s", content, 20 + size)
    assert kind == b"BIN\0"
    binary = content[28 + size :]
    assert len(binary) == binary_size == document["buffers"][0]["byteLength"]

    def accessor(index: int) -> NDArray[Any]:
        entry = document["accessors"][index]
        view = document["bufferViews"][entry["bufferView"]]
        width, kind = WIDTH[entry["type"]], np.dtype(COMPONENT[entry["componentType"]])
        stride = view.get("byteStride", width * kind.itemsize)
        shape, strides = (entry["count"], width), (stride, kind.itemsize)
        array = np.ndarray(shape, kind, binary, view["byteOffset"], strides)
        if "min" in entry:
            np.testing.assert_array_equal(array.min(axis=0), np.array(entry["min"], np.float32))
            np.testing.assert_array_equal(array.max(axis=0), np.array(entry["max"], np.float32))
        return array

    return document, accessor


@pytest.mark.parametrize(
    ("offset", "scale"), [((0.0, 0.0, 0.0), 1.0), ((1e6, -3e6, 40.0), 0.5), ((0.0, 7e-6, 0.0), 1e-6)]
)
def test_base_and_targets_are_the_frames(offset: tuple[float, float, float], scale: float) -> None:
    meshes = breathing_ball(offset=offset, scale=scale)
    document, accessor = read_glb(meshes.to_glb())
    primitive = document["meshes"][0]["primitives"][0]
    center = np.array(document["nodes"][0]["translation"])
    base = accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
    base_normal = accessor(primitive["attributes"]["NORMAL"])
    np.testing.assert_array_equal(accessor(primitive["indices"]).reshape(-1, 3), meshes.faces)
    assert len(primitive["targets"]) == len(meshes.times) - 1
    frames = [base] + [base + accessor(target["POSITION"]) for target in primitive["targets"]]
    # What float32 allows relative to the shape, plus what float64 allows relative to the place.
    np.testing.assert_allclose(np.stack(frames) + center, meshes.vertices, rtol=4e-16, atol=2e-7 * scale)
    for frame, target in zip(meshes.vertices[1:], primitive["targets"], strict=True):
        normals = base_normal + accessor(target["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
        expected = trimesh.Trimesh((frame - center) / scale, meshes.faces, process=False)
        np.testing.assert_allclose(normals, area_weighted(expected), atol=1e-5)


def area_weighted(mesh: trimesh.Trimesh) -> NDArray[Any]:
    sums = np.zeros((len(mesh.vertices), 3))
    for face, normal, area in zip(mesh.faces, mesh.face_normals, mesh.area_faces, strict=True):
        sums[face] += normal * area
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def test_one_animation_shows_each_frame_alone_at_its_time() -> None:
    meshes = breathing_ball(frames=6, start=1.7e9)
    document, accessor = read_glb(meshes.to_glb())
    (animation,) = document["animations"]
    (sampler,), (channel,) = animation["samplers"], animation["channels"]
    assert sampler["interpolation"] == "LINEAR"
    assert channel["target"] == {"node": 0, "path": "weights"}
    times = accessor(sampler["input"]).ravel()
    np.testing.assert_allclose(times, np.arange(6) / 24, atol=1e-6)
    weights = accessor(sampler["output"]).reshape(6, 5)
    np.testing.assert_array_equal(weights, np.eye(6)[:, 1:])
    assert document["meshes"][0]["weights"] == [0.0] * 5
    assert document["asset"]["generator"] == "oflow"
    assert document["asset"]["extras"] == {"fps": pytest.approx(24, rel=1e-5), "frames": 6}


def test_trimesh_reads_the_first_frame() -> None:
    meshes = breathing_ball()
    scene = trimesh.load_scene(io.BytesIO(meshes.to_glb()), file_type="glb", process=False)
    mesh = scene.to_mesh()
    np.testing.assert_allclose(mesh.vertices, meshes.vertices[0], atol=2e-7)
    np.testing.assert_array_equal(mesh.faces, meshes.faces)
    assert mesh.is_watertight


@pytest.mark.parametrize("up", ["z", "-y", "x"])
def test_a_node_turns_the_scene_upright(up: str) -> None:
    meshes = breathing_ball(offset=(1.0, 2.0, 30.0))
    meshes.up = up
    content = meshes.to_glb()
    mesh = trimesh.load_scene(io.BytesIO(content), file_type="glb", process=False).to_mesh()
    turned = meshes.vertices[0] @ upright_rotation(up).T
    np.testing.assert_allclose(mesh.vertices, turned, atol=1e-5)
    document, accessor = read_glb(content)
    position = accessor(document["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
    below = position + np.array(document["nodes"][0]["translation"])
    np.testing.assert_allclose(below, meshes.vertices[0], atol=1e-5)


def test_an_unknown_axis_is_refused() -> None:
    with pytest.raises(InputError, match="up is 'north', wanted x, y, z"):
        replace(breathing_ball(), up="north")


def test_colours_are_stored_linear_as_the_format_asks() -> None:
    meshes = breathing_ball()
    assert meshes.colors is not None
    document, accessor = read_glb(meshes.to_glb())
    rgba = accessor(document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    assert (rgba[:, 3] == 255).all()
    linear = rgba[:, :3] / 255
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    bright = meshes.colors > 60  # below, a byte of linear light is a coarse step
    assert np.abs(255 * srgb - meshes.colors)[bright].max() < 5
    assert "COLOR_0" not in json.dumps(
        read_glb(MeshSequence(meshes.vertices, meshes.faces, meshes.times).to_glb())[0]
    )


def test_normals_are_optional_and_a_single_frame_has_no_animation() -> None:
    document, _ = read_glb(write_glb(breathing_ball(), normals=False))
    assert "NORMAL" not in json.dumps(document)
    document, _ = read_glb(breathing_ball(frames=1).to_glb())
    assert "animations" not in document
    assert "targets" not in document["meshes"][0]["primitives"][0]


def test_too_many_frames_are_refused_with_the_limit() -> None:
    assert breathing_ball(frames=MAX_MORPH_FRAMES).to_glb()
    with pytest.raises(InputError, match=r"at most 200 morph targets, and there are 201 frames: request"):
        write_glb(breathing_ball(frames=MAX_MORPH_FRAMES + 1), animation="morph")


def test_clips_play_as_they_are_told() -> None:
    meshes = breathing_ball(frames=3)
    meshes.playback = np.array([0.0, 2.0, 4.0])
    document, accessor = read_glb(meshes.to_glb())
    times = accessor(document["animations"][0]["samplers"][0]["input"])
    np.testing.assert_array_equal(times.ravel(), meshes.playback)
    assert document["asset"]["extras"]["fps"] == 0.5


def test_quantized_frames_are_as_near_as_the_file_says() -> None:
    meshes = breathing_ball(offset=(10.0, 0.0, -3.0))
    content = write_glb(meshes, compress=True)
    document, accessor = read_glb(content)
    [node], [primitive] = document["nodes"], document["meshes"][0]["primitives"]
    step = document["asset"]["extras"]["quantization_step"]
    assert node["scale"] == [step] * 3
    assert step < 2e-4
    base = accessor(primitive["attributes"]["POSITION"]).astype(int)
    for frame, target in zip(meshes.vertices[1:], primitive["targets"], strict=True):
        found = step * (base + accessor(target["POSITION"])) + node["translation"]
        assert np.abs(found - frame).max() <= 0.5001 * step
    np.testing.assert_array_equal(
        accessor(document["animations"][0]["samplers"][0]["output"]).reshape(5, 4), 255 * np.eye(5)[:, 1:]
    )
    assert len(content) < 0.65 * len(meshes.to_glb())


def test_times_that_float32_cannot_tell_apart_are_refused() -> None:
    meshes = breathing_ball(frames=3)
    meshes.times = np.array([0.0, 1000.0, 1000.000001])
    with pytest.raises(InputError, match=r"Frames 1 and 2 are too close .* of 1000 s.*`frames`"):
        meshes.to_glb()


def reference_normals(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    sums = np.zeros(vertices.shape)
    for a, b, c in faces:
        area = np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
        for vertex in (a, b, c):
            sums[vertex] += area
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def test_normals_point_outward_and_are_unit_even_where_faces_are_crushed() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    frames = np.stack([(1 + i) * ball.vertices for i in range(20)]).astype(np.float32)
    normals = vertex_normals(frames, ball.faces)
    for frame in normals:
        np.testing.assert_allclose(frame, ball.vertices, atol=0.03)
    np.testing.assert_allclose(normals[3], reference_normals(frames[3], ball.faces), atol=1e-5)
    crushed = vertex_normals(np.zeros((1, 3, 3), np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(crushed[0], [[0, 1, 0]] * 3)
