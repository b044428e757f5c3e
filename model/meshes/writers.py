"""The output formats: name → how the file ends, its media type, and what writes it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from model.meshes.archives import write_npz, write_obj_zip, write_ply_zip
from model.meshes.glb import write_glb
from model.meshes.sequence import MeshSequence


class Writer(NamedTuple):
    extension: str
    media_type: str
    write: Callable[[MeshSequence], bytes]


WRITERS: Mapping[str, Writer] = {
    "glb": Writer(".glb", "model/gltf-binary", write_glb),
    "obj": Writer(".obj.zip", "application/zip", write_obj_zip),
    "ply": Writer(".ply.zip", "application/zip", write_ply_zip),
    "npz": Writer(".npz", "application/x-npz", write_npz),
}
