"""Archives of OBJ files that the service writes, read back to be drawn."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from model import MeshSequence
from model.errors import InputError
from model.meshes.archives import write_obj_zip
from worker.rendering.obj_archive import read_obj_archive

BALL = trimesh.creation.icosphere(subdivisions=1)
VERTICES = np.stack([BALL.vertices, 1.5 * BALL.vertices])  # [2, V, 3]
MESHES = MeshSequence(
    VERTICES, BALL.faces, np.array([0.0, 0.1]), np.full((len(BALL.vertices), 3), 64, np.uint8)
)


def test_an_archive_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ball.zip"
    path.write_bytes(write_obj_zip(MESHES))
    read = read_obj_archive(path)
    np.testing.assert_allclose(read.vertices, VERTICES, atol=1e-5)
    np.testing.assert_array_equal(read.faces, BALL.faces)
    assert read.colors is not None
    np.testing.assert_allclose(read.colors, 64 / 255, atol=0.002)
    assert read.times == [0.0, 0.1]


def test_an_archive_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ball.zip"
    path.write_bytes(write_obj_zip(MESHES))
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "less.zip", "w") as less:
        for name in [name for name in whole.namelist() if not name.endswith("1.obj")]:
            less.writestr(name, whole.read(name))
    with pytest.raises(InputError, match="its manifest says"):
        read_obj_archive(tmp_path / "less.zip")
