"""Animated binary glTF 2.0: one mesh with one animation, of morph targets or of bones.

As morph targets, frame 0 is the base mesh and frame i is target i - 1 at weight 1. At time i only that weight
is 1, so that LINEAR interpolation blends consecutive frames: exact, and as large as all frames. As bones
(`model.meshes.skinning`) it is an approximation with a measured error, but many times smaller.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError
from model.meshes.glb_bones import bone_animation, influences, skeleton
from model.meshes.gltf import INDICES, VERTICES, GltfBuffer, glb_bytes
from model.meshes.normals import vertex_normals
from model.meshes.png import png_bytes
from model.meshes.sequence import MeshSequence
from model.meshes.skinning import fit_skin
from model.meshes.upright import upright_quaternion

Animation = Literal["auto", "morph", "skin"]

# Viewers keep one weight per target in shader uniforms, and some fail beyond about 200. The animation also
# grows with the square of the number of frames.
MAX_MORPH_FRAMES = 200
STEPS = 32766  # of quantized coordinates to either side of 0

UPRIGHT = "upright"  # name of the node that turns the scene; the page looks for it

_GREY = [0.6, 0.63, 0.67, 1.0]


def write_glb(
    meshes: MeshSequence, normals: bool = True, *, animation: Animation = "auto", compress: bool = False
) -> bytes:
    """The sequence as one GLB file, optionally with vertex normals. Time starts at 0.

    `auto` writes morph targets for up to `MAX_MORPH_FRAMES` frames and bones for more. With `compress`,
    numbers take one or two bytes instead of four (KHR_mesh_quantization). Positions are relative to the
    center of the sequence, which a node adds, so that they are precise at any distance from the origin; where
    `up` is not y, another node on top of it turns the scene.
    `asset.extras` states the largest error of what was rounded. Raises InputError for too many frames.
    """
    frames = len(meshes.times)
    skinned = frames > 1 and (animation == "skin" or (animation == "auto" and frames > MAX_MORPH_FRAMES))
    if not skinned and frames > MAX_MORPH_FRAMES:
        raise InputError(
            f"A GLB file holds at most {MAX_MORPH_FRAMES} morph targets, and there are {frames} frames: "
            "request animation skin or auto, or fewer frames."
        )
    axes = np.ascontiguousarray(np.moveaxis(meshes.vertices, 2, 0)).reshape(3, -1)  # [3, T V]
    center = (axes.min(axis=1) + axes.max(axis=1)) / 2  # [3]
    local = meshes.vertices - center  # [T, V, 3]
    step = _step(local) if compress else None

    buffer = GltfBuffer()
    split = np.arange(local.shape[1]) if meshes.texture is None else meshes.texture.origin  # [U]
    primitive: dict[str, Any] = {
        "indices": buffer.add(_indices(meshes, split), target=INDICES),
        "material": 0,
    }
    shown = local[:1] if skinned else local
    attributes, targets = _geometry(buffer, shown, meshes.faces, split, normals, step)
    primitive["attributes"] = attributes | _vertex_values(buffer, meshes, split)
    mesh: dict[str, Any] = {"name": "surface", "primitives": [primitive]}
    extras: dict[str, Any] = {"fps": meshes.fps, "frames": frames}
    document: dict[str, Any] = {
        "scene": 0,
        "meshes": [mesh],
    }
    document |= _surface(buffer, meshes)
    if step is not None:
        extras["quantization_step"] = step
        document |= {name: ["KHR_mesh_quantization"] for name in ("extensionsUsed", "extensionsRequired")}
    if skinned:
        skin = fit_skin(local)
        extras["skin"] = {"bones": skin.bones, "mean_error": skin.mean_error, "max_error": skin.max_error}
        primitive["attributes"] |= influences(buffer, skin, split, compress)
        document |= skeleton(buffer, skin, center, step)
        document["animations"] = [bone_animation(buffer, skin, _seconds(meshes), compress)]
    else:
        node = {"name": "sequence", "mesh": 0, "translation": center.tolist()}
        document["nodes"] = [node if step is None else node | {"scale": [step] * 3}]
        document["scenes"] = [{"nodes": [0]}]
        if frames > 1:
            primitive["targets"] = targets
            mesh["weights"] = [0.0] * (frames - 1)
            mesh["extras"] = {"targetNames": [f"frame_{i:03d}" for i in range(1, frames)]}
            document["animations"] = [_morph_animation(buffer, _seconds(meshes), compress)]
    if meshes.up != "y":
        _stand_upright(document, meshes.up)
    document["asset"] = {"version": "2.0", "generator": "oflow", "extras": extras}
    return glb_bytes(document, buffer)


def _stand_upright(document: dict[str, Any], up: str) -> None:
    """Turn the scene by a node on top of it: in glTF y is up. What is below it keeps its coordinates."""
    nodes, scene = document["nodes"], document["scenes"][0]
    turned = [n for n in scene["nodes"] if "skin" not in nodes[n]]  # skinned meshes follow their bones only
    scene["nodes"] = [n for n in scene["nodes"] if n not in turned] + [len(nodes)]
    nodes.append({"name": UPRIGHT, "rotation": upright_quaternion(up), "children": turned})


def _step(local: NDArray[np.float64]) -> float:
    """Length of a step of quantized coordinates that reach to all of [T, V, 3] and to all of their motion."""
    reach = max(float(np.abs(local).max()), max(float(np.abs(frame - local[0]).max()) for frame in local))
    return reach / STEPS or 1.0


def _geometry(
    buffer: GltfBuffer,
    frames: NDArray[np.float64],
    faces: NDArray[np.integer],
    split: NDArray[np.int64],
    normals: bool,
    step: float | None,
) -> tuple[dict[str, int], list[dict[str, int]]]:
    """Attributes of frame 0 of [T, V, 3], and those of the targets, which are differences from it.

    Vertices are written in the order of `split` [U].
    """
    places = frames[:, split]  # [T, U, 3]
    positions = places.astype(np.float32) if step is None else np.rint(places / step).astype(np.int16)
    attributes = {"POSITION": buffer.add(positions[0], target=VERTICES, bounds=True)}
    targets: list[dict[str, int]] = [
        {"POSITION": buffer.add(frame - positions[0], target=VERTICES, bounds=True)}
        for frame in positions[1:]
    ]
    if normals:
        units = vertex_normals(frames.astype(np.float32), faces)[:, split]  # [T, U, 3]
        attributes["NORMAL"] = _add_directions(buffer, units[0], step is not None)
        for target, unit in zip(targets, units[1:], strict=True):
            target["NORMAL"] = _add_directions(buffer, unit - units[0], step is not None)
    return attributes, targets


def _add_directions(buffer: GltfBuffer, directions: NDArray[np.float32], compress: bool) -> int:
    """Components in bytes where they allow it: differences between normals may exceed 1."""
    if compress and np.abs(directions).max() <= 1:
        return buffer.add(np.rint(127 * directions).astype(np.int8), target=VERTICES, normalized=True)
    return buffer.add(directions, target=VERTICES)


def _indices(meshes: MeshSequence, split: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    faces = meshes.faces if meshes.texture is None else meshes.texture.faces
    # The largest index of each type is reserved (primitive restart).
    return faces.ravel().astype(np.uint16 if len(split) <= 65535 else np.uint32)


def _vertex_values(buffer: GltfBuffer, meshes: MeshSequence, split: NDArray[np.int64]) -> dict[str, int]:
    """Colors or texture coordinates, and confidence, where they are known."""
    values = {}
    if meshes.texture is not None:
        values["TEXCOORD_0"] = buffer.add(meshes.texture.uv, target=VERTICES)
    elif meshes.colors is not None:
        values["COLOR_0"] = buffer.add(_linear_rgba(meshes.colors), target=VERTICES, normalized=True)
    if meshes.confidence is not None:
        values["_CONFIDENCE"] = buffer.add(meshes.confidence[split].astype(np.float32), target=VERTICES)
    return values


def _linear_rgba(srgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors [V, 4]: glTF requires linear vertex colors."""
    value = srgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    rgba = np.concatenate([linear, np.ones((len(srgb), 1))], axis=1)
    return np.asarray(np.rint(rgba * 255), np.uint8)


