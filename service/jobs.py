"""Job records in Redis: the only truth about a job's state."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field
from redis import Redis
from redis.client import Pipeline

from service.options import Format, Options

KEPT_AFTER_EXPIRY = timedelta(days=7)  # the record, so that a late caller reads "expired" and not 404
Unit = Annotated[float, Field(ge=0, le=100)]


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def open(self) -> bool:
        return self in (State.QUEUED, State.RUNNING)


class Progress(BaseModel):
    stage: str
    percent: Unit
    eta_seconds: float | None = None


class Input(BaseModel):
    """What was uploaded. `points` is the number a frame, or the smallest and largest."""

    frames: int
    points: int | tuple[int, int]
    bytes: int
    sha256: str


class ResultFile(BaseModel):
    format: Format
    name: str
    bytes: int
    sha256: str


class Mesh(BaseModel):
    vertices: int
    faces: int
    frames: int
    watertight: bool


class Fit(BaseModel):
    """Distance from the input points to the mesh, per input frame, in the caller's units."""

    mean: list[float]
    p95: list[float]


class Result(BaseModel):
    files: list[ResultFile]
    mesh: Mesh
    fit: Fit
    timings: dict[str, float]


class JobError(BaseModel):
    code: str
    message: str


class Job(BaseModel):
    id: str
    state: State = State.QUEUED
    progress: Progress = Progress(stage="queued", percent=0)
    attempt: int = 0
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime
    model: str
    options: Options
    input: Input
    result: Result | None = None
    error: JobError | None = None

    @classmethod
    def new(cls, model: str, options: Options, source: Input, keep_seconds: int) -> "Job":
        """A queued job with an id that nobody can guess."""
        now = datetime.now(UTC)
        return cls(
            id=secrets.token_hex(16),
            created_at=now,
            expires_at=now + timedelta(seconds=keep_seconds),
            model=model,
            options=options,
            input=source,
        )

    @property
    def input_key(self) -> str:
        return f"jobs/{self.id}/input"

    def result_key(self, name: str) -> str:
        """Each attempt writes under its own prefix, so that two workers never write one file."""
        return f"jobs/{self.id}/attempt-{self.attempt}/{name}"


class JobStore:
    """Jobs by id. Every change is a compare-and-set: of two writers one wins, the other is told."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix

    def _key(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}"

    def _waiting(self, model: str) -> str:
        return f"{self.prefix}:waiting:{model}"

    def create(self, job: Job) -> None:
        with self.redis.pipeline() as pipe:
            pipe.set(self._key(job.id), _dump(job), exat=job.expires_at + KEPT_AFTER_EXPIRY, nx=True)
            pipe.zadd(self._waiting(job.model), {job.id: job.created_at.timestamp()})
            pipe.execute()

    def discard(self, job: Job) -> None:
        """Forget a job that could not be queued."""
        with self.redis.pipeline() as pipe:
            pipe.delete(self._key(job.id))
            pipe.zrem(self._waiting(job.model), job.id)
            pipe.execute()

    def get(self, job_id: str) -> Job | None:
        """The job as its caller sees it; past `expires_at` an ended job is expired."""
        text = self.redis.get(self._key(job_id))
        if text is None:
            return None
        job = Job.model_validate_json(text)
        if not job.state.open and job.expires_at <= datetime.now(UTC):
            return job.model_copy(update={"state": State.EXPIRED, "result": None})
        return job

    def queue_position(self, job: Job) -> int | None:
        """Jobs of the same model that wait before this one; None once it has started."""
        return cast(int | None, self.redis.zrank(self._waiting(job.model), job.id))

    def claim(self, job_id: str, max_attempts: int) -> Job | None:
        """Start an attempt. None: the job is unknown, has ended, or ends now: it killed too many workers."""

        def change(job: Job) -> Job | None:
            if not job.state.open:
                return None
            if job.attempt >= max_attempts:
                message = f"The worker died {job.attempt} times while it ran this job."
                return _ended(job, State.FAILED, error=JobError(code="worker_lost", message=message))
            now = datetime.now(UTC)
            return job.model_copy(
                update={
                    "state": State.RUNNING,
                    "attempt": job.attempt + 1,
                    "started_at": job.started_at or now,
                    "progress": Progress(stage="fetch", percent=0),
                }
            )

        job = self._update(job_id, change)
        return job if job and job.state is State.RUNNING else None

    def report(self, job: Job, progress: Progress) -> bool:
        """Store the progress of an attempt. False when the attempt is no longer the current one."""
        return (
            self._update_attempt(job, lambda now: now.model_copy(update={"progress": progress})) is not None
        )

    def succeed(self, job: Job, result: Result) -> bool:
        """End an attempt well. False when the job has ended already: the first finisher counts."""
        done = Progress(stage="done", percent=100)
        return (
            self._update_attempt(
                job,
                lambda now: _ended(now, State.SUCCEEDED, result=result).model_copy(update={"progress": done}),
            )
            is not None
        )

    def fail(self, job: Job, error: JobError) -> bool:
        return self._update_attempt(job, lambda now: _ended(now, State.FAILED, error=error)) is not None

    def _update_attempt(self, job: Job, change: Callable[[Job], Job]) -> Job | None:
        def guarded(now: Job) -> Job | None:
            current = now.state is State.RUNNING and now.attempt == job.attempt
            return change(now) if current else None

        return self._update(job.id, guarded)

    def _update(self, job_id: str, change: Callable[[Job], Job | None]) -> Job | None:
        """Read, change, write; again when someone else wrote in between. None: nothing was to be changed."""
        key = self._key(job_id)

        def attempt(pipe: Pipeline) -> Job | None:
            text = pipe.get(key)
            job = change(Job.model_validate_json(text)) if isinstance(text, str) else None
            pipe.multi()
            if job is not None:
                pipe.set(key, _dump(job), keepttl=True)
                if job.state is not State.QUEUED:
                    pipe.zrem(self._waiting(job.model), job.id)
            return job

        transaction: Callable[..., Any] = self.redis.transaction  # its stub knows no returning callable
        return cast(Job | None, transaction(attempt, key, value_from_callable=True))


def _ended(job: Job, state: State, *, result: Result | None = None, error: JobError | None = None) -> Job:
    return job.model_copy(
        update={"state": state, "ended_at": datetime.now(UTC), "result": result, "error": error}
    )


def _dump(job: Job) -> str:
    return job.model_dump_json(exclude_none=True)
