"""Reads a mesh sequence back from the OBJ archive that the service gives out."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError


@dataclass(frozen=True)
class ObjSequence:
    vertices: NDArray[np.float64]  # [T, V, 3]
    faces: NDArray[np.int64]  # [F, 3], counted from 0
    colors: NDArray[np.float64] | None  # [V, 3], 0 to 1
    times: list[float]  # seconds


def read_obj_archive(path: Path) -> ObjSequence:
    """The frames that the archive's manifest counts; raises InputError where they differ from it."""
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        names = sorted(name for name in archive.namelist() if name.endswith(".obj"))
        if not names:
            raise InputError(f"{path} holds no .obj file")
        frames = [_rows(archive.read(name), "v ") for name in names]  # T times [V, 3 or 6]
        faces = _rows(archive.read(names[0]), "f ").astype(np.int64) - 1  # counted from 1 in the file
    found = {"frames": len(frames), "vertices": len(frames[0]), "faces": len(faces)}
    wanted = {key: manifest[key] for key in found}
    if found != wanted:
        raise InputError(f"{path} holds {found}, its manifest says {wanted}")
    stacked = np.stack(frames)
    colors = stacked[0, :, 3:] if stacked.shape[2] == 6 else None
    return ObjSequence(stacked[:, :, :3], faces, colors, manifest["times"])


def _rows(text: bytes, start: str) -> NDArray[np.float64]:
    """The numbers of the lines that begin with `start`; of a corner `vertex//normal`, the vertex."""
    lines = [line[2:].split() for line in text.decode().splitlines() if line.startswith(start)]
    return np.array([[value.partition("/")[0] for value in line] for line in lines], dtype=np.float64)
