"""Registration by torch computes what the compiled loops do: on the CPU here, on a GPU where there is one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from model.compiled import Floats, Ints
from model.registration import Options, Tracking, reference, track
from model.registration.backends import NUMBA, make_backend
from model.registration.batches import Batches
from model.registration.clouds import Cloud, canonical, make_cloud
from model.registration.descent import Pull
from model.registration.graph import Motion
from model.registration.template import Template, make_template
from model.registration.torch_backend import Frame, TorchBackend
from model.registration.torch_equations import Equations
from tests.model.registration.solids import bend, draw, exact, sequence, solid

GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
on_devices = pytest.mark.parametrize("device", ["cpu", GPU])
KINDS = ("goals", "points", "points of one side", "points of a view", "points and what is expected")


@pytest.fixture(scope="module")
def template() -> Template:
    vertices, faces = solid(3)
    return make_template(vertices, faces)


@pytest.fixture(scope="module")
def clouds(template: Template) -> list[Cloud]:
    """Of different lengths."""
    rng = np.random.default_rng(0)
    bent = (bend(template.vertices, phase) for phase in (0.05, 0.1, 0.15))
    return [make_cloud(canonical(draw(v, template.faces, 400 + 50 * n, rng))) for n, v in enumerate(bent)]


@pytest.fixture(scope="module")
def motion(template: Template) -> Motion:
    rng, rest = np.random.default_rng(1), template.level.graph.rest
    turns = reference.rotation_matrices(rng.normal(0, 0.05, rest.shape))
    return Motion(turns, rest + rng.normal(0, 0.005, rest.shape))


def pull_of(kind: str, cloud: Cloud, motion: Motion, count: int) -> Pull:
    few = 40 if kind == "goals" else 0
    goals, weights = cloud.points[:few], np.full(few, 0.02)
    reach, hold = 0.0 if few else 0.2, 0.01 if kind == "points and what is expected" else 0.0
    expected = motion.positions
    seen = np.full(count, kind != "points of one side")
    if kind == "points of a view":
        seen &= np.random.default_rng(2).random(count) < 0.5
    return Pull(1.0, 0.02, reach, 4, seen, goals, weights, expected, hold, 0.1)


@on_devices
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 4e-6), (torch.float32, 2e-4)])
def test_a_batch_of_frames_descends_as_each_by_numba(
    template: Template, clouds: list[Cloud], motion: Motion, kind: str, dtype: torch.dtype, tolerance: float,
    device: str,
) -> None:  # fmt: skip
    """Numba adds up and solves in single precision. Lengths are of a solid about 1 long."""
    surface, backend = template.level.surface, TorchBackend(device, dtype)
    pulls = [pull_of(kind, cloud, motion, len(surface.points)) for cloud in clouds]
    wanted = [NUMBA.descend(surface, c, p, motion) for c, p in zip(clouds, pulls, strict=True)]
    loaded = backend.load(surface)
    found = backend.descend_all([Frame(loaded, c, p, motion) for c, p in zip(clouds, pulls, strict=True)])
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours.positions, theirs.positions, atol=tolerance)
        np.testing.assert_allclose(ours.rotations, theirs.rotations, atol=30 * tolerance)
        assert np.abs(theirs.positions - motion.positions).max() > 0.005


@on_devices
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_misfits_agree(
    template: Template, clouds: list[Cloud], motion: Motion, share: float, device: str
) -> None:
    surface, backend = template.level.surface, TorchBackend(device)
    seen = np.random.default_rng(2).random(len(surface.points)) < share
    loaded = backend.load(surface)
    found = [backend.misfit(loaded, cloud, motion, seen, 0.05) for cloud in clouds]
    wanted = [NUMBA.misfit(surface, cloud, motion, seen, 0.05) for cloud in clouds]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@on_devices
@pytest.mark.parametrize("reach", [np.inf, 0.3])
@pytest.mark.parametrize("count", [1, 3])
def test_nearest_points_agree(count: int, reach: float, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.registration.torch_descent.PAIRS", 5_000)  # in several chunks
    rng = np.random.default_rng(9)
    points = rng.normal(size=(500, 3)) * [1.0, 0.2, 0.01]
    queries = np.concatenate([rng.normal(size=(300, 3)), points[:50], 50.0 + points[:5]])
    found = TorchBackend(device, torch.float64).nearest(points, queries, count, reach)
    wanted = NUMBA.nearest(points, queries, count, reach)
    near = wanted[0][:, 0] < reach
    np.testing.assert_allclose(found[0][:, 0], wanted[0][:, 0], atol=1e-9)
    np.testing.assert_allclose(found[0][near], wanted[0][near], atol=1e-9)
    np.testing.assert_array_equal(found[1][near], wanted[1][near])


def test_too_few_points_leave_places_empty() -> None:
    rng = np.random.default_rng(0)
    points, queries = rng.random((2, 3)), rng.random((5, 3))
    found, wanted = (b.nearest(points, queries, 3, np.inf) for b in (TorchBackend("cpu"), NUMBA))
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-6)
    np.testing.assert_array_equal(found[1], wanted[1])


@on_devices
def test_transport_agrees(clouds: list[Cloud], device: str) -> None:
    a, b = clouds[0], clouds[2]
    given = a.few[:300], a.masses[:300] / a.masses[:300].sum(), b.few, b.masses, 0.04, (0.08, 0.05), 30
    found, wanted = TorchBackend(device).transport(*given), NUMBA.transport(*given)
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-4)


@on_devices
def test_equations_that_single_precision_cannot_solve(device: str) -> None:
    equations = Equations(1, 1, torch.zeros(1, device=device))
    equations.matrix += 1.0
    equations.right += 1.0
    little = torch.full((1, 1, 6), 1e-9, device=device, dtype=torch.float64)
    assert equations.solve(little).sum().item() == pytest.approx(1.0, rel=1e-6)
    assert equations.solve(-little).sum().item() == pytest.approx(1.0, rel=1e-5)  # as rounding leaves it
    equations.matrix *= -1.0
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        equations.solve(little)


@pytest.fixture(scope="module")
def bending() -> tuple[list[Floats], Floats, Ints]:
    return sequence(9, 400)


@pytest.fixture(scope="module")
def by_numba(bending: tuple[list[Floats], Floats, Ints]) -> Tracking:
    return track(bending[0], None, exact(*bending), options=Options(keyframes=1))


@on_devices
def test_a_solid_is_tracked_alike(
    bending: tuple[list[Floats], Floats, Ints], by_numba: Tracking, device: str
) -> None:
    """Both within 1 % of the box of the truth on average, and a tenth of that of each other."""
    clouds, vertices, _ = bending
    by_torch = track(
        clouds, None, exact(*bending), options=Options(keyframes=1), backend=make_backend(device, "torch")
    )
    size = float(np.ptp(vertices[0], axis=0).max())
    for found in (by_numba, by_torch):
        assert np.linalg.norm(found.vertices - vertices, axis=2).mean(1).max() < 0.01 * size
    assert np.linalg.norm(by_numba.vertices - by_torch.vertices, axis=2).mean(1).max() < 0.001 * size
    np.testing.assert_allclose(by_torch.residuals, by_numba.residuals, rtol=0.01)


def test_the_device_chooses() -> None:
    assert make_backend("cpu") is NUMBA
    assert isinstance(make_backend("cuda"), TorchBackend)
    assert make_backend("cuda", "numba") is NUMBA
    assert isinstance(make_backend("cpu", "torch"), TorchBackend)


def test_calls_gather_while_a_batch_runs() -> None:
    started, finish = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def squares(numbers: list[int]) -> list[int]:
        batches.append(sorted(numbers))
        started.set()
        finish.wait(10)
        return [number**2 for number in numbers]

    square = Batches(squares, key=lambda number: number % 2, most=3)
    with ThreadPoolExecutor(9) as pool:
        found = [pool.submit(square, 0)]
        assert started.wait(10)
        found += [pool.submit(square, number) for number in range(1, 9)]
        while len(square) < 8:
            time.sleep(0.001)
        finish.set()
    assert [future.result() for future in found] == [number**2 for number in range(9)]
    assert sorted(map(len, batches)) == [1, 1, 1, 3, 3]
    assert all(len({number % 2 for number in batch}) == 1 for batch in batches)


def test_errors_of_a_batch_reach_its_callers() -> None:
    def inverses(numbers: list[int]) -> list[int]:
        return [1 // number for number in numbers]

    divide = Batches(inverses, key=lambda _: 0, most=4)
    with pytest.raises(ZeroDivisionError):
        divide(0)
    assert divide(1) == 1
