"""The job record and the states of a job."""

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from service.core.jobs.estimate import Estimate
from service.core.jobs.option_faults import OptionsError, read_options
from service.core.jobs.options import Options, ReconstructionOptions
from service.core.jobs.provenance import Provenance
from service.core.jobs.results import DESCRIBED, Result
from service.core.sequences.errors import Fault

SCHEMA = 1  # of stored records; new fields do not change it, see `service.core.jobs.stored`
COPY = "record.json"  # the record of a job that has succeeded, among its files
OPEN_OWNER = "open"  # owner of all jobs when keys are disabled
Percent = Annotated[float, Field(ge=0, le=100)]


def new_id() -> str:
    """An unguessable id."""
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
    model_config = DESCRIBED

    stage: str
    percent: Percent
    eta_seconds: float | None = None
    """Seconds that are left, by estimate."""


class Input(BaseModel):
    """The stored sequence. `points` is the number per frame, or the smallest and largest number.

    An `.npz` of the whole sequence is stored as it was uploaded, other uploads as such an `.npz`.
    """

    model_config = DESCRIBED

    frames: int
    points: int | tuple[int, int]
    bytes: int
    sha256: str
    name: str | None = None
    """What the upload was called."""


class JobError(BaseModel):
    code: str
    message: str


class JobEvent(BaseModel):
    """The `data:` of an event. A `progress` event does not change the state."""

    state: State
    progress: Progress
    attempt: int
    at: datetime
    error: JobError | None = None


class Job(BaseModel):
    schema_version: int = SCHEMA
    id: str
    version: int = 1  # number of changes, and of the latest event
    owner: str = OPEN_OWNER  # key id
    traceparent: str | None = None  # of the request that created the job
    state: State = State.QUEUED
    progress: Progress = Progress(stage="queued", percent=0)
    attempt: int = 0
    given_back: list[int] = []  # attempts returned by a worker that was stopping, not lost in a crash
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime
    model: str
    options: dict[str, Any]  # as accepted; they are not validated again when a record is read
    input: Input
    provenance: Provenance | None = None  # of the current or last attempt
    estimate: Estimate | None = None
    queue_priority: int = 0  # 0 comes first
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
        """Create a queued job; `others` sets any further fields."""
        now = datetime.now(UTC)
        return cls(
            created_at=now,
            expires_at=now + timedelta(seconds=keep_seconds),
            model=model,
            options=options.model_dump(mode="json", exclude_none=True),
            input=source,
            **{"id": new_id(), **others},
        )

    def with_(self, **changes: Any) -> Self:
        return self.model_copy(update=changes)

    def ended(self, state: State, *, result: Result | None = None, error: JobError | None = None) -> Self:
        return self.with_(state=state, ended_at=datetime.now(UTC), result=result, error=error)

    def succeeded(self, result: Result) -> Self:
        return self.ended(State.SUCCEEDED, result=result).with_(progress=Progress(stage="done", percent=100))

    @property
    def metadata(self) -> dict[str, Any]:
        return self.options.get("metadata") or {}

    @property
    def webhook_url(self) -> str | None:
        return self.options.get("webhook_url")

    def reconstruction_options(self) -> ReconstructionOptions:
        """The options that shape the result. Raises OptionsError if this version does not know them all."""
        later = self.options.keys() - Options.model_fields.keys()
        message = "is an option of a later version, which this worker does not know: submit the job again"
        faults = [Fault(name, f"{name} {message}", name, "") for name in sorted(later)]
        if faults:
            raise OptionsError(faults)
        own = self.options.keys() & ReconstructionOptions.model_fields.keys()
        return read_options(ReconstructionOptions, {name: self.options[name] for name in own})

    @property
    def files_prefix(self) -> str:
        return f"jobs/{self.id}/"

    @property
    def input_key(self) -> str:
        return f"{self.files_prefix}input"

    def result_key(self, name: str) -> str:
        """Each attempt has its own prefix, so that two workers never write the same file."""
        return f"{self.files_prefix}attempt-{self.attempt}/{name}"
