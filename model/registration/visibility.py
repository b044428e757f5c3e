"""Where the camera was that saw only one side of a thing, and which samples of a surface it sees.

A depth image has no point behind another. So the camera is in a direction from which few points of a cloud
hide others; that it was not on the other side the normals of a template tell.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from model.compiled import Flags, Floats, Ints, compiled
from model.meshes.directions import spread
from model.registration.clouds import Cloud, patch_normals, thinned
from model.registration.parallel import side_by_side

DIRECTIONS = 300  # that are tried
POINTS = 1500  # of a cloud that are looked at
PIXEL = 0.03  # side of a pixel on which samples of a surface are drawn
LARGEST = 500  # pixels of a side, at most: they are larger where something is far away
BEHIND = 0.05  # distance behind another point from which one is hidden
UNSURE = 0.3  # tangent of the angle by which that direction may be wrong
FACING = 0.3  # cosine of the angle to the camera from which a sample is surely seen
NEIGHBORS = 12  # that tell the normal at a point
FRONTAL = 0.1  # weight of how far normals are turned to the camera
SLOW = 0.3  # weight of the way that the camera moves from frame to frame
CLEARLY = 0.25  # cost by which all directions on the other side are worse where a camera is believed


def towards_camera(
    clouds: Sequence[Cloud], faced: dict[int, Floats], cuts: Sequence[int] = ()
) -> list[Cloud]:
    """The clouds with unit vectors to the camera that saw them.

    `faced` has the mean normal [3] of a surface at the points of some frames, at least one. Takes begin at
    `cuts`, where the camera may have gone to the other side: one without such a frame stays without a camera,
    and so do frames beyond a step after which it may as well be on the one side as on the other.
    """
    directions, result = spread(DIRECTIONS), list(clouds)
    steps = SLOW * (1 - directions @ directions.T)  # [D, D]
    for begin, end in pairwise([0, *cuts, len(clouds)]):
        known = [t for t in faced if begin <= t < end]
        if not known:
            continue
        costs = np.stack(side_by_side(lambda cloud: _costs(cloud, directions), clouds[begin:end]))  # [T, D]
        for t in known:
            costs[t - begin] -= directions @ faced[t]
        for t, through in enumerate(_through(costs, steps), begin):
            camera = directions[through.argmin()]
            if through[directions @ camera < 0].min() > through.min() + CLEARLY:
                result[t] = replace(clouds[t], camera=camera)
    return result


def _costs(cloud: Cloud, directions: Floats) -> Floats:
    """How unlikely a cloud is to be seen from directions [D, 3]: [D]."""
    points = thinned(cloud.points, POINTS)
    around = cloud.points[cloud.nearest(points, min(NEIGHBORS, len(cloud.points)))[1]]
    normals = patch_normals(around)  # [N, 3]
    pixel = cloud.spacing * np.sqrt(len(cloud.points) / len(points))
    frontal = np.abs(normals @ directions.T).mean(axis=0)
    costs: Floats = hidden_shares(points, directions, pixel, BEHIND) - FRONTAL * frontal
    return costs


def _through(costs: Floats, steps: Floats) -> Floats:
    """What the best way costs that takes a choice in a frame: [T, D], of costs [T, D] and of steps [D, D]."""
    there, back = costs.copy(), costs.copy()
    for t in range(1, len(costs)):
        there[t] += (there[t - 1][:, None] + steps).min(axis=0)
        back[-1 - t] += (back[-t][:, None] + steps).min(axis=0)
    return there + back - costs


@compiled
def hidden_shares(points: Floats, directions: Floats, pixel: float, behind: float) -> Floats:
    """The share [D] of the points [N, 3] that others hide from a camera far away in each direction [D, 3]."""
    shares = np.empty(len(directions))
    for d in range(len(directions)):
        i, j, depth = _pixels(points, directions[d], pixel)
        front = _front(i, j, depth)
        count = 0
        for n in range(len(points)):
            count += front[i[n] - 1 : i[n] + 2, j[n] - 1 : j[n] + 2].max() - depth[n] > behind
        shares[d] = count / len(points)
    return shares


@compiled
def visible(points: Floats, normals: Floats, camera: Floats) -> Flags:
    """Which of the points [S, 3] a camera surely sees, even if its direction is a little wrong: [S].

    None if the direction is not known.
    """
    seen = np.full(len(points), np.abs(camera).max() > 0)
    if not seen[0]:
        return seen
    right, up = _across(camera)
    for k in range(5):
        eye = camera.copy()
        if k:
            eye += UNSURE * (right if k < 3 else up) * (1 if k % 2 else -1)
            eye /= np.sqrt((eye**2).sum())
        i, j, depth = _pixels(points, eye, PIXEL)
        front = _front(i, j, depth)
        for s in range(len(points)):
            facing = 0.0
            for x in range(3):
                facing += normals[s, x] * eye[x]
            before = front[i[s] - 1 : i[s] + 2, j[s] - 1 : j[s] + 2].max() - depth[s]
            seen[s] &= facing > FACING and before < BEHIND
    return seen


@compiled
def _across(camera: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors across a direction [3]."""
    right = np.zeros(3)
    right[np.argmin(np.abs(camera))] = 1.0
    right = np.cross(camera, right)
    right /= np.sqrt((right**2).sum())
    return right, np.cross(camera, right)


@compiled
def _pixels(points: Floats, camera: Floats, pixel: float) -> tuple[Ints, Ints, Floats]:
    """Pixels [N] from 1 and depths [N], larger nearer to the camera, of points [N, 3]."""
    axes = (*_across(camera), camera)
    flat = np.zeros((3, len(points)))
    for n in range(len(points)):
        for k in range(3):
            for x in range(3):
                flat[k, n] += points[n, x] * axes[k][x]
    wide = max(flat[0].max() - flat[0].min(), flat[1].max() - flat[1].min())
    pixel = max(pixel, wide / LARGEST)
    i, j = np.floor(flat[0] / pixel).astype(np.int64), np.floor(flat[1] / pixel).astype(np.int64)
    return i - i.min() + 1, j - j.min() + 1, flat[2]


@compiled
def _front(i: Ints, j: Ints, depth: Floats) -> Floats:
    """The largest depth on each pixel [I, J], with a margin of one."""
    front = np.full((i.max() + 2, j.max() + 2), -np.inf)
    for n in range(len(depth)):
        front[i[n], j[n]] = max(front[i[n], j[n]], depth[n])
    return front
