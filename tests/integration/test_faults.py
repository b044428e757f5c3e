"""A short version of the chaos suite: one fault of each part while jobs run.

`python -m tests.suites.chaos` runs all of them.
"""

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.api.http import problems
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, JobError, State
from service.core.jobs.store import JobStore
from tests.suites.chaos.gateway_faults import gateway_killed_storing
from tests.suites.chaos.kinds import MANY_PARTS, QUICK, STEADY
from tests.suites.chaos.ledger import Ledger
from tests.suites.chaos.scenarios import SCENARIOS, Run
from tests.suites.chaos.stack import Stack
from tests.suites.chaos.store_faults import result_gone
from tests.suites.chaos.suite import run
from tests.suites.chaos.valkey_faults import valkey_killed
from tests.suites.chaos.worker_faults import out_of_memory, worker_asked_to_stop_storing


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A separate stack whose servers may be killed, with the results of undisturbed jobs."""
    directory: Path = tmp_path_factory.mktemp("chaos")
    with Stack(directory / "stack") as stack:
        ledger = Ledger(stack, directory / "jobs")
        ledger.learn(STEADY, QUICK, MANY_PARTS)
        yield ledger


@pytest.mark.parametrize(
    "strike",
    [worker_asked_to_stop_storing, out_of_memory, valkey_killed, result_gone, gateway_killed_storing],
)
def test_no_job_is_lost(ledger: Ledger, strike: Run) -> None:
    outcome = run(SCENARIOS[strike.__name__], ledger.stack, ledger)
    assert outcome.skipped is None
    assert outcome.fault is None


def test_full_disk_returns_503_with_retry_after() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/{code}")
    def write(code: int) -> None:
        raise OSError(code, "says the disk")

    async def ask(code: int) -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(f"/{code}")

    full = asyncio.run(ask(errno.ENOSPC))
    assert (full.status_code, full.json()["code"]) == (503, "no_room")
    assert int(full.headers["retry-after"]) >= 1
    assert asyncio.run(ask(errno.EIO)).status_code == 500


def test_returned_attempts_do_not_count_as_deaths(jobs: JobStore) -> None:
    job = Job.new("nobody", Options(), Input(frames=2, points=32, bytes=3, sha256="0" * 64), 600)
    jobs.create(job)
    for _ in range(5):
        assert jobs.claim(job.id, 3) is not None
        jobs.give_back(job.id)
        jobs.give_back(job.id)  # idempotent
    for _ in range(3):
        assert jobs.claim(job.id, 3) is not None  # then the worker dies
    assert jobs.claim(job.id, 3) is None
    ended = jobs.get(job.id)
    assert ended is not None
    assert (ended.state, ended.attempt, ended.given_back) == (State.FAILED, 8, [1, 2, 3, 4, 5])
    assert ended.error == JobError(
        code="worker_lost", message="The worker died 3 times while running this job."
    )
