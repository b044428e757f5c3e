import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from model.errors import EmptySurfaceError, InputError, ModelError
from model.surface.extraction import (
    _fill_unknown,
    _logit,
    dense_isosurface,
    extract_isosurface,
)
from model.surface.refinement import GridEvaluator, refine

Field = Callable[[torch.Tensor], torch.Tensor]

PARITY = Path(__file__).parents[2] / "data" / "isosurface.npz"


# Signed distances, positive inside: points [P, 3] → [P].
def sphere(
    points: torch.Tensor, center: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 0.35
) -> torch.Tensor:
    return radius - (points - torch.tensor(center)).norm(dim=1)


def torus(points: torch.Tensor) -> torch.Tensor:
    ring = torch.stack([points[:, :2].norm(dim=1) - 0.3, points[:, 2]], dim=1)
    return 0.12 - ring.norm(dim=1)


def rod(points: torch.Tensor, radius: float = 0.045) -> torch.Tensor:
    """A ball with a bent rod thinner than a coarse cell (0.1375), which the coarse grid sees nowhere."""
    along = points[:, 0].clamp(-0.3, 0.45)
    axis = torch.stack([along, 0.06 + 0.15 * along, torch.full_like(along, 0.07)], dim=1)
    return torch.maximum(sphere(points, (-0.3, 0.0, 0.0), 0.18), radius - (points - axis).norm(dim=1))


def plate(points: torch.Tensor) -> torch.Tensor:
    """A ball cut by a sheet thinner than a coarse cell."""
    sheet = torch.minimum(0.04 - (points[:, 1] - 0.06).abs(), 0.42 - points.abs().amax(dim=1))
    return torch.maximum(sphere(points, radius=0.2), sheet)


def beyond_the_box(points: torch.Tensor) -> torch.Tensor:
    return sphere(points, (0.4, 0.1, 0.0), 0.4)


FIELDS = [sphere, torus, rod, plate, beyond_the_box]


