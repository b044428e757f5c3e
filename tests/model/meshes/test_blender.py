"""Files as Blender plays them. Wants bpy, in the environment of BLENDER_PYTHON if not in this one."""

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.meshes.glb import write_glb
from model.meshes.point_caches import write_mdd_zip, write_pc2_zip
from model.meshes.usd import write_usdc
from tests.model.meshes.test_skinning import folding_arm

pytestmark = pytest.mark.slow
PYTHON = os.environ.get("BLENDER_PYTHON", sys.executable)
SCRIPT = """
import json, sys
import bpy

path, kind = sys.argv[-2:]
bpy.ops.wm.read_factory_settings(use_empty=True)
if kind == "glb":
    bpy.ops.import_scene.gltf(filepath=path)
elif kind == "usdc":
    bpy.ops.wm.usd_import(filepath=path)
else:
    bpy.ops.wm.obj_import(filepath=path.rsplit(".", 1)[0] + ".obj")
    cache = bpy.context.selected_objects[0].modifiers.new("cache", "MESH_CACHE")
    cache.cache_format, cache.filepath = kind.upper(), path
    if kind == "mdd":
        cache.play_mode, cache.frame_start = "SCENE", 0
scene = bpy.context.scene
meshes = [item for item in scene.objects if item.type == "MESH"]
shown = max(meshes, key=lambda item: len(item.data.vertices))  # not the shape that stands for bones
frames = []
for frame in range(9):
    scene.frame_set(frame)
    seen = shown.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = seen.to_mesh()
    frames.append([list(seen.matrix_world @ vertex.co) for vertex in mesh.vertices])
keys = []
if shown.data.shape_keys and shown.data.shape_keys.animation_data:
    action = shown.data.shape_keys.animation_data.action
    curves = getattr(action, "fcurves", None)
    if curves is None:
        curves = action.layers[0].strips[0].channelbags[0].fcurves
    keys = sorted({key.co[0] for curve in curves for key in curve.keyframe_points})
print("RESULT" + json.dumps({"frames": frames, "keys": keys, "rate": scene.render.fps}))
"""


@pytest.fixture(scope="module", autouse=True)
def _blender() -> None:
    if subprocess.run([PYTHON, "-c", "import bpy"], capture_output=True).returncode:
        pytest.skip("bpy is not installed")


def played(path: Path, kind: str) -> dict[str, Any]:
    done = subprocess.run([PYTHON, "-c", SCRIPT, str(path), kind], capture_output=True, text=True)
    assert "RESULT" in done.stdout, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.partition("RESULT")[2].splitlines()[0])
    x, y, z = np.moveaxis(np.array(result["frames"]), -1, 0)
    return result | {"frames": np.stack([x, z, -y], axis=-1)}  # Blender's z is up


@pytest.mark.parametrize("kind", ["morph", "skin", "usdc", "mdd", "pc2"])
def test_every_frame_is_on_a_whole_frame(tmp_path: Path, kind: str) -> None:
    meshes = folding_arm(9)
    meshes.vertices -= np.array([100.0, 0, 0])
    meshes.playback = np.arange(9) / 24
    path = tmp_path / f"mesh.{kind if kind in ('usdc', 'mdd', 'pc2') else 'glb'}"
    if kind in ("morph", "skin"):
        path.write_bytes(write_glb(meshes, animation=kind))  # type: ignore[arg-type]
    elif kind == "usdc":
        path.write_bytes(write_usdc(meshes))
    else:
        content = write_mdd_zip(meshes) if kind == "mdd" else write_pc2_zip(meshes)
        zipfile.ZipFile(BytesIO(content)).extractall(tmp_path)
    result = played(path, path.suffix[1:])
    if kind == "morph":
        assert np.allclose(result["keys"], np.round(result["keys"]), atol=1e-4)
        assert result["rate"] == 24
    # Importers of glTF may split or weld vertices, so places are compared by the nearest.
    for found, wanted in zip(result["frames"], meshes.vertices, strict=True):
        distance = np.linalg.norm(found[:, None] - wanted[None], axis=2)
        assert distance.min(axis=1).max() < (0.03 if kind == "skin" else 1e-4), kind
