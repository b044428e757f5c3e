"""Sparse particles and interpolation, compared with integrating every vertex."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.flow.fields import Field
from model.flow.local_rbf import NEIGHBORS, LocalRBF
from model.flow.ode import advect
from model.flow.particles import InterpolatedParticles, one_per_cell
from model.flow.step_doubling import StepDoubling

TIMES = torch.linspace(0, 1, 9)
EXACT = StepDoubling(1e-3)


def sphere(count: int = 8000) -> NDArray[np.float32]:
    """Points evenly on a sphere of radius 0.4 (Fibonacci lattice)."""
    z = np.linspace(-1, 1, count)
    angle = np.arange(count) * math.pi * (3 - math.sqrt(5))
    ring = np.sqrt(1 - z**2)
    return 0.4 * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1).astype(np.float32)


def twisting(t: Tensor, x: Tensor) -> Tensor:
    turn = torch.stack([-x[:, 1], x[:, 0], torch.zeros_like(x[:, 2])], dim=1)
    return torch.sin(4 * x[:, 2:]) * turn + 0.1 * torch.cos(5 * x[:, [2, 0, 1]] + t)


def torn(t: Tensor, x: Tensor) -> Tensor:
    """Two halves that slide along each other, in opposite directions, over a thin seam."""
    return 0.3 * torch.tanh(x[:, :1] / 0.01) * torch.tensor([0.0, 0.0, 1.0]).to(x)


@pytest.mark.parametrize("field", [twisting, torn])
def test_particles_determine_the_motion_of_all_vertices(field: Field) -> None:
    evaluated = []

    def counted(t: Tensor, x: Tensor) -> Tensor:
        evaluated.append(len(x))
        return field(t, x)

    vertices = torch.from_numpy(sphere())
    reference = advect(counted, vertices, TIMES, EXACT).positions
    cost, evaluated[:] = sum(evaluated), []
    fast = advect(counted, vertices, TIMES, InterpolatedParticles(EXACT, spacing=0.05)).positions
    assert (fast - reference).norm(dim=2).max() < 2e-3
    assert sum(evaluated) < cost / 3


def test_a_torn_surface_is_integrated_densely_at_the_tear() -> None:
    places = sphere()
    started: set[tuple[float, ...]] = set()

    def field(t: Tensor, x: Tensor) -> Tensor:
        if t == 0:
            started.update(map(tuple, x.tolist()))
        return torn(t, x)

    solution = advect(field, torch.from_numpy(places), TIMES, InterpolatedParticles(EXACT, spacing=0.05))
    solved = np.array([tuple(place) in started for place in places.tolist()])
    np.testing.assert_array_equal(solution.steps > 0, solved)
    at_the_seam = np.abs(places[:, 0]) < 0.02
    assert solved[at_the_seam].mean() > 0.9
    assert solved[~at_the_seam].mean() < 0.4


def test_all_vertices_of_a_small_mesh_are_integrated() -> None:
    vertices = torch.from_numpy(sphere(20))
    fast = advect(twisting, vertices, TIMES, InterpolatedParticles(EXACT, spacing=0.5)).positions
    torch.testing.assert_close(fast, advect(twisting, vertices, TIMES, EXACT).positions)


@pytest.mark.parametrize("flat", [False, True], ids=["in space", "in a plane"])
def test_linear_motions_are_reproduced_exactly(flat: bool) -> None:
    rng = np.random.default_rng(0)
    known, places = rng.uniform(-0.5, 0.5, (500, 3)), rng.uniform(-0.4, 0.4, (100, 3))
    if flat:
        known[:, 2] = places[:, 2] = 0.1
    matrix = rng.normal(size=(4, 3, 3))
    moved = torch.from_numpy(known @ matrix).float()  # [K, M, 3]
    interpolated = LocalRBF.fit(known, places)(moved)
    np.testing.assert_allclose(interpolated, places @ matrix, atol=1e-5)


def test_leave_one_out_prediction() -> None:
    known = sphere(2000)
    values = torch.from_numpy(known[None] ** 2)
    others = LocalRBF.fit(known, known, leave_one_out=True)
    assert not (others.neighbors == np.arange(len(known))[:, None]).any()
    error = (others(values) - values).abs().max()
    assert 1e-6 < error < 1e-3
    with_itself = LocalRBF.fit(known, known)
    assert with_itself.neighbors.shape == (len(known), NEIGHBORS)
    torch.testing.assert_close(with_itself(values), values, atol=1e-6, rtol=0)


def test_one_vertex_a_cell() -> None:
    places = sphere(3000)
    chosen = one_per_cell(places, np.arange(len(places)), 0.1)
    cells = np.floor((places[chosen] - places.min(axis=0)) / 0.1)
    assert len(np.unique(cells, axis=0)) == len(chosen)
    assert len(chosen) == len(np.unique(np.floor((places - places.min(axis=0)) / 0.1), axis=0))
    some = np.arange(0, 3000, 7)
    assert set(one_per_cell(places, some, 0.1)) <= set(some)
