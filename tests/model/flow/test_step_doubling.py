import math

import pytest
import torch
from torch import Tensor

from model.errors import FlowError
from model.flow.ode import advect
from model.flow.runge_kutta import integrate_steps
from model.flow.step_doubling import StepDoubling
from model.flow.tableaus import BOGACKI_SHAMPINE


def turning(t: Tensor, x: Tensor) -> Tensor:
    """Half around the z axis in time 1."""
    return math.pi * torch.stack([-x[:, 1], x[:, 0], torch.zeros_like(x[:, 2])], dim=1)


def turned(x: Tensor, t: float) -> Tensor:
    c, s = math.cos(math.pi * t), math.sin(math.pi * t)
    return torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1], x[:, 2]], dim=1)


def points(count: int = 50) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_paths_are_as_near_as_asked(tolerance: float) -> None:
    times = torch.tensor([0.8, 0.0, 0.31, 1.0, 0.8])
    paths = advect(turning, points(), times, StepDoubling(tolerance, chunk_size=16))
    for position, t in zip(paths.positions, times.tolist(), strict=True):
        assert (position - turned(points(), t)).norm(dim=1).max() < tolerance
    assert paths.error is not None
    assert paths.error.max() <= tolerance
    torch.testing.assert_close(paths.positions[1], points())


def test_only_the_particles_that_need_them_get_more_steps() -> None:
    evaluated = []

    def field(t: Tensor, x: Tensor) -> Tensor:
        evaluated.append(len(x))
        return turning(t, x) * (x[:, 2:] > 0.4)

    moving = points(1000)
    wild = int((moving[:, 2] > 0.4).sum())
    paths = advect(field, moving, torch.tensor([1.0]), StepDoubling(1e-3, chunk_size=1000))
    assert {count for count in evaluated if count > wild} == {1000}
    assert evaluated[25] <= wild  # after eight steps of three, and the first slope
    assert len(evaluated) == paths.evaluations
    assert (paths.steps[moving[:, 2] <= 0.4] == 8).all()
    assert (paths.steps[moving[:, 2] > 0.4] > 8).any()
    expected = torch.where(moving[:, 2:] > 0.4, turned(moving, 1), moving)
    assert (paths.positions[0] - expected).norm(dim=1).max() < 2e-3


def test_the_order_is_three() -> None:
    times = torch.tensor([0.0, 1.0])
    solutions = [integrate_steps(turning, points(), times, BOGACKI_SHAMPINE, steps) for steps in (8, 16)]
    ends = [solution.positions[1] for solution in solutions]
    coarse, fine = ((end - turned(points(), 1)).norm(dim=1).max() for end in ends)
    assert 6 < coarse / fine < 10


def test_the_maximum_number_of_steps_ends_it() -> None:
    def kinked(t: Tensor, x: Tensor) -> Tensor:
        return torch.sin(1e4 * x)

    solver = StepDoubling(1e-9)
    paths = advect(kinked, points(), torch.tensor([1.0]), solver)
    assert paths.error is not None
    assert paths.error.max() > 1e-9
    assert paths.steps.max() == solver.max_steps
    times = torch.tensor([0.0, 1.0])
    alone = integrate_steps(kinked, points(), times, BOGACKI_SHAMPINE, solver.max_steps)
    torch.testing.assert_close(paths.positions, alone.positions[1:])


def test_a_field_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(FlowError, match="not finite"):
        advect(lambda t, x: x / 0, points(), torch.tensor([1.0]), StepDoubling(1e-3))


def test_progress_covers_the_whole_and_can_end_it() -> None:
    seen: list[float] = []
    advect(turning, points(40), torch.tensor([1.0]), StepDoubling(1.0, chunk_size=10), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        advect(turning, points(), torch.tensor([1.0]), StepDoubling(1e-3), stop)
