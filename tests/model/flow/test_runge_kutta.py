"""Fixed steps on a field whose solution is known: orders, interpolation, number of evaluations, gradients."""

import math

import pytest
import torch
from torch import Tensor

from model.flow.ode import advect, advect_back, advect_to_0
from model.flow.runge_kutta import FixedSteps, integrate_steps
from model.flow.tableaus import TABLEAUS, ButcherTableau

POINTS = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 2.0, -1.0]], [[0.3, 0.4, 0.0], [-1.0, 0.2, 0.9]]]).double()


def turning(t: Tensor, points: Tensor) -> Tensor:
    """Round the z axis at speed 1, while rising at speed t³."""
    x, y, _ = points.unbind(-1)
    return torch.stack([-y, x, (t**3).reshape(-1, 1).expand_as(x)], dim=-1)


def turned(points: Tensor, end: float) -> Tensor:
    x, y, z = points.unbind(-1)
    cosine, sine = math.cos(end), math.sin(end)
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine, z + end**4 / 4], dim=-1)


def error(solver: FixedSteps, end: float = 1.0) -> float:
    paths = advect(turning, POINTS, torch.tensor([end, 1.0]), solver).positions
    return (paths[0] - turned(POINTS, end)).abs().max().item()


@pytest.mark.parametrize(("method", "order"), [("midpoint", 2), ("bosh3", 3), ("rk4", 4)])
def test_orders(method: str, order: int) -> None:
    ratio = error(FixedSteps(method, 8)) / error(FixedSteps(method, 16))
    assert math.log2(ratio) == pytest.approx(order, abs=0.4)
    assert TABLEAUS[method].order == order


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_tableaus_are_consistent(tableau: ButcherTableau) -> None:
    """Rows of a sum to c, weights to 1, differences to an embedded method to 0; stages are explicit."""
    assert sum(tableau.b) == pytest.approx(1)
    assert sum(tableau.error) == pytest.approx(0)
    for i, (c, row) in enumerate(zip(tableau.c, tableau.a, strict=True)):
        assert len(row) == i
        assert sum(row) == pytest.approx(c)


def test_a_last_stage_that_begins_the_next_step_is_evaluated_once() -> None:
    solution = integrate_steps(turning, POINTS, torch.tensor([0.0, 0.95, 1.0]), TABLEAUS["bosh3"], 4)
    assert solution.evaluations == 1 + 3 * 4
    assert solution.error is not None
    assert solution.error.shape == POINTS.shape[:2]


def test_progress_of_fixed_steps() -> None:
    seen: list[float] = []
    advect(turning, POINTS, torch.tensor([2.0]), FixedSteps("rk4", 4), seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_times_between_steps() -> None:
    """The cubic between two states is as good as the steps, and times come back as asked."""
    for end in (0.1, 0.33, 0.77, 0.99):
        assert error(FixedSteps("rk4", 8), end) < 1e-5
    times = torch.tensor([0.8, 0.2, 0.0, 0.8, 1.0])
    paths = advect(turning, POINTS, times, FixedSteps("rk4", 10)).positions
    for time, positions in zip(times.tolist(), paths, strict=True):
        torch.testing.assert_close(positions, turned(POINTS, time), atol=1e-5, rtol=0)
    assert torch.equal(paths[2], POINTS)
    assert torch.equal(paths[0], paths[3])


@pytest.mark.parametrize(
    ("times", "evaluations"),
    [
        ([1.0], 16),  # only states: four each step
        ([0.5, 1.0], 16),
        ([0.1, 1.0], 16),
        ([0.9, 1.0], 17),  # between the last two: the velocity at the end is wanted, too
        ([0.0, 0.0], 0),
    ],
)
def test_one_solve_for_all_times(times: list[float], evaluations: int) -> None:
    seen = []

    def field(t: Tensor, points: Tensor) -> Tensor:
        seen.append(t.item())
        return turning(t, points)

    solution = advect(field, POINTS, torch.tensor(times), FixedSteps("rk4", 4))
    assert len(seen) == solution.evaluations == evaluations
    assert solution.steps == (4 if evaluations else 0)


def test_items_of_different_times_are_carried_back_at_once() -> None:
    seen = torch.tensor([0.3, 0.9]).double()
    there = torch.stack([turned(item, t) for item, t in zip(POINTS, seen.tolist(), strict=True)])
    calls = 0

    def field(t: Tensor, points: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        assert points.shape == POINTS.shape  # no copy of the batch for each time
        return turning(t, points)

    back = advect_to_0(field, there, seen, FixedSteps("rk4", 8)).positions
    torch.testing.assert_close(back[0], POINTS, atol=1e-5, rtol=0)
    assert calls == 32


def test_backwards_from_the_end() -> None:
    there = turned(POINTS, 1.0)
    times = torch.tensor([0.25, 1.0]).double()
    paths = advect_back(turning, there, times, FixedSteps("rk4", 8)).positions
    torch.testing.assert_close(paths[0], turned(POINTS, 0.75), atol=1e-5, rtol=0)
    torch.testing.assert_close(paths[1], POINTS, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["midpoint", "rk4", "bosh3"])
def test_gradients(method: str) -> None:
    """Exact for the discrete solution (against finite differences), the same when steps are recomputed."""
    speed = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    start = POINTS.clone().requires_grad_()

    def end(start: Tensor, speed: Tensor, recompute: bool = False) -> Tensor:
        solver = FixedSteps(method, 3, recompute)
        return advect(
            lambda t, p: speed * turning(t, p) * p.cos(), start, torch.tensor([0.4, 1.0]), solver
        ).positions

    assert torch.autograd.gradcheck(end, (start, speed))
    direct = torch.autograd.grad(end(start, speed).square().sum(), (start, speed))
    again = torch.autograd.grad(end(start, speed, True).square().sum(), (start, speed))
    for one, other in zip(direct, again, strict=True):
        torch.testing.assert_close(one, other)
