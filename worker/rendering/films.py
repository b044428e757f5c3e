"""Films of a moving mesh, as a camera that stands still takes them: for data sets of image sequences.

view = View.draw(vertices, rng)                                     # one camera for all frames [T, V, 3]
images = [render(frame, faces, view, 224) for frame in vertices]    # uint8 [224, 224, 3] each
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.bodies.rig import Floats
from worker.rendering.pictures import GAMMA, Camera, Pixels
from worker.rendering.rasterizer import doubled_area, rasterise, vertex_normals

FIXED_VIEW = (30.0, 10.0)  # degrees to the right of +z and above the floor: view 0, of validation and testing
HIGHEST = 25.0  # degrees above the floor that a camera may stand
SUPERSAMPLING = 2
# Towards the lamps, in the world, and their strength. They stay where they are when the camera moves, so that
# shading tells where the camera stands: the same body seen from elsewhere is another image.
LAMPS = (((0.5, 0.6, 0.65), 0.62), ((-0.7, 0.3, -0.65), 0.24))
_SRGB = np.round(255 * np.linspace(0, 1, 4096) ** (1 / GAMMA)).astype(np.uint8)  # of linear light


@dataclass(frozen=True)
class View:
    """Where the camera stands, and what colours it sees (linear light)."""

    camera: Camera
    albedo: Floats  # [3], of the surface
    background: Floats  # [2, 3], at the top and at the bottom of the image

    @classmethod
    def draw(cls, vertices: Floats, rng: np.random.Generator, fixed: bool = False) -> "View":
        """A camera anywhere around all frames [T, V, 3], or at `FIXED_VIEW`; any colours.

        It looks at the middle of what moves, from where all of it is in the image.
        """
        drawn = rng.uniform(-180, 180), rng.uniform(0, HIGHEST)
        azimuth, elevation = FIXED_VIEW if fixed else drawn
        albedo = rng.uniform(0.35, 0.8) * rng.uniform(0.75, 1, 3)
        above = rng.uniform(0.6, 0.95) * rng.uniform(0.9, 1, 3)
        background = np.stack([above, rng.uniform(0.65, 1) * above])
        return cls(Camera.framing(vertices, azimuth, elevation, aspect=1.0), albedo, background)


def render(vertices: Floats, faces: NDArray[np.integer], view: View, size: int) -> Pixels:
    """A square RGB image [size, size, 3] of a closed mesh [V, 3], [F, 3] whose faces are turned outwards."""
    large = (size * SUPERSAMPLING, size * SUPERSAMPLING)
    screen = view.camera.project(vertices, large)
    front = faces[doubled_area(screen, faces) < 0]  # the others are hidden: half of the work
    covered, face, weights = rasterise(screen, front, large)  # [P], [P], [P, 3]
    light = _light(vertex_normals(vertices, faces))  # [V]
    lit = np.einsum("pk,pk->p", light[front[face]], weights)  # [P]

    y, x = np.divmod(covered, large[0])
    pixel = y // SUPERSAMPLING * size + x // SUPERSAMPLING
    samples = SUPERSAMPLING**2
    coverage = np.bincount(pixel, minlength=size**2).reshape(size, size, 1) / samples
    received = np.bincount(pixel, lit, minlength=size**2).reshape(size, size, 1) / samples
    down = np.linspace(0, 1, size)[:, None]
    background = (1 - down) * view.background[0] + down * view.background[1]  # [H, 3]
    image = (1 - coverage) * background[:, None] + received * view.albedo
    pixels: Pixels = _SRGB[(image * (len(_SRGB) - 1) + 0.5).astype(np.intp)]
    return pixels


def _light(normals: NDArray[np.floating]) -> Floats:
    """Brightness [V], at most 1, of a dull surface with these normals [V, 3] of any length."""
    unit = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)
    light: Floats = 0.14 + 0.04 * unit[:, 1]  # the sky
    for towards, strength in LAMPS:
        direction = np.array(towards) / np.linalg.norm(towards)
        light += strength * np.maximum((unit @ direction + 0.2) / 1.2, 0)  # wraps around: a soft lamp
    return light
