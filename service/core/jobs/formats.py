"""The output formats of a job, one line each."""

from enum import StrEnum
from typing import Self

MAX_FRAMES = 1000  # in one result
MAX_MORPH_FRAMES = 200  # in a GLB of morph targets, which viewers keep at once


class Format(StrEnum):
    """A format by name, with what gateway, client and worker need to know of it.

    `writer` names the function from a `MeshSequence` to bytes as `module:function`; only the worker loads it.
    It gets what `takes` names as keywords: options, and `sequence`, the input.
    """

    suffix: str  # how file names end; formats without animation come as an archive of one file per frame
    media_type: str
    writer: str
    max_frames: int
    takes: tuple[str, ...]

    GLB = (
        "glb",
        ".glb",
        "model/gltf-binary",
        "model.meshes.glb:write_glb",
        MAX_FRAMES,
        ("animation", "compress"),
    )
    OBJ = "obj", ".obj.zip", "application/zip", "model.meshes.archives:write_obj_zip"
    PLY = "ply", ".ply.zip", "application/zip", "model.meshes.archives:write_ply_zip"
    USDZ = "usdz", ".usdz", "model/vnd.usdz+zip", "model.meshes.usd:write_usdz"
    USDC = "usdc", ".usdc", "model/vnd.usd", "model.meshes.usd:write_usdc"
    MDD = "mdd", ".mdd.zip", "application/zip", "model.meshes.point_caches:write_mdd_zip"
    PC2 = "pc2", ".pc2.zip", "application/zip", "model.meshes.point_caches:write_pc2_zip"
    WEBP = (
        "webp",
        ".webp",
        "image/webp",
        "worker.rendering.previews:write_turntable",
        MAX_FRAMES,
        ("sequence",),
    )
    NPZ = "npz", ".npz", "application/x-npz", "model.meshes.archives:write_npz"

    def __new__(
        cls,
        name: str,
        suffix: str,
        media_type: str,
        writer: str,
        max_frames: int = MAX_FRAMES,
        takes: tuple[str, ...] = (),
    ) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.suffix, member.media_type, member.writer = suffix, media_type, writer
        member.max_frames, member.takes = max_frames, takes
        return member
