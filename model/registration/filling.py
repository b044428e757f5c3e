"""Points that are missing in some frames of their paths, put where their neighbors have gone."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.canceling import cancelable
from model.compiled import Floats
from model.registration.clouds import nearest
from model.registration.neighbors import path_neighbors
from model.registration.rotations import nearest_rotations

Mask = NDArray[np.bool_]
CARRIERS = 12  # neighbors that carry a point that is missing
LEAST = 4  # neighbors that tell a turn
CORE = 0.3  # of the distance to the nearest neighbor, within which weights grow no more
GUESSED = 0.02  # weight of a neighbor that is missing itself


def fill(points: Floats, valid: Mask) -> Floats:
    """Paths [T, N, 3] without gaps: points that are not `valid` [T, N] are put where neighbors carry them.

    First from frame to frame, by neighbors that both frames have; that shows who stays together in all
    frames. Those then carry a point over its gap at once, from both ends of it. Every row has a valid frame.
    """
    if valid.all():
        return points
    rough = _from_frame_to_frame(points, valid)
    near = path_neighbors(rough, CARRIERS)
    frames = np.arange(len(points))[:, None]
    before = np.maximum.accumulate(np.where(valid, frames, -1), axis=0)  # [T, N]
    after = np.minimum.accumulate(np.where(valid, frames, len(points))[::-1], axis=0)[::-1]
    filled: Floats = np.array(points)
    for t in cancelable(range(len(points))):
        missing = np.flatnonzero(~valid[t])
        filled[t, missing] = 0
        total = np.zeros((len(missing), 1))
        for ends in (before[t, missing], after[t, missing]):
            there = np.flatnonzero((ends >= 0) & (ends < len(points)))
            rows, end = missing[there], ends[there]
            index, distance = near.index[rows], near.distance[rows]  # [M, K]
            old, new = rough[end[:, None], index], rough[t, index]  # [M, K, 3]
            trust = np.where(valid[end[:, None], index] & valid[t, index], 1.0, GUESSED)  # [M, K]
            share = 1 / np.abs(end - t)[:, None]
            filled[t, rows] += share * _carried(points[end, rows], old, new, distance, trust)
            total[there] += share
        filled[t, missing] /= total
    return filled


def _from_frame_to_frame(points: Floats, valid: Mask) -> Floats:
    """Paths [T, N, 3] whose gaps are filled step by step, forward, and backward what lies before them."""
    filled, known = np.array(points), valid.copy()
    for step, order in ((1, range(1, len(points))), (-1, range(len(points) - 2, -1, -1))):
        for t in cancelable(order):
            rows = np.flatnonzero(known[t - step] & ~known[t])
            before, after = filled[t - step], filled[t]
            both = np.flatnonzero(valid[t - step] & valid[t])
            if len(both) < LEAST:
                both = np.flatnonzero(known[t - step] & known[t])
            if len(both) < LEAST:
                after[rows] = before[rows]
            elif len(rows):
                distance, index = nearest(cKDTree(before[both]), before[rows], min(CARRIERS, len(both)))
                index = both[index]
                after[rows] = _carried(before[rows], before[index], after[index], distance)
            known[t, rows] = True
    return filled


def _carried(
    points: Floats, before: Floats, after: Floats, distance: Floats, trust: Floats | None = None
) -> Floats:
    """Points [M, 3] moved rigidly along with their neighbors, `before` and `after` [M, K, 3]."""
    weight = 1 / (distance**2 + (CORE * distance[:, :1]) ** 2 + np.finfo(np.float64).tiny)  # [M, K]
    if trust is not None:
        weight = weight * trust
    weight /= weight.sum(axis=1, keepdims=True)
    left, reached = (np.einsum("mk,mki->mi", weight, side) for side in (before, after))
    mixed = np.einsum("mk,mki,mkj->mij", weight, after - reached[:, None], before - left[:, None])
    return np.asarray(reached + np.einsum("mij,mj->mi", nearest_rotations(mixed), points - left))
