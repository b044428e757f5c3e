"""Random solids: signs and distances, points on their surfaces, clouds of them, and the stream of batches."""

import math
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from worker.solids import draw_clouds, draw_plain_clouds, draw_solids, sample
from worker.solids.body_shapes import draw_body, stack
from worker.solids.drafts import PARTS
from worker.solids.parts import BOX, ELLIPSOID, REVOLVED, Solids
from worker.solids.recipes import FAMILIES, draw_recipe
from worker.solids.stream import CloudStream, StreamSettings
from worker.solids.surfaces import Shapes, _surfaces


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_part(kind: int, half: tuple[float, float, float], **other: float) -> Solids:
    """One part in the middle, along the axes."""
    value = {"rounding": 0.0, "ring": 0.0, "taper": 0.0} | other
    return Solids(
        kind=torch.tensor([[kind]]),
        sign=torch.ones(1, 1, dtype=torch.long),
        rotation=torch.eye(3)[None, None],
        centre=torch.zeros(1, 1, 3),
        half=torch.tensor([[half]]),
        rounding=torch.tensor([[value["rounding"]]]),
        ring=torch.tensor([[value["ring"]]]),
        taper=torch.tensor([[value["taper"]]]),
        blend=torch.tensor([1e-6]),
        waves=torch.zeros(1, 1, 7),
    )


def places(count: int = 4000) -> Tensor:
    return 2 * torch.rand(1, count, 3, generator=generator()) - 1


def _ball(p: Tensor) -> Tensor:
    return p.norm(dim=-1) - 0.5


def _box(p: Tensor) -> Tensor:
    beyond = p.abs() - torch.tensor([0.5, 0.3, 0.2])
    return beyond.clamp_min(0).norm(dim=-1) + beyond.amax(dim=-1).clamp_max(0)


def _cylinder(p: Tensor) -> Tensor:
    beyond = torch.stack([p[..., [0, 2]].norm(dim=-1) - 0.4, p[..., 1].abs() - 0.6], dim=-1)
    return beyond.clamp_min(0).norm(dim=-1) + beyond.amax(dim=-1).clamp_max(0)


def _capsule(p: Tensor) -> Tensor:
    along = p[..., 1].clamp(-0.5, 0.5)
    return (p - torch.stack([0 * along, along, 0 * along], dim=-1)).norm(dim=-1) - 0.2


def _torus(p: Tensor) -> Tensor:
    return torch.stack([p[..., [0, 2]].norm(dim=-1) - 0.5, p[..., 1]], dim=-1).norm(dim=-1) - 0.15


@pytest.mark.parametrize(
    ("solid", "truth"),
    [
        (one_part(ELLIPSOID, (0.5, 0.5, 0.5)), _ball),
        (one_part(REVOLVED, (0.5, 0.5, 0.5), rounding=0.5), _ball),
        (one_part(BOX, (0.5, 0.3, 0.2)), _box),
        (one_part(REVOLVED, (0.4, 0.6, 0.4)), _cylinder),
        (one_part(REVOLVED, (0.2, 0.7, 0.2), rounding=0.2), _capsule),
        (one_part(REVOLVED, (0.15, 0.15, 0.15), rounding=0.15, ring=0.5), _torus),
    ],
)
def test_distances_to_one_part_are_the_analytic_ones(
    solid: Solids, truth: Callable[[Tensor], Tensor]
) -> None:
    points = places()
    torch.testing.assert_close(solid.distance(points), truth(points), atol=2e-5, rtol=1e-4)


def test_an_ellipsoid_has_the_right_sign() -> None:
    points, half = places(), torch.tensor([0.8, 0.3, 0.1])
    inside = (points / half).norm(dim=-1) < 1
    assert torch.equal(one_part(ELLIPSOID, (0.8, 0.3, 0.1)).distance(points) < 0, inside)


def test_a_part_that_is_cut_out_is_outside_and_absent_ones_do_not_count() -> None:
    ball, box = one_part(ELLIPSOID, (0.5, 0.5, 0.5)), one_part(BOX, (0.2, 0.9, 0.2))
    both = Solids(
        *(
            torch.cat([getattr(ball, field.name), getattr(box, field.name)], dim=1)
            if field.name not in ("blend", "waves")
            else getattr(ball, field.name)
            for field in fields(Solids)
        )
    )
    points = places()
    in_ball, in_box = (solid.distance(points) < 0 for solid in (ball, box))
    for sign, truth in ((1, in_ball | in_box), (-1, in_ball & ~in_box), (0, in_ball)):
        solid = replace(both, sign=torch.tensor([[1, sign]]))
        assert torch.equal(solid.distance(points) < 0, truth)


