import io
import struct
import zipfile

import numpy as np
import pytest
import trimesh

from model.meshes.point_caches import write_mdd_zip, write_pc2_zip
from tests.model.meshes.test_archives import rolling_ball


@pytest.mark.parametrize("kind", ["mdd", "pc2"])
def test_caches_hold_all_frames_beside_the_mesh_of_the_first(kind: str) -> None:
    """Read with the layouts that Blender's modifiers read."""
    meshes = rolling_ball()
    content = write_mdd_zip(meshes) if kind == "mdd" else write_pc2_zip(meshes)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["mesh.obj", f"mesh.{kind}"]
        cache = archive.read(f"mesh.{kind}")
        first = trimesh.load_mesh(io.BytesIO(archive.read("mesh.obj")), file_type="obj", process=False)
    np.testing.assert_allclose(first.vertices, meshes.vertices[0], atol=2.5e-7)
    np.testing.assert_array_equal(first.faces, meshes.faces)
    if kind == "mdd":
        frames, vertices = struct.unpack_from(">ii", cache)
        times = np.frombuffer(cache, ">f4", frames, 8)
        np.testing.assert_allclose(times, np.arange(4) / 30, atol=1e-6)
        points = np.frombuffer(cache, ">f4", offset=8 + 4 * frames)
    else:
        name, version, vertices, start, rate, frames = struct.unpack_from("<12siiffi", cache)
        assert (name, version, start, rate) == (b"POINTCACHE2\0", 1, 0, 1)
        points = np.frombuffer(cache, "<f4", offset=32)
    np.testing.assert_allclose(points.reshape(frames, vertices, 3), meshes.vertices, atol=2e-7)


def test_obj_files_have_the_normals_of_the_surface() -> None:
    from model.meshes.archives import obj_frames

    meshes = rolling_ball(offset=1e5)
    loaded = trimesh.load_mesh(io.BytesIO(list(obj_frames(meshes))[2]), file_type="obj", process=False)
    ball = meshes.vertices[2] - meshes.vertices[2].mean(axis=0)
    np.testing.assert_allclose(loaded.vertex_normals, ball, atol=0.03)
