"""Point caches, which animation programs apply to a mesh: MDD (LightWave) and PC2 (3ds Max).

Each comes in a zip with the mesh of frame 0 as OBJ. Both are float32 in the coordinates of the caller.
"""

import struct

import numpy as np

from model.meshes.archives import obj_frames, zip_bytes
from model.meshes.sequence import MeshSequence


def write_mdd_zip(meshes: MeshSequence) -> bytes:
    """A zip of `mesh.obj` and `mesh.mdd`: counts, then seconds [T], then points [T, V, 3], big-endian."""
    frames, vertices, _ = meshes.vertices.shape
    content = struct.pack(">ii", frames, vertices) + meshes.clock.astype(">f4").tobytes()
    return _with_mesh(meshes, "mesh.mdd", content + meshes.vertices.astype(">f4").tobytes())


def write_pc2_zip(meshes: MeshSequence) -> bytes:
    """A zip of `mesh.obj` and `mesh.pc2`: a header, then points [T, V, 3], little-endian."""
    frames, vertices, _ = meshes.vertices.shape
    header = struct.pack("<12siiffi", b"POINTCACHE2\0", 1, vertices, 0.0, 1.0, frames)
    return _with_mesh(meshes, "mesh.pc2", header + meshes.vertices.astype("<f4").tobytes())


def _with_mesh(meshes: MeshSequence, name: str, cache: bytes) -> bytes:
    first = MeshSequence(meshes.vertices[:1], meshes.faces, np.zeros(1), meshes.colors)
    return zip_bytes([("mesh.obj", next(iter(obj_frames(first)))), (name, cache)])
