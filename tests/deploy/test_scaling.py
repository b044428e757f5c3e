"""The simulation of docs/scaling.md on cases whose waiting times are known."""

from math import factorial

import numpy as np
import pytest

from tests.benchmarks import scaling
from tests.benchmarks.scaling import arrivals, durations, simulate


@pytest.fixture(autouse=True)
def _immortal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LIFE", np.inf)


def test_one_worker_takes_jobs_in_turn() -> None:
    outcome = simulate(np.array([0.0, 1.0, 10.0]), np.array([4.0, 2.0, 1.0]), 1, scaled=False)
    np.testing.assert_allclose(outcome.waits, [0, 3, 0])
    assert outcome.busy == 7
    assert outcome.paid == 11


def test_waits_are_those_of_erlang() -> None:
    """Poisson arrivals, exponential times: the mean wait of M/M/c is known."""
    rng = np.random.default_rng(0)
    workers, load = 5, 4.0
    come = np.cumsum(rng.exponential(1 / load, size=200_000))
    take = rng.exponential(1.0, size=len(come))
    busy = load**workers / factorial(workers) / (1 - load / workers)
    waiting = busy / (sum(load**k / factorial(k) for k in range(workers)) + busy)
    expected = waiting / (workers - load)
    found = simulate(come, take, workers, scaled=False).waits.mean()
    assert found == pytest.approx(expected, rel=0.05)


def test_the_first_job_waits_for_a_worker_to_start() -> None:
    outcome = simulate(np.array([20.0]), np.array([5.0]), 3, scaled=True)
    decided = 2 * scaling.STEP
    assert outcome.waits[0] == pytest.approx(decided - 20 + scaling.START)
    assert outcome.paid == pytest.approx(scaling.START + 5)


def test_a_job_outlives_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LIFE", 100.0)
    come, take = np.zeros(1), np.full(1, 200.0)
    outcome = simulate(come, take, 2, scaled=False, seed=1)
    assert outcome.deaths > 0
    assert outcome.waits[0] >= scaling.VISIBILITY
    assert outcome.busy > 200


def test_a_day_is_as_busy_as_stated() -> None:
    rng = np.random.default_rng(1)
    come, take = arrivals(50_000, rng), durations(50_000, rng)
    assert len(come) == len(take) == 50_000
    assert (np.diff(come) >= 0).all()
    shares = np.histogram(come, bins=24, range=(0, scaling.DAY))[0] / len(come)
    assert shares[11:13].mean() / shares[[0, 23]].mean() == pytest.approx(1 / scaling.NIGHT, rel=0.35)
    seconds = sum(seconds * share for seconds, share in scaling.KINDS.values())
    assert take.mean() == pytest.approx(seconds * np.exp(scaling.SPREAD**2 / 2) + scaling.OVERHEAD, rel=0.05)
