"""A moving mesh as files: one animated GLB, and a PLY a frame."""

import io
import zipfile
from pathlib import Path

from model.meshes.archives import write_ply_zip
from model.meshes.sequence import MeshSequence


def write_animation(meshes: MeshSequence, folder: Path, stem: str) -> list[Path]:
    """Write <stem>.glb and meshes/00000.ply …; returns both places."""
    frames = folder / "meshes"
    frames.mkdir(parents=True, exist_ok=True)
    for old in frames.glob("[0-9]" * 5 + ".ply"):  # of a longer one
        old.unlink()
    with zipfile.ZipFile(io.BytesIO(write_ply_zip(meshes))) as archive:
        archive.extractall(frames)
    glb = folder / f"{stem}.glb"
    glb.write_bytes(meshes.to_glb())
    return [glb, frames]
