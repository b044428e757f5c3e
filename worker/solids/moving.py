"""Jointed things in two poses, on the device: endless surface particles whose places in both are known.

A thing of `skeletons` is bent at its joints, blends the motions of its parts where they meet (or not: rigid
parts), is bulged, twisted and squeezed as a whole. Everything is drawn from one generator, for a batch at
once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.solids.particles import Particles, split
from worker.solids.skeletons import Skeletons, pose
from worker.solids.turns import rotations

SMALLEST, GREATEST = 0.006, 0.4  # of the longest side: how far the fastest end moves
MOST_TURN = 1.3  # radians of a joint between the two frames
DEPTH = 0.004  # how deep in another part a point of the surface may lie
WAVES = 4
FAR = 1e3


@dataclass(frozen=True)
class Poses:
    """Frames of the parts in the world at rest, in the first frame and in the second."""

    rest: tuple[Tensor, Tensor]  # rotations [B, K, 3, 3], origins [B, K, 3]
    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]


def draw_moving_solids(
    skeletons: Skeletons, counts: tuple[int, int, int], generator: torch.Generator
) -> Particles:
    """Particles of two frames of these things [B]: `counts` of the first cloud, of the second and of
    queries.
    """
    poses = draw_poses(skeletons, generator)
    particles, owner = surface_particles(
        skeletons, sum(counts), generator
    )  # [B, S, 3] in their parts' frames
    weights = skinning(skeletons, poses.rest, particles, owner)
    first, second = (
        skin(frames, poses.rest, particles, owner, weights) for frames in (poses.first, poses.second)
    )
    # Only the second cloud is taken in the second frame.
    other = slice(counts[0], counts[0] + counts[1])
    kept = outside_others(skeletons, poses.first, first, owner)
    kept[:, other] = outside_others(skeletons, poses.second, second[:, other], owner[:, other])
    first, second = _bulge(first, second, generator)
    return split(first, second, kept, counts)


def draw_poses(skeletons: Skeletons, generator: torch.Generator) -> Poses:
    """Any pose, and one that the joints reach from there, of a motion from tiny to very large."""
    count, parts = skeletons.parent.shape
    device = skeletons.half.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, device=device, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=generator)

    bent = normal(parts, 3) * skeletons.swing * 0.7 * uniform(1, 1)  # rotation vectors [B, K, 3]
    moving = uniform(parts, 1) < torch.where(uniform(1, 1) < 0.3, 0.2, 1.0)  # at times a few joints alone
    turn = 0.5 * normal(parts, 3) * skeletons.swing * moving
    slip = 0.15 * normal(parts, 3) * skeletons.slide[..., None] * moving
    rest, joint = skeletons.rotation, skeletons.joint

    def frames(turn: Tensor, slip: Tensor) -> tuple[Tensor, Tensor]:
        return pose(skeletons, rest @ rotations(turn), joint + slip)

    def ends(frames: tuple[Tensor, Tensor]) -> Tensor:
        return frames[1] + (frames[0] @ (2 * skeletons.middle)[..., None])[..., 0]  # [B, K, 3]

    first = frames(bent, torch.zeros_like(slip))
    wanted = SMALLEST * (GREATEST / SMALLEST) ** uniform(1, 1)  # [B, 1, 1]
    there = (skeletons.half[..., 1] > 0)[..., None]  # [B, K, 1]
    for _ in range(2):  # displacements are nearly proportional to turns
        moved = (
            ((ends(frames(bent + turn, slip)) - ends(first)) * there).norm(dim=2).amax(dim=1)[:, None, None]
        )
        scale = wanted / moved.clamp(min=1e-6)
        most = turn.norm(dim=2).amax(dim=1)[:, None, None]
        scale = torch.minimum(scale, MOST_TURN / most.clamp(min=1e-6))
        turn, slip = turn * scale, slip * scale
    return Poses(frames(0 * bent, 0 * slip), first, frames(bent + turn, slip))


def surface_particles(skeletons: Skeletons, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points [B, S, 3] on the parts, in the frames of the parts that own them [B, S]; about uniform by
    area.
    """
    batch, device = len(skeletons), skeletons.half.device
    x, y, z = skeletons.half.unbind(dim=2)  # [B, K]
    # `torch.multinomial` would make the host wait for the device.
    areas = (x * y + y * z + x * z).cumsum(dim=1)  # [B, K]
    drawn = torch.rand(batch, count, device=device, generator=generator)
    owner = torch.searchsorted(areas, drawn * areas[:, -1:])  # [B, S]
    half = _of(owner, skeletons.half)  # [B, S, 3]
    sides = (half.prod(dim=2, keepdim=True) / half).cumsum(dim=2)  # [B, S, 3], across each axis
    drawn = torch.rand(batch, count, 1, device=device, generator=generator)
    axis = (drawn * sides[..., 2:] > sides[..., :2]).sum(dim=2, keepdim=True)  # [B, S, 1]
    cube = 2 * torch.rand(batch, count, 3, device=device, generator=generator) - 1
    side = torch.where(torch.rand(batch, count, 1, device=device, generator=generator) < 0.5, -1.0, 1.0)
    boxed = cube.scatter(2, axis, side) * half
    radius = (_of(owner, skeletons.rounding) * half.amin(dim=2))[..., None]  # [B, S, 1]
    core = torch.maximum(torch.minimum(boxed, half - radius), radius - half)
    out = boxed - core
    rounded = core + radius * out / out.norm(dim=2, keepdim=True).clamp(min=1e-9)
    ball = torch.nn.functional.normalize(
        torch.randn(batch, count, 3, device=device, generator=generator), dim=2
    )
    points = torch.where(_of(owner, skeletons.ellipsoid)[..., None], ball * half, rounded)
    swell = 1 + _of(owner, skeletons.taper) * points[..., 1] / half[..., 1]  # [B, S]
    wider = torch.stack([swell, torch.ones_like(swell), swell], dim=2)
    return points * wider + _of(owner, skeletons.middle), owner


