"""Gauss-Newton steps of several frames at once, as tensors; `reference.descend` is the plain twin for one.

The B frames share the surface. Motions stay in double precision, for rotations are multiplied thousands of
times over a sequence; everything else has the data type of the surface.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from model.registration.descent import AVERAGED, BACK, BACKWARDS, CONVERGED, DAMPING, POINT, Surface
from model.registration.torch_equations import Equations, turned

PAIRS = 1 << 25  # distances that are held at once
FAR = 1e6  # coordinates of points that fill up a shorter cloud


class SurfaceTensors(NamedTuple):
    """A `Surface` on a device."""

    offsets: Tensor  # [S, K, 3], of samples from their nodes, at rest
    normals: Tensor  # [S, 3]
    nodes: Tensor  # [S, K]
    weights: Tensor  # [S, K]
    edges: Tensor  # [E, 2]
    spans: Tensor  # [E, 3], from node to node at rest
    rigidity: Tensor  # [E]
    yielding: float

    @classmethod
    def of(cls, surface: Surface, device: str, dtype: torch.dtype) -> "SurfaceTensors":
        i, j = surface.edges.T
        offsets = surface.points[:, None] - surface.rest[surface.nodes]
        floats = (
            offsets,
            surface.normals,
            surface.weights,
            surface.rest[j] - surface.rest[i],
            surface.rigidity,
        )
        moved = [torch.from_numpy(array).to(device, dtype) for array in floats]
        nodes, edges = (torch.from_numpy(array).to(device) for array in (surface.nodes, surface.edges))
        return cls(moved[0], moved[1], nodes, moved[2], edges, moved[3], moved[4], float(surface.yielding))


class Targets(NamedTuple):
    """What B frames go by, as in `Pull`; shorter clouds and fewer goals are filled up."""

    points: Tensor  # [B, N, 3], with `FAR` coordinates
    counts: Tensor  # [B], points of each
    goals: Tensor  # [B, C, 3]
    goal_weights: Tensor  # [B, C], zero
    expected: Tensor  # [B, M, 3]
    stiffness: Tensor  # [B], as those that follow
    scale: Tensor
    reach: Tensor
    hold: Tensor
    slack: Tensor
    rounds: int
    seen: Tensor | None  # [B, S], None where none is


def nearest(points: Tensor, queries: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """Distances and indices [B, Q, count] of the nearest of points [B, N, 3] for queries [B, Q, 3]."""
    chunk = max(1, PAIRS // (points.shape[0] * points.shape[1]))
    found = []
    for part in queries.split(chunk, 1):
        apart = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")  # [B, q, N]
        found.append(
            apart.min(2, keepdim=True) if count == 1 else apart.topk(count, 2, largest=False, sorted=True)
        )
    return torch.cat([f[0] for f in found], 1), torch.cat([f[1] for f in found], 1)


def blend(
    surface: SurfaceTensors, rotations: Tensor, positions: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The first `count` points and normals [B, S, 3], moved by their nodes; and the arms [B, S, K, 3]."""
    nodes, weights = surface.nodes[:count], surface.weights[:count, :, None]  # [S, K], [S, K, 1]
    turns = rotations[:, nodes]  # [B, S, K, 3, 3]
    arms = (turns @ surface.offsets[:count, :, :, None])[..., 0]
    moved = (weights * (arms + positions[:, nodes])).sum(2)
    normals = (weights * (turns @ surface.normals[:count, None, :, None])[..., 0]).sum(2)
    return moved, torch.nn.functional.normalize(normals, dim=2), arms


