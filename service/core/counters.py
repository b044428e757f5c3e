"""Service-wide counters in Redis, updated with each job change and read by `/metrics`."""

from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from service.core.jobs.record import Job, State

# Upper bounds of the histogram buckets, in seconds.
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


class Counters:
    """Counters in one hash: `name|label|…` → number. Histograms have fields `…|bucket` and `…|sum`."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.key = f"{prefix}:counters"

    def created(self, pipe: Pipeline, job: Job) -> None:
        self._add(pipe, "jobs", job.model, State.QUEUED)
        self._add(pipe, "now", job.model, State.QUEUED)
        self._add(pipe, "input_bytes", job.model, by=job.input.bytes)

    def changed(self, pipe: Pipeline, before: Job, after: Job) -> None:
        if before.state is not after.state:
            self._add(pipe, "jobs", after.model, after.state)
            self._add(pipe, "now", after.model, after.state)
            self._add(pipe, "now", before.model, before.state, by=-1)
        if after.started_at and not before.started_at:
            self._observe(pipe, "queue", after.model, (after.started_at - after.created_at).total_seconds())
        if after.started_at and after.ended_at and not before.ended_at:
            self._observe(pipe, "run", after.model, (after.ended_at - after.started_at).total_seconds())
        if after.error and not before.error:
            self._add(pipe, "errors", after.model, after.error.code)
        if after.result and not before.result:
            for file in after.result.files:
                self._add(pipe, "result_bytes", after.model, file.format, by=file.bytes)

    def set_aside(self, model: str, state: str) -> None:
        """Count out a job whose record cannot be read."""
        self.redis.hincrby(self.key, f"now|{model}|{state}", -1)

    def data_lost(self) -> None:
        """Count that Redis has been emptied, as the first entry of the new data."""
        self.redis.hincrby(self.key, "data_losses", 1)

    def failed(self, loop: str) -> None:
        """Count an unexpected error in a loop that goes on; does nothing while Redis is not available."""
        with suppress(RedisError):
            self.redis.hincrby(self.key, f"loop_failures|{loop}", 1)

    def read(self) -> Mapping[tuple[str, ...], float]:
        found = cast(Mapping[str, str], self.redis.hgetall(self.key))
        return {tuple(name.split("|")): float(number) for name, number in found.items()}

    def _add(self, pipe: Pipeline, *labels: str, by: int = 1) -> None:
        pipe.hincrby(self.key, "|".join(labels), by)

    def _observe(self, pipe: Pipeline, name: str, model: str, seconds: float) -> None:
        bucket = next((str(bound) for bound in BUCKETS if seconds <= bound), "+Inf")
        self._add(pipe, name, model, bucket)
        pipe.hincrbyfloat(self.key, f"{name}|{model}|sum", max(0.0, seconds))