def distances(skeletons: Skeletons, frames: tuple[Tensor, Tensor], points: Tensor) -> Tensor:
    """Signed distances [B, S, K] of points [B, S, 3] in the world to every part, about."""
    rotation, origin = frames
    local = torch.einsum("bskj,bkji->bski", points[:, :, None] - origin[:, None], rotation)  # [B, S, K, 3]
    half = skeletons.half[:, None]  # [B, 1, K, 3]
    local = local - skeletons.middle[:, None]
    along = (local[..., 1] / half[..., 1].clamp(min=1e-6)).clamp(-1, 1)
    swell = 1 + skeletons.taper[:, None] * along  # [B, S, K]
    local = torch.stack([local[..., 0] / swell, local[..., 1], local[..., 2] / swell], dim=3)
    smallest = half.amin(dim=3)  # [B, 1, K]
    radius = skeletons.rounding[:, None] * smallest
    beyond = local.abs() - (half - radius[..., None])
    box = beyond.clamp(min=0).norm(dim=3) + beyond.amax(dim=3).clamp(max=0) - radius
    ball = ((local / half.clamp(min=1e-6)).norm(dim=3) - 1) * smallest
    there = half[..., 1] > 0
    return torch.where(there, torch.where(skeletons.ellipsoid[:, None], ball, box), FAR)


def outside_others(
    skeletons: Skeletons, frames: tuple[Tensor, Tensor], points: Tensor, owner: Tensor
) -> Tensor:
    """Which points [B, S, 3] lie in no part but the one that owns them: [B, S]."""
    others = distances(skeletons, frames, points).scatter(2, owner[..., None], FAR)
    return others.amin(dim=2) > -DEPTH


def skinning(skeletons: Skeletons, rest: tuple[Tensor, Tensor], particles: Tensor, owner: Tensor) -> Tensor:
    """How much each part moves each particle: [B, S, K], rows sum to 1. Parts blend with those they hang
    on.
    """
    rows = torch.arange(owner.shape[0], device=owner.device)[:, None]
    points = place(rest, particles, owner)
    near = distances(skeletons, rest, points).clamp(min=0)  # [B, S, K]
    part = torch.arange(near.shape[2], device=owner.device)
    mine = owner[..., None] == part  # [B, S, K]
    joined = (skeletons.parent[rows, owner][..., None] == part) | (
        skeletons.parent[:, None] == owner[..., None]
    )
    width = skeletons.skin[:, None, None]
    weights = torch.exp(-near / width.clamp(min=1e-6)) * (joined & (near < FAR) & (width > 0))
    weights = torch.where(mine, 1.0, weights)
    return weights / weights.sum(dim=2, keepdim=True)


def place(frames: tuple[Tensor, Tensor], particles: Tensor, owner: Tensor) -> Tensor:
    """Particles [B, S, 3] of their owners' frames in the world."""
    rotation, origin = frames
    return (_of(owner, rotation) @ particles[..., None])[..., 0] + _of(owner, origin)


def skin(
    frames: tuple[Tensor, Tensor],
    rest: tuple[Tensor, Tensor],
    particles: Tensor,
    owner: Tensor,
    weights: Tensor,
) -> Tensor:
    """Where particles are when the parts are at `frames`: [B, S, 3] (linear blend skinning)."""
    turn = frames[0] @ rest[0].transpose(2, 3)  # [B, K, 3, 3], from rest in the world
    shift = frames[1] - (turn @ rest[1][..., None])[..., 0]  # [B, K, 3]
    blended = weights @ torch.cat([turn.flatten(2), shift], dim=2)  # [B, S, 12]
    turns = blended[..., :9].reshape(*owner.shape, 3, 3)
    points = place(rest, particles, owner)
    moved: Tensor = (turns @ points[..., None])[..., 0] + blended[..., 9:]
    return moved


def _of(owner: Tensor, values: Tensor) -> Tensor:
    """The rows of values [B, K, …] that belong to owner [B, S]."""
    return values[torch.arange(len(owner), device=owner.device)[:, None], owner]


def _bulge(first: Tensor, second: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both frames in one smooth warp of space, and the second in another: waves, a twist and a squeeze."""
    count, device = len(first), first.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, device=device, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=generator)

    def sometimes(share: float) -> Tensor:
        return (uniform(1, 1) < share) * uniform(1, 1) ** 2

    frequency, phase = 5 * normal(WAVES, 3), 6.3 * uniform(1, WAVES)  # radians a unit
    slope = normal(WAVES, 3) / (WAVES * frequency.norm(dim=2, keepdim=True).clamp(min=2))  # [B, W, 3]
    lasting, passing = 0.5 * sometimes(0.5) * slope, 0.4 * sometimes(0.4) * slope.roll(1, dims=1)

    def waves(points: Tensor, slope: Tensor) -> Tensor:
        return points + torch.sin(points @ frequency.transpose(1, 2) + phase) @ slope

    first, second = waves(first, lasting), waves(waves(second, lasting), passing)
    squeeze = torch.eye(3, device=device) + 0.25 * sometimes(0.3) * normal(3, 3)
    middle = second.mean(dim=1, keepdim=True)
    second = (second - middle) @ squeeze
    angle = (1.5 * sometimes(0.3) * normal(1, 1) * second[..., 1:2])[..., 0]  # [B, S], about y
    x, y, z = second.unbind(dim=2)
    turned = torch.stack([angle.cos() * x + angle.sin() * z, y, angle.cos() * z - angle.sin() * x], dim=2)
    return first, turned + middle
