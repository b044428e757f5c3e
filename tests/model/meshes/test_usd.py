"""USD files, opened by Pixar's library and judged by its checkers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdValidation

from model.meshes.sequence import MeshSequence
from model.meshes.usd import write_usdc, write_usdz
from tests.model.meshes.test_archives import rolling_ball
from tests.model.meshes.test_finishing import BALL, textured_ball


def saved(content: bytes, path: Path) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["usdc", "usdz"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_points_are_sampled_at_the_frames(tmp_path: Path, suffix: str, offset: float) -> None:
    meshes = rolling_ball(offset=offset)
    writer = write_usdc if suffix == "usdc" else write_usdz
    stage = Usd.Stage.Open(str(saved(writer(meshes), tmp_path / f"mesh.{suffix}")))
    assert stage.GetTimeCodesPerSecond() == pytest.approx(30)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 3)
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/sequence/surface"))
    assert mesh.GetPointsAttr().GetTimeSamples() == [0, 1, 2, 3]
    place = np.array(UsdGeom.XformCache().GetLocalToWorldTransform(mesh.GetPrim()))[3, :3]
    for frame in range(4):
        found = np.array(mesh.GetPointsAttr().Get(frame), np.float64) + place
        np.testing.assert_allclose(found, meshes.vertices[frame], atol=3e-7, rtol=4e-16)
        _, high = mesh.GetExtentAttr().Get(frame)
        np.testing.assert_allclose(high, meshes.vertices[frame].max(axis=0) - place, atol=3e-7)
    np.testing.assert_array_equal(
        np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), meshes.faces
    )
    assert len(mesh.GetDisplayColorAttr().Get()) == meshes.vertices.shape[1]


def test_the_top_turns_the_sequence_upright(tmp_path: Path) -> None:
    meshes = replace(rolling_ball(offset=3.0), up="z")
    stage = Usd.Stage.Open(str(saved(write_usdz(meshes), tmp_path / "mesh.usdz")))
    assert faults(stage) == []
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/sequence/surface"))
    place = np.array(UsdGeom.XformCache().GetLocalToWorldTransform(mesh.GetPrim()))  # of rows
    found = np.array(mesh.GetPointsAttr().Get(2), np.float64) @ place[:3, :3] + place[3, :3]
    x, y, z = meshes.vertices[2].T
    np.testing.assert_allclose(found, np.stack([x, z, -y], axis=1), atol=2e-6)


@pytest.mark.parametrize("textured", [False, True])
def test_checkers_find_nothing(tmp_path: Path, textured: bool) -> None:
    meshes = rolling_ball()
    if textured:
        moving = np.stack([BALL.vertices, 1.1 * BALL.vertices])
        meshes = MeshSequence(moving, BALL.faces, np.array([0.0, 0.5]), texture=textured_ball(64))
    path = saved(write_usdz(meshes), tmp_path / "mesh.usdz")
    assert faults(Usd.Stage.Open(str(path))) == []


def test_checkers_find_what_is_wrong() -> None:
    assert faults(Usd.Stage.CreateInMemory()) != []


def faults(stage: Usd.Stage) -> list[str]:
    """What the validators of `usdchecker` say."""
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 20
    return [error.GetErrorAsString() for error in UsdValidation.ValidationContext(validators).Validate(stage)]