def pulls(targets: Targets, moved: Tensor, normals: Tensor, searching: bool) -> tuple[Tensor, Tensor]:
    """Metric [B, S, 3, 3] and force [B, S, 3] on samples, moved [B, S, 3], by points and goals."""
    batch, count, _ = moved.shape
    metric, force = moved.new_zeros(batch, count, 9), moved.new_zeros(batch, count, 3)
    eye = torch.eye(3, device=moved.device, dtype=moved.dtype)
    reach, scale = targets.reach[:, None], targets.scale[:, None]  # [B, 1]

    def weigh(distance: Tensor, gap: Tensor, normal: Tensor) -> Tensor:
        return (distance < reach) / ((gap * normal).sum(2).abs() / scale).clamp(min=1)  # [B, Q]

    if searching:
        distance, chosen = nearest(moved, targets.points)
        found = (
            torch.arange(batch, device=moved.device)[:, None] * count + chosen[..., 0]
        ).flatten()  # [B N]
        normal = normals.flatten(0, 1)[found].view_as(targets.points)
        gap = moved.flatten(0, 1)[found].view_as(targets.points) - targets.points
        weight = (weigh(distance[..., 0], gap, normal) / targets.counts[:, None])[..., None, None]
        each = weight * (normal[..., :, None] * normal[..., None, :] + POINT * eye)  # [B, N, 3, 3]
        metric.view(-1, 9).index_add_(0, found, each.view(-1, 9))
        force.view(-1, 3).index_add_(0, found, (each @ gap[..., None]).view(-1, 3))
        if targets.seen is not None:
            few, normal = moved[:, :BACK], normals[:, :BACK]
            distance, chosen = nearest(targets.points, few, AVERAGED)
            frame = torch.arange(batch, device=moved.device)[:, None, None]
            gap = few - targets.points[frame, chosen].mean(2)
            weight = BACKWARDS / few.shape[1] * targets.seen[:, :BACK] * weigh(distance[..., 0], gap, normal)
            each = weight[..., None, None] * normal[..., :, None] * normal[..., None, :]
            metric[:, :BACK] += each.flatten(2)
            force[:, :BACK] += (each @ gap[..., None])[..., 0]
    goals = targets.goals.shape[1]
    metric[:, :goals] += targets.goal_weights[..., None] * eye.flatten()
    force[:, :goals] += targets.goal_weights[..., None] * (moved[:, :goals] - targets.goals)
    return metric.view(batch, count, 3, 3), force


def descend(
    surface: SurfaceTensors, targets: Targets, rotations: Tensor, positions: Tensor, searching: bool
) -> tuple[Tensor, Tensor]:
    """Rotations [B, M, 3, 3] and positions [B, M, 3] after up to `targets.rounds` steps.

    `searching` is whether the frames have a reach; without one only the samples with goals matter.
    """
    dtype = surface.offsets.dtype
    count = len(surface.offsets) if searching else targets.goals.shape[1]
    batch, nodes, _ = positions.shape
    i, j = surface.edges.unbind(1)
    signs = torch.tensor([1.0, -1.0], device=positions.device, dtype=dtype).expand(len(i), 2)
    eye = torch.eye(3, device=positions.device, dtype=dtype)
    going = torch.ones(batch, dtype=torch.bool, device=positions.device)
    for _ in range(targets.rounds):
        turns, places = rotations.to(dtype), positions.to(dtype)
        equations = Equations(batch, nodes, places)
        arms = (turns[:, i] @ surface.spans[..., None])[..., 0]  # [B, E, 3]
        residuals = (arms.double() + positions[:, i] - positions[:, j]).to(dtype)
        bent = (residuals**2).sum(2)
        stiffness = surface.rigidity * surface.yielding / (bent + surface.yielding**2).sqrt()
        stiffness = (stiffness * (targets.stiffness[:, None] / len(i)))[..., None]  # [B, E, 1]
        both = torch.stack([arms, torch.zeros_like(arms)], 2)  # [B, E, 2, 3]
        equations.add(surface.edges, signs, both, stiffness[..., None] * eye, stiffness * residuals)
        moved, normals, arms = blend(surface, turns, places, count)
        metric, force = pulls(targets, moved, normals, searching)
        equations.add(surface.nodes[:count], surface.weights[:count], arms, metric, force)
        away = places - targets.expected
        hold = targets.hold[:, None] / (1 + (away**2).sum(2) / targets.slack[:, None] ** 2)  # [B, M]
        equations.right[..., 3:] -= hold[..., None] * away
        held = torch.nn.functional.pad(hold[..., None].expand(batch, nodes, 3), (3, 0))  # [B, M, 6]
        step = equations.solve(held + DAMPING).double() * going[:, None, None]
        rotations, positions = turned(rotations, step[..., :3]), positions + step[..., 3:]
        going = going & (step[..., 3:].abs().amax((1, 2)) >= CONVERGED * targets.reach)
        if not going.any():
            break
    return rotations, positions


def misfit(
    surface: SurfaceTensors, targets: Targets, rotations: Tensor, positions: Tensor, cap: float
) -> Tensor:
    """Mean squares [B] of capped distances, as `Backend.misfit`."""
    dtype = surface.offsets.dtype
    moved, _, _ = blend(surface, rotations.to(dtype), positions.to(dtype), len(surface.offsets))
    there = nearest(moved, targets.points)[0][..., 0].clamp(max=cap).double() ** 2  # [B, N]
    real = torch.arange(there.shape[1], device=there.device) < targets.counts[:, None]
    total = (there * real).sum(1) / targets.counts
    if targets.seen is not None:
        back = nearest(targets.points, moved)[0][..., 0].clamp(max=cap).double() ** 2  # [B, S]
        total += 0.5 * (back * targets.seen).sum(1) / targets.seen.sum(1).clamp(min=1)
    return total
