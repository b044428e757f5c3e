"""Few particles and splines, beside every vertex carried."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.flow.fields import RowField
from model.flow.local_rbf import NEIGHBORS, local_rbf
from model.flow.particles import integrate_particles, one_per_cell
from model.flow.step_doubling import integrate

TIMES = torch.linspace(0, 1, 9)


def sphere(count: int = 8000) -> NDArray[np.float32]:
    """Points evenly on a sphere of radius 0.4 (Fibonacci lattice)."""
    z = np.linspace(-1, 1, count)
    angle = np.arange(count) * math.pi * (3 - math.sqrt(5))
    ring = np.sqrt(1 - z**2)
    return 0.4 * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1).astype(np.float32)


def twisting(t: float, x: Tensor) -> Tensor:
    turn = torch.stack([-x[:, 1], x[:, 0], torch.zeros_like(x[:, 2])], dim=1)
    return torch.sin(4 * x[:, 2:]) * turn + 0.1 * torch.cos(5 * x[:, [2, 0, 1]] + t)


def torn(t: float, x: Tensor) -> Tensor:
    """Two halves that slide along each other, in opposite directions, over a thin seam."""
    return 0.3 * torch.tanh(x[:, :1] / 0.01) * torch.tensor([0.0, 0.0, 1.0]).to(x)


@pytest.mark.parametrize("field", [twisting, torn])
def test_particles_tell_the_motion_of_all_vertices(field: RowField) -> None:
    evaluated = []

    def counted(t: float, x: Tensor) -> Tensor:
        evaluated.append(len(x))
        return field(t, x)

    vertices = torch.from_numpy(sphere())
    plain = integrate(counted, vertices, TIMES, 1e-3).positions
    cost, evaluated[:] = sum(evaluated), []
    fast = integrate_particles(counted, vertices, TIMES, 1e-3, spacing=0.05)
    assert (fast - plain).norm(dim=2).max() < 2e-3
    assert sum(evaluated) < cost / 3


def test_a_torn_surface_is_solved_where_it_is_torn() -> None:
    places = sphere()
    started: set[tuple[float, ...]] = set()

    def field(t: float, x: Tensor) -> Tensor:
        if t == 0:
            started.update(map(tuple, x.tolist()))
        return torn(t, x)

    integrate_particles(field, torch.from_numpy(places), TIMES, 1e-3, spacing=0.05)
    solved = np.array([tuple(place) in started for place in places.tolist()])
    at_the_seam = np.abs(places[:, 0]) < 0.02
    assert solved[at_the_seam].mean() > 0.9
    assert solved[~at_the_seam].mean() < 0.4


def test_a_small_mesh_is_carried_whole() -> None:
    vertices = torch.from_numpy(sphere(20))
    fast = integrate_particles(twisting, vertices, TIMES, 1e-3, spacing=0.5)
    torch.testing.assert_close(fast, integrate(twisting, vertices, TIMES, 1e-3).positions)


@pytest.mark.parametrize("flat", [False, True], ids=["in space", "in a plane"])
def test_stencils_give_linear_motions_exactly(flat: bool) -> None:
    rng = np.random.default_rng(0)
    known, places = rng.uniform(-0.5, 0.5, (500, 3)), rng.uniform(-0.4, 0.4, (100, 3))
    if flat:
        known[:, 2] = places[:, 2] = 0.1
    matrix = rng.normal(size=(4, 3, 3))
    moved = torch.from_numpy(known @ matrix).float()  # [K, M, 3]
    read = local_rbf(known, places)(moved)
    np.testing.assert_allclose(read, places @ matrix, atol=1e-5)


def test_leaving_a_place_out_predicts_it_from_the_others() -> None:
    known = sphere(2000)
    values = torch.from_numpy(known[None] ** 2)
    others = local_rbf(known, known, itself=False)
    assert not (others.members == np.arange(len(known))[:, None]).any()
    error = (others(values) - values).abs().max()
    assert 1e-6 < error < 1e-3
    with_itself = local_rbf(known, known)
    assert with_itself.members.shape == (len(known), NEIGHBORS)
    torch.testing.assert_close(with_itself(values), values, atol=1e-6, rtol=0)


def test_one_vertex_a_cell() -> None:
    places = sphere(3000)
    chosen = one_per_cell(places, np.arange(len(places)), 0.1)
    cells = np.floor((places[chosen] - places.min(axis=0)) / 0.1)
    assert len(np.unique(cells, axis=0)) == len(chosen)
    assert len(chosen) == len(np.unique(np.floor((places - places.min(axis=0)) / 0.1), axis=0))
    some = np.arange(0, 3000, 7)
    assert set(one_per_cell(places, some, 0.1)) <= set(some)
