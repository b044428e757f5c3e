"""Endless random solids and bodies to learn shapes from, as tensors on any device.

solids = draw_solids(np.random.default_rng(7), 32)               # recipes; `.distance(points)` is signed
shapes, usable = sample(solids, 8192, 8192, generator)           # points of the surface, places and occupancy
clouds = draw_clouds(shapes, 1000, 2048, generator)              # as a scanner would take them
"""

from worker.solids.clouds import Clouds, draw_clouds, draw_plain_clouds
from worker.solids.parts import Solids
from worker.solids.recipes import draw_solids
from worker.solids.surfaces import Shapes, sample

__all__ = ["Clouds", "Shapes", "Solids", "draw_clouds", "draw_plain_clouds", "draw_solids", "sample"]
