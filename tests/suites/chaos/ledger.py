"""The accepted jobs of a scenario, and checks of how they ended and of their files."""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from service.client import Client
from service.core.jobs.record import JobEvent
from service.core.jobs.views import JobView
from service.core.queue import queue_name
from tests.suites.chaos.kinds import Kind
from tests.suites.chaos.stack import Stack, describe

PATIENCE = 120.0  # seconds for which clients retry
SETTLED = 150.0  # seconds within which all jobs must end
ACKNOWLEDGED = 20.0  # seconds until all messages must be acknowledged


@dataclass(frozen=True)
class Accepted:
    """An accepted job; `ends` is the expected outcome, "succeeded" or an error code."""

    kind: Kind
    ends: str


@dataclass
class Ledger:
    """Accepted jobs by id; `undisturbed` holds the SHA-256 of each kind's files without faults."""

    stack: Stack
    folder: Path
    undisturbed: dict[str, dict[str, str]] = field(default_factory=dict)
    accepted: dict[str, Accepted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.client = Client(self.stack.address, patience=PATIENCE)

    def source(self, kind: Kind) -> Path:
        path = self.folder / f"{kind.name}.npz"
        if not path.exists():
            path.write_bytes(kind.content())
        return path

    def submit(self, *kinds: Kind, ends: str = "succeeded") -> list[str]:
        """Submit a job of each kind and return their ids."""
        ids = []
        for kind in kinds:
            ids.append(self.client.reconstruct(self.source(kind), **kind.options).id)
            self.accepted[ids[-1]] = Accepted(kind, ends)
        return ids

    def learn(self, *kinds: Kind) -> None:
        """Run a job of each kind without faults and record its files as the expected result."""
        for job_id, kind in zip(self.submit(*kinds), kinds, strict=True):
            self.undisturbed[kind.name] = self.fetch(self.client.wait(job_id))
        self.verify()

    def settle(self, seconds: float = SETTLED) -> float:
        """Wait until all jobs have ended, restarting dead processes; returns the seconds waited."""
        start = time.monotonic()
        while waiting := [job_id for job_id in self.accepted if self._is_open(job_id)]:
            if time.monotonic() - start > seconds:
                records = "\n".join(describe(self.stack.record(job_id)) for job_id in waiting)
                raise AssertionError(f"these jobs have not ended after {seconds:g} s:\n{records}")
            self.stack.revive()
            time.sleep(0.05)
        return time.monotonic() - start

    def _is_open(self, job_id: str) -> bool:
        job = self.stack.record(job_id)
        return job is None or job.state.open

    def verify(self) -> int:
        """Check that each job ended once and as expected, with the files of an undisturbed run, and that the
        queue is empty. Returns the number of jobs and clears the ledger."""
        for job_id, accepted in self.accepted.items():
            job = self.client.job(job_id)
            self._check_end(job, accepted)
            if job.result is not None:
                found = self.fetch(job)
                expected = self.undisturbed[accepted.kind.name]
                assert found == expected, f"job {job_id}: files are {found}, expected {expected}"
        self._check_queue()
        count = len(self.accepted)
        self.accepted = {}
        return count

    def fetch(self, job: JobView) -> dict[str, str]:
        """SHA-256 of a job's downloaded files by format."""
        assert job.result is not None
        digests = {}
        for file in job.result.files:
            path = self.client.download(job, self.folder / file.name, file.format)
            digests[str(file.format)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return digests

    def _check_end(self, job: JobView, accepted: Accepted) -> None:
        events = self.stack.records.events.after(job.id, 0)
        states = [JobEvent.model_validate_json(data).state for _, _, data in events]
        ends = [state for state in states if not state.open]
        assert ends == [job.state], f"job {job.id} is {job.state}, but its events are {states}"
        ended = job.error.code if job.error else str(job.state)
        assert ended == accepted.ends, f"job {job.id} ended as {ended}, not {accepted.ends}: {job.error}"

    def _check_queue(self) -> None:
        """No message of an ended job is queued or unacknowledged."""
        redis, end = self.stack.records.redis, time.monotonic() + ACKNOWLEDGED
        while left := redis.llen(queue_name("local_oflow")) + redis.hlen("unacked"):
            assert time.monotonic() < end, f"{left} messages are still in the queue"
            time.sleep(0.05)
        assert not redis.zcard(self.stack.records.leased), "a lease outlived its job"