def _seconds(meshes: MeshSequence) -> NDArray[np.float32]:
    seconds = meshes.clock.astype(np.float32)  # [T]
    close = np.flatnonzero(np.diff(seconds) <= 0)
    if close.size:
        raise InputError(
            f"Frames {close[0]} and {close[0] + 1} are too close in time for a GLB file of {seconds[-1]:g} "
            "s, whose times are float32: ask for evenly spaced ones with `frames`, or for another format"
        )
    return seconds


def _morph_animation(buffer: GltfBuffer, seconds: NDArray[np.float32], compress: bool) -> dict[str, Any]:
    shown = np.eye(len(seconds))[:, 1:].ravel()  # [T (T - 1)]
    weights = 255 * shown.astype(np.uint8) if compress else shown.astype(np.float32)
    sampler = {
        "input": buffer.add(seconds, bounds=True),
        "output": buffer.add(weights, normalized=compress),
        "interpolation": "LINEAR",
    }
    return {
        "name": "flow",
        "samplers": [sampler],
        "channels": [{"sampler": 0, "target": {"node": 0, "path": "weights"}}],
    }


def _surface(buffer: GltfBuffer, meshes: MeshSequence) -> dict[str, Any]:
    """The material, and the texture that it shows."""
    colored = meshes.texture is not None or meshes.colors is not None
    matte: dict[str, Any] = {
        "baseColorFactor": [1.0] * 4 if colored else _GREY,
        "metallicFactor": 0.0,
        "roughnessFactor": 0.85,
    }
    shown: dict[str, Any] = {"materials": [{"name": "matte", "pbrMetallicRoughness": matte}]}
    if meshes.texture is not None:
        matte["baseColorTexture"] = {"index": 0}
        image = {"bufferView": buffer.view(png_bytes(meshes.texture.image)), "mimeType": "image/png"}
        shown |= {"images": [image], "textures": [{"source": 0, "sampler": 0}]}
        shown["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
    return shown
