"""Jointed things in two poses, and the clouds that are taken of them."""

from dataclasses import replace

import pytest
import torch

from worker.bodies.scenes import TRAINING_ADULTS
from worker.solids.families import FAMILIES
from worker.solids.moving import (
    distances,
    draw_moving_solids,
    draw_poses,
    outside_others,
    place,
    skin,
    skinning,
    surface_particles,
)
from worker.solids.moving_bodies import BodyPool
from worker.solids.particles import Pairs, observe, spare, split
from worker.solids.random_skeletons import draw_skeletons
from worker.solids.skeletons import PARTS, Skeletons, pose
from worker.solids.turns import random_rotations, rotations

COUNTS = (200, 150, 50)


@pytest.fixture(scope="module")
def skeletons() -> Skeletons:
    return draw_skeletons(24, seed=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(skeletons: Skeletons, seed: int, views: float = 0.0) -> Pairs:
    drawn = generator(seed)
    return observe(draw_moving_solids(skeletons, spare(COUNTS), drawn), COUNTS, views, 0.5, drawn)


def test_things_are_trees_of_unit_size_that_follow_their_seed(skeletons: Skeletons) -> None:
    again, other = draw_skeletons(24, seed=0), draw_skeletons(24, seed=1)
    assert torch.equal(skeletons.joint, again.joint)
    assert not torch.equal(skeletons.joint, other.joint)
    row = torch.arange(PARTS)
    there = skeletons.half[..., 1] > 0
    assert bool((skeletons.parent[:, 0] == PARTS).all())
    assert bool(((skeletons.parent < row) | (skeletons.parent == PARTS))[there].all())
    _, origin = pose(skeletons, skeletons.rotation, skeletons.joint)
    size = (origin * there[..., None]).abs().amax()
    assert 0.1 < size < 1


def test_frames_of_parts_are_those_one_after_another_along_the_tree(skeletons: Skeletons) -> None:
    rotation, origin = pose(skeletons, skeletons.rotation, skeletons.joint)
    for thing in range(len(skeletons)):
        for part in range(1, PARTS):
            parent = int(skeletons.parent[thing, part])
            if parent == PARTS:
                continue
            expected = rotation[thing, parent] @ skeletons.joint[thing, part] + origin[thing, parent]
            torch.testing.assert_close(origin[thing, part], expected, atol=1e-5, rtol=1e-4)


def test_every_family_has_particles_on_its_surface_only() -> None:
    for name, (build, _) in FAMILIES.items():
        del build
        assert name
    skeletons = draw_skeletons(64, seed=3)
    particles, owner = surface_particles(skeletons, 300, generator())
    frames = pose(skeletons, skeletons.rotation, skeletons.joint)
    points = place(frames, particles, owner)
    own = distances(skeletons, frames, points).gather(2, owner[..., None])[..., 0]
    assert own.abs().quantile(0.99) < 1e-3
    assert own.abs().max() < 0.01
    kept = outside_others(skeletons, frames, points, owner)
    nearest = distances(skeletons, frames, points).amin(dim=2)
    assert nearest[kept].min() > -0.005
    assert 0.3 < kept.float().mean() < 1


def test_skinning_moves_nothing_at_rest_and_rigid_parts_rigidly(skeletons: Skeletons) -> None:
    poses = draw_poses(skeletons, generator())
    particles, owner = surface_particles(skeletons, 200, generator(1))
    weights = skinning(skeletons, poses.rest, particles, owner)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones_like(owner, dtype=torch.float32))
    at_rest = skin(poses.rest, poses.rest, particles, owner, weights)
    torch.testing.assert_close(at_rest, place(poses.rest, particles, owner), atol=1e-5, rtol=1e-4)
    rigid = replace(skeletons, skin=torch.zeros_like(skeletons.skin))
    moved = skin(poses.second, poses.rest, particles, owner, skinning(rigid, poses.rest, particles, owner))
    torch.testing.assert_close(moved, place(poses.second, particles, owner), atol=1e-5, rtol=1e-4)
    for thing in range(4):  # distances between particles of one part are those in its own frame
        mine = owner[thing] == owner[thing, 0]
        torch.testing.assert_close(
            torch.cdist(moved[thing, mine], moved[thing, mine]),
            torch.cdist(particles[thing, mine], particles[thing, mine]),
            atol=2e-3,
            rtol=1e-3,
        )


def test_motions_go_from_tiny_to_very_large() -> None:
    moves = pairs(draw_skeletons(60, seed=5), 0).moves.norm(dim=2).amax(dim=1)
    assert moves.quantile(0.1) < 0.04
    assert moves.quantile(0.9) > 0.15
    assert moves.isfinite().all()
    assert moves.max() < 3


def test_the_same_seed_draws_the_same_pairs(skeletons: Skeletons) -> None:
    first, again, other = pairs(skeletons, 0), pairs(skeletons, 0), pairs(skeletons, 1)
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name)), name
    assert not torch.equal(first.first, other.first)


def test_clouds_have_their_numbers_of_points_in_about_a_unit_box(skeletons: Skeletons) -> None:
    drawn = pairs(skeletons, 2, views=0.5)
    assert drawn.first.shape == (24, 200, 3)
    assert drawn.second.shape == (24, 150, 3)
    assert drawn.queries.shape == (24, 50, 3)
    assert drawn.moves.shape == (24, 50, 3)
    assert drawn.first.abs().max() < 1.2
    assert drawn.first_known.float().mean() > 0.95


def test_a_camera_sees_what_is_in_front() -> None:
    sphere = torch.nn.functional.normalize(torch.randn(4, 9000, 3, generator=generator()), dim=2)
    kept = torch.ones(4, 9000, dtype=torch.bool)
    particles = split(sphere, sphere, kept, (4000, 4000, 1000))
    seen = observe(particles, (500, 500, 100), 1.0, 0.0, generator(1))
    all_around = observe(particles, (500, 500, 100), 0.0, 0.0, generator(1))
    middles = (seen.first.mean(dim=1).norm(dim=1), all_around.first.mean(dim=1).norm(dim=1))
    assert middles[0].min() > 0.12
    assert middles[1].max() < 0.1


def test_rotations_turn_and_do_not_stretch() -> None:
    turned = rotations(torch.tensor([0.0, 0.0, torch.pi / 2])) @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    matrices = random_rotations(50, generator())
    torch.testing.assert_close(
        matrices @ matrices.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0
    )
    assert matrices.det().min() > 0.99
    assert matrices.mean(dim=0).abs().max() < 0.3


def test_bodies_in_the_pool_follow_from_the_number_replaced() -> None:
    counts = (64, 64, 16)
    pool = BodyPool(TRAINING_ADULTS, 3, 3, "cpu")
    pool.renew(4)
    later = BodyPool(TRAINING_ADULTS, 3, 3, "cpu", replaced=4)
    assert torch.equal(pool.vertices, later.vertices)
    drawn, again = (p.draw(4, counts, generator(1)) for p in (pool, later))
    assert torch.equal(drawn.second, again.second)
    # A particle keeps its place in its triangle: those of a body move no further than the body does.
    moves = (drawn.first_next - drawn.first).norm(dim=2)
    assert moves.max() < (pool.vertices[:, 1:] - pool.vertices[:, :1]).norm(dim=3).max() * 2
