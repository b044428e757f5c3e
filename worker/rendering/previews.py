"""Small pictures of results: a still one for every job, and a turntable of points beside mesh on request."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from model import MeshSequence
from model.meshes.upright import upright_rotation
from service.core.sequences.sequence import PointCloudSequence
from worker.rendering.pictures import Camera, Pixels, draw_mesh, draw_points
from worker.rendering.rasterizer import Floats

THUMBNAIL = (480, 360)  # pixels, width and height
PANEL = 240  # pixels, both sides of a picture in a turntable
PICTURES = 24  # of a turntable, which turns once
SHORTEST = 3.0  # seconds of a turntable; a shorter clip plays several times
MOST_POINTS = 2000  # drawn of a frame


def thumbnail(meshes: MeshSequence) -> bytes:
    """A PNG of the middle frame, `THUMBNAIL` in size."""
    vertices = meshes.vertices[len(meshes.vertices) // 2] @ _to_y_up(meshes).T  # [V, 3]
    camera = Camera.framing(vertices, aspect=THUMBNAIL[0] / THUMBNAIL[1])
    file = io.BytesIO()
    Image.fromarray(draw_mesh(vertices, meshes.faces, meshes.colors, camera, THUMBNAIL)).save(file, "PNG")
    return file.getvalue()


def write_turntable(meshes: MeshSequence, sequence: PointCloudSequence | None = None) -> bytes:
    """An animated WebP of the mesh as it plays, seen from all sides, beside the points it was made from."""
    length = float(meshes.clock[-1])
    rounds = int(np.ceil(SHORTEST / length)) if length > 0 else 1
    pictures = []
    turn = _to_y_up(meshes)
    meshes = replace(meshes, vertices=meshes.vertices @ turn.T)
    cameras = _turning(meshes.vertices)
    for number, camera in enumerate(cameras):
        share = number * rounds / PICTURES % 1  # of the clip
        frame = int(np.argmin(np.abs(meshes.clock - share * length)))
        panels = [draw_mesh(meshes.vertices[frame], meshes.faces, meshes.colors, camera, (PANEL, PANEL), 2)]
        if sequence is not None:
            panels.insert(0, _points_at(sequence, float(meshes.times[frame]), turn, camera))
        pictures.append(Image.fromarray(np.concatenate(panels, axis=1)))
    file = io.BytesIO()
    milliseconds = round(1000 * (rounds * length if length > 0 else SHORTEST) / PICTURES)
    pictures[0].save(
        file,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=max(20, milliseconds),
        loop=0,
        quality=75,
    )
    return file.getvalue()


def _turning(vertices: Floats) -> list[Camera]:
    """Cameras around all frames [T, V, 3], at one distance, which look at one place."""
    flat = vertices.reshape(-1, 3)
    center = (flat.min(axis=0) + flat.max(axis=0)) / 2
    seen = flat[:: max(1, len(flat) // 20_000)]
    views = [
        Camera.framing(seen, azimuth, aspect=1.0, centre=center)
        for azimuth in np.linspace(30, 390, PICTURES, endpoint=False)
    ]
    distance = max(camera.distance for camera in views)
    return [replace(camera, distance=distance) for camera in views]


def _to_y_up(meshes: MeshSequence) -> Floats:
    """The rotation [3, 3] that brings the axis up that is up in the job."""
    up = meshes.findings.decisions.get("up", "y") if meshes.findings else meshes.up
    return upright_rotation(up)


def _points_at(sequence: PointCloudSequence, time: float, turn: Floats, camera: Camera) -> Pixels:
    cloud = sequence.points[int(np.argmin(np.abs(sequence.times - time)))]
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    shown = np.random.default_rng(0).permutation(len(cloud))[:MOST_POINTS]
    return draw_points(np.asarray(cloud[shown], np.float64) @ turn.T, camera, (PANEL, PANEL))