def test_a_turned_and_moved_solid_is_the_solid_there() -> None:
    box, points = one_part(BOX, (0.5, 0.3, 0.2)), places()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(3))).Q
    moved = replace(box, rotation=turn[None, None], centre=torch.tensor([[[0.1, 0.2, -0.1]]]))
    torch.testing.assert_close(
        moved.distance(points), _box((points - moved.centre[0]) @ turn), atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("family", dict.fromkeys(FAMILIES), ids=lambda family: family.__name__)
def test_surfaces_of_every_family_lie_on_the_zero_level(
    family: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.solids.recipes.FAMILIES", (family,))
    rng = np.random.default_rng(0)
    assert all(1 <= len(draw_recipe(rng).parts) <= PARTS for _ in range(20))
    solids = draw_solids(rng, 3)
    shapes, usable = sample(solids, 300, 400, generator())
    assert usable.all()
    assert shapes.surface.shape == shapes.normals.shape == (3, 300, 3)
    assert shapes.queries.shape == (3, 400, 3)
    longest = (shapes.surface.amax(dim=1) - shapes.surface.amin(dim=1)).amax(dim=1)
    torch.testing.assert_close(longest, torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(shapes.normals.norm(dim=-1), torch.ones(3, 300), atol=1e-3, rtol=0)
    again, normals, _ = _surfaces(solids, 300, generator())
    assert torch.equal(normals, shapes.normals)
    assert (solids.distance(again).abs() < 1e-3).float().mean() > 0.97
    assert (solids.distance(again + 0.003 * normals) > 0).float().mean() > 0.97
    assert (solids.distance(again - 0.003 * normals) < 0).float().mean() > 0.97
    assert shapes.occupied.any(dim=1).all()
    assert not shapes.occupied.all(dim=1).any()


def test_points_of_a_surface_are_on_it_and_uniform_by_area() -> None:
    solid = one_part(BOX, (0.9, 0.45, 0.225))
    shapes, _ = sample(solid, 6000, 2000, generator())
    beyond = shapes.surface[0].abs() - torch.tensor([0.5, 0.25, 0.125])
    assert beyond.amax(dim=1).abs().max() < 1e-3
    areas = torch.tensor([0.25 * 0.125, 0.5 * 0.125, 0.5 * 0.25])
    shares = torch.bincount(beyond.argmax(dim=1), minlength=3) / 6000
    torch.testing.assert_close(shares, areas / areas.sum(), atol=0.04, rtol=0)
    truth = (shapes.queries[0].abs() < torch.tensor([0.5, 0.25, 0.125])).all(dim=1)
    assert (truth == shapes.occupied[0]).float().mean() > 0.999


def test_bodies_are_shapes_too() -> None:
    shapes = stack([draw_body(np.random.default_rng(0), 500, 800)])
    assert shapes.surface.shape == shapes.normals.shape == (1, 500, 3)
    assert shapes.surface.abs().max() <= 0.5
    assert 0.1 < shapes.occupied.float().mean() < 0.6
    heights = shapes.surface[0, :, 1]
    outwards = (shapes.normals[0, :, 1] * heights).mean()  # the top looks up and the feet down
    assert outwards > 0


def ball(points: int = 4000) -> Shapes:
    return sample(one_part(ELLIPSOID, (0.9, 0.9, 0.9)), points, 1000, generator())[0]


def test_plain_clouds_are_points_of_the_surface_in_random_order() -> None:
    shapes = ball()
    clouds = draw_plain_clouds(shapes, 500, 0.0, True, generator())
    torch.testing.assert_close(clouds.points.norm(dim=-1), torch.full((1, 500), 0.5), atol=2e-3, rtol=0)
    assert len(clouds.points[0].unique(dim=0)) == 500
    assert ((clouds.queries.norm(dim=-1) < 0.5) == clouds.occupied).float().mean() > 0.995


def test_clouds_keep_to_what_is_asked_for_and_the_truth_turns_with_them() -> None:
    shapes = ball()[torch.zeros(64, dtype=torch.long)]
    clouds = draw_clouds(shapes, 200, 300, generator())
    assert clouds.points.shape == (64, 200, 3)
    assert ((clouds.queries.norm(dim=-1) < 0.5) == clouds.occupied).float().mean() > 0.995
    off = (clouds.points.norm(dim=-1) - 0.5).abs().median(dim=1).values  # of most points, without outliers
    assert off.max() < 0.012
    assert off.min() < 1e-3
    # Some are seen from one side, so that their middle is not that of the ball; most are not.
    middles = clouds.points.mean(dim=1).norm(dim=-1)
    assert (middles > 0.2).sum() >= 3
    assert (middles < 0.1).sum() >= 20


def test_coarse_levels_of_uneven_clouds_are_like_the_whole() -> None:
    shapes = ball()[torch.zeros(32, dtype=torch.long)]
    points = draw_clouds(shapes, 700, 1, generator()).points
    first, last = points[:, :350].mean(dim=1), points[:, 350:].mean(dim=1)
    assert (first - last).norm(dim=-1).mean() < 0.06


SMALL = StreamSettings(
    bodies=1, solids=1, every=2, kept=3, ahead=1, surface=300, places=200, sizes=(40, 69, 120),
    budget=240, clouds=4, queries=50,
)  # fmt: skip


def test_a_stream_that_starts_later_yields_what_it_would_have_yielded() -> None:
    whole = CloudStream(SMALL, 5, "cpu")
    batches = [next(whole) for _ in range(8)]
    for first in (1, 2, 7):
        later = next(CloudStream(SMALL, 5, "cpu", first_step=first))
        assert torch.equal(later.points, batches[first].points)
        assert torch.equal(later.occupied, batches[first].occupied)
    assert not torch.equal(next(CloudStream(SMALL, 6, "cpu")).queries, batches[0].queries)


def test_clouds_of_a_stream_have_few_sizes_and_fit_the_budget() -> None:
    steps = np.diff([math.log(size) for size in StreamSettings().sizes])
    assert steps.max() - steps.min() < 0.05
    stream = CloudStream(SMALL, 5, "cpu")
    for _ in range(5):
        clouds = next(stream)
        assert clouds.points.shape[0] * clouds.points.shape[1] <= 240
        assert clouds.points.shape[0] <= 4
        assert clouds.points.shape[1] in SMALL.sizes
        assert clouds.points.isfinite().all()
