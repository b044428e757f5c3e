"""Bones found from motion, by the numbers and as a GLB file plays them."""

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from model.meshes import skinning
from model.meshes.glb import write_glb
from model.meshes.sequence import MeshSequence
from tests.model.meshes.test_glb import read_glb

Floats = NDArray[np.float64]


def folding_arm(frames: int) -> MeshSequence:
    """A capsule that bends smoothly at its middle, turns and travels."""
    capsule = trimesh.creation.capsule(height=3.0, radius=0.4, count=[12, 24])
    rest = capsule.vertices - capsule.vertices.mean(axis=0)
    share = np.clip((rest[:, 2] + 0.5), 0, 1)[:, None]  # [V, 1]
    phase = np.linspace(0, 1, frames)
    vertices = np.empty((frames, *rest.shape))
    for frame, t in enumerate(phase):
        bent = Rotation.from_euler("x", 80 * np.sin(np.pi * t), degrees=True).apply(rest)
        whole = Rotation.from_euler("y", 50 * t, degrees=True)
        vertices[frame] = whole.apply((1 - share) * rest + share * bent) + np.array([2 * t, 0, 0])
    return MeshSequence(vertices + np.array([100.0, 0, 0]), capsule.faces, phase)


def test_a_skinned_motion_is_found_again() -> None:
    meshes = folding_arm(24)
    skin = skinning.fit_skin(meshes.vertices)
    extent = float(np.ptp(meshes.vertices, axis=(0, 1)).max())
    assert skin.mean_error <= skinning.MEAN_ERROR * extent
    assert skin.max_error < 0.02 * extent
    np.testing.assert_allclose(skin.weights.sum(axis=1), 1)
    assert skin.weights.min() >= 0
    errors = [
        np.linalg.norm(skinning.posed(skin, meshes.vertices[0], t) - meshes.vertices[t], axis=1)
        for t in range(24)
    ]
    assert np.mean(errors) == pytest.approx(skin.mean_error)
    assert np.max(errors) == pytest.approx(skin.max_error)
    np.testing.assert_allclose(np.linalg.det(skin.rotations), 1)


def test_a_rigid_motion_is_exact() -> None:
    ball = trimesh.creation.icosphere(
        subdivisions=1
    )  # some bones have too few vertices to show how they turn
    turns = [Rotation.from_rotvec([0, 0.1 * t, 0.05 * t]) for t in range(20)]
    vertices = np.stack([turn.apply(ball.vertices) for turn in turns])
    vertices[..., 0] += 0.1 * np.arange(20)[:, None]
    assert skinning.fit_skin(vertices).max_error < 1e-12


@pytest.mark.parametrize("compress", [False, True])
def test_the_file_plays_within_the_error_that_it_states(compress: bool) -> None:
    meshes = folding_arm(24)
    document, accessor = read_glb(write_glb(meshes, animation="skin", compress=compress))
    stated = document["asset"]["extras"]["skin"]
    [primitive], [skin], nodes = document["meshes"][0]["primitives"], document["skins"], document["nodes"]
    assert len(skin["joints"]) == stated["bones"]
    attributes = {name: accessor(index) for name, index in primitive["attributes"].items()}
    weights = attributes["WEIGHTS_0"] / (65535 if compress else 1)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    inverse = accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    places = np.concatenate([attributes["POSITION"], np.ones((len(weights), 1))], axis=1)
    errors = []
    for frame in range(24):
        moved = pose(document, accessor, frame) @ inverse  # [B, 4, 4]
        carried = np.einsum("vkij,vj->vki", moved[attributes["JOINTS_0"]], places)[..., :3]
        found = np.einsum("vk,vki->vi", weights, carried) + nodes[1]["translation"]
        errors.append(np.linalg.norm(found - meshes.vertices[frame], axis=1))
    rounding = 4e-4 if compress else 1e-5
    assert np.mean(errors) <= stated["mean_error"] + rounding
    assert np.max(errors) <= stated["max_error"] + rounding


def pose(document: dict, accessor, frame: int) -> NDArray[np.float64]:  # type: ignore[no-untyped-def,type-arg]
    """Matrices [B, 4, 4] of the bones."""
    [animation] = document["animations"]
    bones = document["skins"][0]["joints"]
    matrices = np.tile(np.eye(4), (len(bones), 1, 1))
    for channel in animation["channels"]:
        bone = bones.index(channel["target"]["node"])
        value = accessor(animation["samplers"][channel["sampler"]]["output"])[frame].astype(float)
        if channel["target"]["path"] == "rotation":
            matrices[bone, :3, :3] = Rotation.from_quat(value / np.linalg.norm(value)).as_matrix()
        else:
            matrices[bone, :3, 3] = value
    return matrices


def test_long_clips_are_small() -> None:
    """300 frames of 5,000 vertices fit in 5 MB; as morph targets they would take 36."""
    meshes = folding_arm(300)
    content = write_glb(meshes, compress=True)
    document, _ = read_glb(content)
    assert document["asset"]["extras"]["skin"]["bones"] <= 64
    assert len(content) < 1e6


def test_rotations_take_the_shorter_way() -> None:
    meshes = folding_arm(24)
    document, accessor = read_glb(write_glb(meshes, animation="skin"))
    for sampler in document["animations"][0]["samplers"][::2]:
        quaternions = accessor(sampler["output"]).astype(float)
        assert ((quaternions[1:] * quaternions[:-1]).sum(axis=1) > 0).all()


def test_a_still_mesh_and_few_vertices_have_a_skin() -> None:
    tetrahedron = trimesh.creation.icosahedron()
    still = np.repeat(tetrahedron.vertices[None], 3, axis=0)
    skin = skinning.fit_skin(still)
    assert skin.max_error < 1e-9


@pytest.mark.parametrize("sweeps", [1, 3])
def test_transforms_are_those_of_one_bone_after_the_other(sweeps: int) -> None:
    vertices = folding_arm(5).vertices[:, ::3]  # [S, V, 3]
    rest = vertices[0]
    near = np.exp(-np.abs(rest[:, 2:] - np.array([-2, 0, 2, np.inf])))  # [V, B], a bone without vertices
    weights = near / near.sum(axis=1, keepdims=True)
    moves = skinning._transforms(vertices, rest, weights, None)
    expected = moves[0].copy(), moves[1].copy()
    for _ in range(sweeps):
        plain_sweep(vertices, rest, weights, *expected)
    found = skinning._transforms(vertices, rest, weights, moves, sweeps)
    assert np.allclose(found[0], expected[0], atol=1e-9)
    assert np.allclose(found[1], expected[1], atol=1e-7)  # 100 from the origin


def plain_sweep(
    vertices: Floats, rest: Floats, weights: Floats, rotations: Floats, translations: Floats
) -> None:
    """Move each bone to what the others leave of the vertices, by weighted rigid alignment frame by frame."""
    for bone, weight in enumerate(weights.T):
        if not weight.any():
            continue
        for t, frame in enumerate(vertices):
            moved = np.einsum("bij,vj->vbi", rotations[t], rest) + translations[t]  # [V, B, 3]
            moved[:, bone] = 0
            left = frame - np.einsum("vb,vbi->vi", weights, moved)  # of which this bone explains a share
            source = (weight**2) @ rest / (weight**2).sum()
            target = weight @ left / (weight**2).sum()
            aimed = left - weight[:, None] * target
            rotation, _ = Rotation.align_vectors(aimed, weight[:, None] * (rest - source))
            rotations[t, bone] = rotation.as_matrix()
            translations[t, bone] = target - rotation.as_matrix() @ source
