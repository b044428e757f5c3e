import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import trimesh
from trimesh.visual import ColorVisuals

from model.meshes.archives import write_npz, write_obj_zip, write_ply_zip
from model.meshes.glb import write_glb
from model.meshes.sequence import Findings, MeshSequence
from service.core.jobs.formats import Format
from tests.model.meshes.test_glb import read_glb
from worker.pipeline import write_meshes

WRITERS = {"obj": write_obj_zip, "ply": write_ply_zip}


def rolling_ball(
    frames: int = 4, offset: float = 0.0, scale: float = 1.0, colored: bool = True
) -> MeshSequence:
    ball = trimesh.creation.icosphere(subdivisions=2)
    travel = np.arange(frames)[:, None, None] * np.array([0.1, 0.0, 0.02])
    colors = np.random.default_rng(0).integers(0, 256, (len(ball.vertices), 3), dtype=np.uint8)
    vertices = scale * (ball.vertices + travel) + offset
    return MeshSequence(vertices, ball.faces, 2 + np.arange(frames) / 30, colors if colored else None)


def read_frames(content: bytes, extension: str, frames: int) -> tuple[dict[str, Any], list[trimesh.Trimesh]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = [f"{i:05d}.{extension}" for i in range(frames)]
        assert archive.namelist() == ["manifest.json", *names]
        manifest = json.loads(archive.read("manifest.json"))
        return manifest, [
            trimesh.load_mesh(io.BytesIO(archive.read(name)), file_type=extension, process=False)
            for name in names
        ]


@pytest.mark.parametrize("colored", [True, False])
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e6, 0.5), (-3.0, 1e-5), (0.0, 1e7)])
@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_every_frame_reads_back(kind: str, offset: float, scale: float, colored: bool) -> None:
    meshes = rolling_ball(offset=offset, scale=scale, colored=colored)
    manifest, frames = read_frames(WRITERS[kind](meshes), kind, 4)
    assert manifest == {
        "fps": pytest.approx(30),
        "times": meshes.times.tolist(),
        "frames": 4,
        "vertices": 162,
        "faces": 320,
    }
    for frame, vertices in zip(frames, meshes.vertices, strict=True):
        # At most a ten-millionth of the extent is lost, wherever the origin.
        np.testing.assert_allclose(frame.vertices, vertices, rtol=4e-16, atol=2.5e-7 * scale)
        np.testing.assert_array_equal(frame.faces, meshes.faces)
        if colored:
            assert isinstance(frame.visual, ColorVisuals)
            np.testing.assert_array_equal(frame.visual.vertex_colors[:, :3], meshes.colors)


@pytest.mark.parametrize(("offset", "dtype"), [(0.0, np.float32), (1e6, np.float64)])
def test_npz_reads_back(offset: float, dtype: type) -> None:
    meshes = rolling_ball(offset=offset)
    data = np.load(io.BytesIO(write_npz(meshes)), allow_pickle=False)
    assert sorted(data.files) == ["colors", "faces", "times", "vertices"]
    assert data["vertices"].dtype == dtype
    np.testing.assert_allclose(data["vertices"], meshes.vertices, atol=2e-7, rtol=0)
    np.testing.assert_array_equal(data["faces"], meshes.faces)
    np.testing.assert_array_equal(data["times"], meshes.times)
    np.testing.assert_array_equal(data["colors"], meshes.colors)


@pytest.mark.parametrize("file_format", Format)
def test_the_same_meshes_give_the_same_bytes(file_format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_meshes(rolling_ball(), file_format)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert write_meshes(rolling_ball(), file_format) == first
    assert write_meshes(rolling_ball(colored=False), file_format) != first


def test_a_mesh_without_extent_is_written() -> None:
    still = MeshSequence(np.full((2, 3, 3), 0.1), np.array([[0, 1, 2]]), np.array([0.0, 1.0]))
    _, frames = read_frames(write_obj_zip(still), "obj", 2)
    np.testing.assert_allclose(frames[0].vertices, 0.1)
    read_frames(write_ply_zip(still), "ply", 2)


def test_confidence_of_vertices_is_written() -> None:
    meshes = rolling_ball()
    confidence = np.linspace(0, 1, meshes.vertices.shape[1], dtype=np.float32)  # [V]
    meshes.findings = Findings("good", [], [], {}, {}, confidence)
    with np.load(io.BytesIO(write_npz(meshes)), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["confidence"], confidence)
    with zipfile.ZipFile(io.BytesIO(write_ply_zip(meshes))) as archive:
        frame = trimesh.load(io.BytesIO(archive.read("00001.ply")), file_type="ply", process=False)
    data = frame.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(np.asarray(data["confidence"]).ravel(), confidence)
    document, accessor = read_glb(write_glb(meshes))
    [primitive] = document["meshes"][0]["primitives"]
    np.testing.assert_array_equal(accessor(primitive["attributes"]["_CONFIDENCE"])[:, 0], confidence)
