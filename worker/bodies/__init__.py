"""Moving human bodies: the shapes and motions that samples and training data are made of.

rig = load_rig()
rng = np.random.default_rng(7)
vertices = animate(rig, rig.draw_body(rng), "punching", rng)                 # [50, 4002, 3], metres
points = draw_surface_points(vertices[0], rig.faces, 300, rng).on(vertices)  # [50, 300, 3]
"""

from model.meshes.sampling import SurfacePoints, draw_surface_points
from worker.bodies.animation import FRAMES_PER_SECOND, animate
from worker.bodies.motions import ACTIONS
from worker.bodies.rig import Body, Rig, load_rig

__all__ = [
    "ACTIONS",
    "FRAMES_PER_SECOND",
    "Body",
    "Rig",
    "SurfacePoints",
    "animate",
    "draw_surface_points",
    "load_rig",
]