class Counting:
    """A field as logits that remembers the points it was asked for."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.points: list[torch.Tensor] = []

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        self.points.append(points)
        return 20 * self.field(points)

    @property
    def count(self) -> int:
        return sum(map(len, self.points))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("threshold", [0.3, 0.5])
@pytest.mark.parametrize(("resolution_0", "steps"), [(8, 2), (8, 0), (5, 3)])
def test_refinement_gives_the_surface_of_the_dense_grid(
    field: Field, threshold: float, resolution_0: int, steps: int
) -> None:
    fast, dense = Counting(field), Counting(field)
    vertices, faces = extract_isosurface(fast, threshold, resolution_0=resolution_0, upsampling_steps=steps)
    expected = dense_isosurface(dense, threshold, resolution=resolution_0 << steps)
    np.testing.assert_allclose(vertices, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(faces, expected[1])
    if steps == 0:
        assert fast.count == dense.count


@pytest.mark.parametrize("field", FIELDS)
def test_surface_is_closed_and_faces_outward(field: Field) -> None:
    vertices, faces = extract_isosurface(Counting(field), 0.5, resolution_0=8)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0.01
    assert np.abs(vertices).max() <= 0.55 + 1e-12


def test_sphere_has_its_radius_and_few_points_are_evaluated() -> None:
    occupancy = Counting(sphere)
    vertices, _ = extract_isosurface(occupancy, 0.5, resolution_0=32, upsampling_steps=2)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.35, atol=2e-4)
    assert occupancy.count < 129**3 / 15


@pytest.mark.parametrize("reach", [1.0, 0.0])
def test_what_is_bounded_by_points_is_the_same_surface_also_where_it_goes_on_beyond(reach: float) -> None:
    """Points all around a sphere, or on one half of it."""
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.manual_seed(0)), dim=1)
    near = 0.25 * directions[directions[:, 0] < reach]
    free, bounded = Counting(lambda p: sphere(p, radius=0.25)), Counting(lambda p: sphere(p, radius=0.25))
    expected = extract_isosurface(free, 0.5, near=near)
    found = extract_isosurface(bounded, 0.5, near=near, bounded=True)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert bounded.count < free.count - 1000


def test_every_point_is_evaluated_once_and_chunks_are_reported() -> None:
    occupancy = Counting(rod)
    progress: list[float] = []
    extract_isosurface(occupancy, 0.5, resolution_0=8, chunk_size=500, on_progress=progress.append)
    points = torch.cat(occupancy.points)
    assert len(points.unique(dim=0)) == len(points)
    assert max(map(len, occupancy.points)) == 500
    assert len(progress) == len(occupancy.points)
    assert progress == sorted(progress)
    assert 0 < progress[0] < progress[-1] == 1


def test_refinement_invents_nothing_in_a_field_of_noise() -> None:
    """Unconnected parts may be missed, but no vertex may come from the fill."""
    noise = torch.randn(1, 1, 24, 24, 24, generator=torch.Generator().manual_seed(0))

    def field(points: torch.Tensor) -> torch.Tensor:
        place = (points / 0.55)[None, :, None, None]  # [1, P, 1, 1, 3]
        return torch.nn.functional.grid_sample(noise, place, align_corners=True).view(-1) - 1

    vertices, _ = extract_isosurface(Counting(field), 0.5, resolution_0=8)
    expected, _ = dense_isosurface(Counting(field), 0.5, resolution=32)
    assert set(map(tuple, vertices.round(12))) <= set(map(tuple, expected.round(12)))
    assert len(vertices) > 1000


def test_an_error_in_the_callback_ends_the_extraction() -> None:
    occupancy = Counting(sphere)

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_isosurface(occupancy, 0.5, chunk_size=1000, on_progress=stop)
    assert occupancy.count == 1000


@pytest.mark.parametrize(
    ("radius", "words"),
    [(-1, "Nothing reaches the threshold 0.3"), (2, "whole box is above the threshold 0.3")],
)
def test_empty_and_full_boxes_are_errors_that_tell_the_range(radius: float, words: str) -> None:
    with pytest.raises(EmptySurfaceError, match=words) as caught:
        extract_isosurface(lambda points: sphere(points, radius=radius), 0.3)
    low, high = sphere(torch.tensor([[0.55] * 3, [0.0] * 3]), radius=radius).sigmoid()
    assert f"between {low:.3g} and {high:.3g}" in str(caught.value)


def test_a_point_that_only_touches_the_threshold_is_no_surface() -> None:
    with pytest.raises(EmptySurfaceError, match=r"Nothing reaches the threshold 0\.5"):
        extract_isosurface(lambda points: -40 * points.abs().sum(dim=1), 0.5, resolution_0=8)


def test_values_that_are_not_finite_are_an_error() -> None:
    def field(points: torch.Tensor) -> torch.Tensor:
        return torch.where(points[:, 0] > 0.5, torch.nan, sphere(points))

    with pytest.raises(ModelError, match=r"non-finite occupancy at \d+ of 35937 grid points"):
        extract_isosurface(field, 0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("field", FIELDS[1:4])
def test_a_gpu_gives_the_surface_of_the_cpu(field: Field) -> None:
    def occupancy(points: torch.Tensor) -> torch.Tensor:
        assert points.device.type == "cuda"
        return 20 * field(points.cpu()).cuda()

    vertices, faces = extract_isosurface(occupancy, 0.5, resolution_0=8, device="cuda")
    expected = extract_isosurface(Counting(field), 0.5, resolution_0=8)
    # Both evaluate on the CPU, at points that the two devices may round differently.
    np.testing.assert_allclose(vertices, expected[0], atol=1e-6)
    np.testing.assert_array_equal(faces, expected[1])


@pytest.mark.parametrize("threshold", [0.0, 1.0, -3.0, math.nan])
def test_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        extract_isosurface(sphere, threshold)


def test_parity_with_the_published_extraction() -> None:
    """The same points in each round and the same mesh, vertex for vertex and face for face."""
    data = np.load(PARITY)
    rounds = []

    def field(points: torch.Tensor) -> torch.Tensor:
        grid = np.round((points.double().numpy() / 1.1 + 0.5) * 32)
        rounds.append({tuple(point) for point in grid.astype(int)})
        x, y, z = (1.1 * (grid / 32 - 0.5)).T
        ball = 8 * (0.28 - np.sqrt((x / 0.9) ** 2 + ((y - 0.1) / 1.3) ** 2 + z**2))
        bump = 3 * np.exp(-40 * ((x + 0.2) ** 2 + (y + 0.3) ** 2 + (z + 0.1) ** 2))
        return torch.from_numpy(ball + bump - 1)

    vertices, faces = extract_isosurface(field, 0.3, resolution_0=8, upsampling_steps=2)
    expected = [{tuple(point) for point in data[f"round{i}_points"].astype(int)} for i in range(5)]
    assert rounds == expected
    np.testing.assert_allclose(vertices, data["mesh_vertices"], atol=2e-7)
    np.testing.assert_array_equal(faces, data["mc_faces"])
    volume = trimesh.Trimesh(vertices, faces, process=False).volume
    assert volume == pytest.approx(json.loads(str(data["meta"]))["volume"], rel=1e-7)


def test_parity_of_the_dense_grid() -> None:
    data = np.load(PARITY)
    known = np.full((33, 33, 33), np.nan, np.float32)
    for i in range(5):
        known[tuple(data[f"round{i}_points"].T)] = data[f"round{i}_values"]

    def field(points: torch.Tensor) -> torch.Tensor:
        grid = ((points / 1.1 + 0.5) * 32).round().long().numpy()
        return torch.from_numpy(known[tuple(grid.T)])

    values = refine(
        GridEvaluator(field, 32, 1.1, "cpu", 10**6), _logit(0.3), 8, 2, torch.empty(0, 3).long(), False, None
    )[0].numpy()
    np.testing.assert_array_equal(values, known)
    np.testing.assert_array_equal(_fill_unknown(values), data["dense"])
