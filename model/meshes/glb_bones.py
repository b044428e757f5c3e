"""A skin in a glTF document: nodes of its bones, influences of vertices, and an animation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from model.meshes.gltf import VERTICES, GltfBuffer
from model.meshes.skinning import Skin


def influences(buffer: GltfBuffer, skin: Skin, split: NDArray[np.int64], compress: bool) -> dict[str, int]:
    """Four bones and their weights for the vertices in `split` [U]; as integers, they sum to 1 exactly."""
    joints = np.zeros((len(split), 4), np.uint8)
    weights = np.zeros((len(split), 4))
    slots = skin.joints.shape[1]
    joints[:, :slots], weights[:, :slots] = skin.joints[split], skin.weights[split]
    if compress:
        stored = np.floor(65535 * weights).astype(np.uint16)
        stored[:, 0] += 65535 - stored.sum(axis=1, dtype=np.uint16)
    else:
        stored = weights.astype(np.float32)
    joints[stored == 0] = 0  # as the specification asks
    return {
        "JOINTS_0": buffer.add(joints, target=VERTICES),
        "WEIGHTS_0": buffer.add(stored, target=VERTICES, normalized=compress),
    }


def skeleton(
    buffer: GltfBuffer, skin: Skin, center: NDArray[np.float64], step: float | None
) -> dict[str, Any]:
    """Nodes: the mesh, the root of the bones at the center, and the bones."""
    inverse = np.zeros((skin.bones, 4, 4), np.float32)  # in columns
    inverse[:, [0, 1, 2], [0, 1, 2]] = 1 if step is None else step
    inverse[:, 3, :3], inverse[:, 3, 3] = -skin.pivots, 1
    bones = list(range(2, 2 + skin.bones))
    nodes: list[dict[str, Any]] = [
        {"name": "sequence", "mesh": 0, "skin": 0},
        {"name": "skeleton", "translation": center.tolist(), "children": bones},
    ]
    nodes += [{"name": f"bone_{i:02d}", "translation": pivot.tolist()} for i, pivot in enumerate(skin.pivots)]
    matrices = buffer.add(inverse.reshape(-1, 16))
    return {
        "nodes": nodes,
        "scenes": [{"nodes": [0, 1]}],
        "skins": [{"joints": bones, "skeleton": 1, "inverseBindMatrices": matrices}],
    }


def bone_animation(
    buffer: GltfBuffer, skin: Skin, seconds: NDArray[np.float32], compress: bool
) -> dict[str, Any]:
    times = buffer.add(seconds, bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    for bone in range(skin.bones):
        quaternions = Rotation.from_matrix(skin.rotations[:, bone]).as_quat()  # [T, 4], x y z w
        turns = np.where((quaternions[1:] * quaternions[:-1]).sum(axis=1) < 0, -1, 1)
        quaternions[1:] *= np.cumprod(turns)[:, None]  # the shorter way from frame to frame
        if compress:
            rotation = buffer.add(np.rint(32767 * quaternions).astype(np.int16), normalized=True)
        else:
            rotation = buffer.add(quaternions.astype(np.float32))
        translation = buffer.add(skin.positions[:, bone].astype(np.float32))
        for path, output in (("rotation", rotation), ("translation", translation)):
            channels.append({"sampler": len(samplers), "target": {"node": 2 + bone, "path": path}})
            samplers.append({"input": times, "output": output, "interpolation": "LINEAR"})
    return {"name": "flow", "samplers": samplers, "channels": channels}
