"""How a camera moves through a room, from what its clouds have in common: they are laid on each other.

Iterative closest points with distances to planes (Chen and Medioni 1992) and Geman and McClure's loss, by
which the thing that moves counts little.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from model.canceling import cancelable
from model.compiled import Floats
from model.registration.clouds import nearest, patch_normals, thinned
from model.registration.parallel import side_by_side

LAID, BELOW = 3000, 8000  # points of a frame that are laid on so many of the one before
PATCH = 64  # neighbors that a normal is fitted to
SCALES = np.geomspace(0.1, 0.004, 16)  # of a frame's size, from which a distance counts little, step by step
REACH = 4.0  # times that, within which a point has a counterpart
DAMPING = 1e-3  # of all curvature: where nothing tells, as along a single wall, nothing moves


class Placement(NamedTuple):
    """x ↦ rotation · x + shift."""

    rotation: Floats  # [3, 3]
    shift: Floats  # [3]

    def apply(self, points: Floats) -> Floats:
        return np.asarray(points @ self.rotation.T + self.shift)

    def after(self, other: "Placement") -> "Placement":
        return Placement(self.rotation @ other.rotation, self.rotation @ other.shift + self.shift)


AT_REST = Placement(np.eye(3), np.zeros(3))


def steadied(frames: Sequence[Floats]) -> list[Placement]:
    """Where clouds [N_t, 3] of a camera that moves are, as seen from where it was in the first frame."""
    steps = side_by_side(lambda t: laid(frames[t], frames[t - 1]), range(1, len(frames)))
    places = [AT_REST]
    for step in steps:
        places.append(places[-1].after(step))
    return places


def laid(cloud: Floats, other: Floats) -> Placement:
    """The motion that lays a cloud [N, 3] on another [M, 3] that has most of its surroundings in common."""
    points, below = thinned(cloud, LAID), thinned(other, BELOW)
    tree = cKDTree(below)
    normals = patch_normals(below[nearest(tree, below, min(PATCH, len(below)))[1]])  # [M, 3]
    center, size = below.mean(axis=0), float(np.ptp(np.percentile(below, [1, 99], axis=0), axis=0).max())
    place = AT_REST
    for scale in cancelable(SCALES * size):
        moved = place.apply(points)
        distance, at = nearest(tree, moved)
        across = ((moved - below[at]) * normals[at]).sum(axis=1)  # [N]
        weight = (distance < REACH * scale) / (1 + (across / scale) ** 2) ** 2
        turning = np.cross((moved - center) / size, normals[at])  # [N, 3]
        jacobian = np.concatenate([turning, normals[at]], axis=1)  # [N, 6]
        curvature = jacobian.T @ (weight[:, None] * jacobian)
        curvature += (DAMPING * np.trace(curvature) + 1e-12) * np.eye(6)
        turn, shift = np.split(-np.linalg.solve(curvature, jacobian.T @ (weight * across)), 2)
        rotation = Rotation.from_rotvec(turn / size).as_matrix()
        place = Placement(rotation, center + shift - rotation @ center).after(place)
    return place
