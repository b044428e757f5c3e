"""The flow on fields whose solution is known, and on the shipped network."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.checkpoints import find_checkpoint, load_checkpoint
from model.config.schema import load_config
from model.errors import Canceled, FlowError, InputError
from model.flow.ode import advect, advect_to_0
from model.flow.torchdiffeq_solver import TorchdiffeqSolver
from model.methods import build_model
from model.networks.occupancy_flow import OccupancyFlow
from model.reconstruction.normalization import UnitBox
from worker.data.samples import Person

JUMPING_JACK = Person("jumping_jacks", seed=2, start=20)
POINTS = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 2.0, -1.0]], [[0.3, 0.4, 0.0], [-1.0, 0.2, 0.9]]])  # [2, 2, 3]
TIGHT = TorchdiffeqSolver(rtol=1e-7, atol=1e-8)


def turning(t: Tensor, points: Tensor) -> Tensor:
    """Round the z axis, one radian per unit of time, while rising at speed t."""
    x, y, _ = points.unbind(-1)
    return torch.stack([-y, x, t.reshape(-1, 1).expand_as(x)], dim=-1)


def turned(points: Tensor, start: float, end: float) -> Tensor:
    angle = torch.tensor(end - start)
    x, y, z = points.unbind(-1)
    return torch.stack(
        [
            x * angle.cos() - y * angle.sin(),
            x * angle.sin() + y * angle.cos(),
            z + (end**2 - start**2) / 2,
        ],
        dim=-1,
    )


def test_times_come_back_as_asked() -> None:
    times = torch.tensor([0.8, 0.2, 0.8, 0.0, 1.5])
    paths = advect(turning, POINTS, times, TIGHT).positions
    assert paths.shape == (5, 2, 2, 3)
    for time, positions in zip(times.tolist(), paths, strict=True):
        torch.testing.assert_close(positions, turned(POINTS, 0, time), atol=1e-6, rtol=0)
    assert torch.equal(paths[3], POINTS)


def test_only_time_0_takes_no_evaluation() -> None:
    def never(t: Tensor, points: Tensor) -> Tensor:
        raise AssertionError("evaluated")

    solution = advect(never, POINTS, torch.zeros(3), TIGHT)
    assert solution.evaluations == solution.steps.item() == 0
    assert torch.equal(solution.positions, POINTS.expand(3, 2, 2, 3))


def test_items_of_different_times_share_one_solve() -> None:
    seen = torch.tensor([0.3, 0.9])
    there = torch.stack([turned(item, 0, t) for item, t in zip(POINTS, seen.tolist(), strict=True)])
    torch.testing.assert_close(
        advect_to_0(turning, there, seen, TIGHT).positions[0], POINTS, atol=5e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("method", "step", "tolerance"),
    [
        ("dopri5", None, 2e-3),
        ("dopri8", None, 2e-3),
        ("bosh3", None, 2e-2),
        ("euler", 0.01, 3e-2),
        ("midpoint", 0.05, 2e-3),
        ("heun3", 0.05, 1e-4),
        ("rk4", 0.05, 1e-5),
    ],
)
def test_every_solver_of_the_config(method: str, step: float | None, tolerance: float) -> None:
    config = load_config("pointcloud/oflow", {"model": {"ode_solver": method, "ode_step_size": step}})
    solver = TorchdiffeqSolver.from_config(config.model)
    solution = advect(turning, POINTS, torch.tensor([0.33, 1.0]), solver)
    assert solution.steps == round(1 / step) if step else solution.steps > 0
    assert solution.evaluations >= solution.steps
    for time, positions in zip((0.33, 1.0), solution.positions, strict=True):
        torch.testing.assert_close(positions, turned(POINTS, 0, time), atol=tolerance, rtol=0)


def test_each_evaluation_can_end_the_solve() -> None:
    fractions: list[float] = []

    def note(fraction: float) -> None:
        fractions.append(fraction)
        if fraction > 0.25:
            raise Canceled("stop")

    with pytest.raises(Canceled):
        advect(turning, POINTS, torch.tensor([2.0]), TIGHT, note)
    assert fractions[0] == 0
    assert max(fractions[:-1]) <= 0.25 < fractions[-1]


def explode(t: Tensor, points: Tensor) -> Tensor:
    return points * 1e30


def vanish(t: Tensor, points: Tensor) -> Tensor:
    return points * float("nan")


@pytest.mark.parametrize("field", [explode, vanish])
def test_a_field_that_cannot_be_integrated_is_an_error(field: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(FlowError, match="cannot be integrated to t = 1"):
        advect(field, POINTS, torch.tensor([1.0]), TorchdiffeqSolver())


@pytest.mark.parametrize("time", [-0.1, float("nan")])
def test_times_before_0_are_refused(time: float) -> None:
    with pytest.raises(InputError, match="must be 0 or later"):
        advect(turning, POINTS, torch.tensor([0.5, time]), TorchdiffeqSolver())


@pytest.fixture(scope="module")
def bodies() -> OccupancyFlow:
    config = load_config("bodies")
    net = build_model(config).eval().requires_grad_(False)
    assert isinstance(net, OccupancyFlow)
    load_checkpoint(find_checkpoint(config), net)
    return net


def test_trained_network_there_and_back(bodies: OccupancyFlow) -> None:
    """At the default tolerances a trained field agrees with a tight solve to 1e-3 and can be run back."""
    clouds = JUMPING_JACK.arrays()["points"]  # [17, 300, 3]
    box = UnitBox.around(clouds[0])
    inputs = torch.from_numpy(box.normalize(clouds))[None]  # [1, 17, 300, 3]
    points = inputs[:, 0]
    _, c_t = bodies.encode_inputs(inputs)
    times = torch.linspace(0, 1, 17)
    default = bodies.solver
    paths = bodies.transform_to_t(times, points, None, c_t)  # [1, 17, 200, 3]
    back = bodies.transform_to_t_backward(torch.tensor([1.0, 0.5]), paths[:, -1], None, c_t)
    bodies.solver = replace(default, rtol=1e-6, atol=1e-7)
    tight = bodies.transform_to_t(times, points, None, c_t)
    bodies.solver = default
    assert (tight - points[:, None]).norm(dim=-1).max() > 0.1  # it does move
    assert rms(paths - tight) < 1e-3
    assert rms(back[:, 0] - points) < 2e-3
    assert rms(back[:, 1] - paths[:, 8]) < 2e-3


def rms(error: Tensor) -> float:
    return error.norm(dim=-1).square().mean().sqrt().item()


def test_codes_are_projected_once_a_solve(bodies: OccupancyFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    projection = bodies.vector_field.fc_c[0]
    forward = projection.forward

    def count(code: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return forward(code)

    monkeypatch.setattr(projection, "forward", count)
    evaluations: list[float] = []
    points, c_t = torch.zeros(1, 10, 3), torch.ones(1, 128)
    bodies.transform_to_t(torch.tensor([1.0]), points, None, c_t, evaluations.append)
    assert calls == 1
    assert len(evaluations) > 6
