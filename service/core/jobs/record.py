"""The record of a job: what is kept of it, and the states that it goes through."""

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from service.core.jobs.formats import Format
from service.core.jobs.options import Options

OPEN_OWNER = "open"  # of every job where no keys are asked for
Unit = Annotated[float, Field(ge=0, le=100)]


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


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


class JobEvent(BaseModel):
    """The `data:` of an event. `progress` events leave the state as it was."""

    state: State
    progress: Progress
    attempt: int
    at: datetime
    error: JobError | None = None


class Job(BaseModel):
    id: str
    version: int = 1  # counts the changes; the number of the event that told of the last one
    owner: str = OPEN_OWNER  # the id of a key
    traceparent: str | None = None  # of the request that it came with
    state: State = State.QUEUED
    progress: Progress = Progress(stage="queued", percent=0)
    attempt: int = 0
    given_back: list[int] = []  # attempts that ended before the job did, and not by their worker's death
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
    def new(
        cls,
        model: str,
        options: Options,
        source: Input,
        keep_seconds: int,
        **others: Any,
    ) -> Self:
        """A queued job; `others` are the other fields that are known."""
        now = datetime.now(UTC)
        return cls(
            created_at=now,
            expires_at=now + timedelta(seconds=keep_seconds),
            model=model,
            options=options,
            input=source,
            **{"id": new_id(), **others},
        )

    def with_(self, **changes: Any) -> Self:
        return self.model_copy(update=changes)

    def ended(self, state: State, *, result: Result | None = None, error: JobError | None = None) -> Self:
        return self.with_(state=state, ended_at=datetime.now(UTC), result=result, error=error)

    @property
    def files_prefix(self) -> str:
        return f"jobs/{self.id}/"

    @property
    def input_key(self) -> str:
        return f"{self.files_prefix}input"

    def result_key(self, name: str) -> str:
        """Each attempt writes under its own prefix, so that two workers never write one file."""
        return f"{self.files_prefix}attempt-{self.attempt}/{name}"
