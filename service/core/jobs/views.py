"""The public representation of a job."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from service.core.jobs.estimate import Estimate
from service.core.jobs.provenance import Provenance
from service.core.jobs.record import Input, Job, JobError, Progress, State
from service.core.jobs.results import DESCRIBED, Assessment, Fit, Mesh, ResultFile


class FileView(ResultFile):
    href: str


class ResultView(Assessment):
    files: list[FileView]
    mesh: Mesh
    fit: Fit
    timings: dict[str, float]
    """Seconds of each stage; `total` starts when a worker takes the job, after `queue`."""
    provenance: Provenance | None = None


class WebhookStatus(BaseModel):
    """The delivery of a job's event. `failed`: it was given up, and can be sent again on request."""

    state: Literal["pending", "delivered", "failed"]
    attempts: int
    last_error: str | None = None
    next_attempt_at: datetime | None = None


class JobView(BaseModel):
    """A job. Times are in UTC, durations in seconds."""

    model_config = DESCRIBED

    id: str
    state: State
    progress: Progress
    queue_position: int | None = None
    """Number of jobs ahead of this one, while it is queued."""
    attempt: int
    """0 until a worker takes the job, above 1 if one died or gave it back."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime
    model: str
    options: dict[str, Any]
    input: Input
    estimate: Estimate | None = None
    result: ResultView | None = None
    error: JobError | None = None
    metadata: dict[str, Any]
    webhook: WebhookStatus | None = None
    """In the response for this job alone, once it has ended."""
    links: dict[str, str]


class JobList(BaseModel):
    jobs: list[JobView]
    next_cursor: str | None = None


INTERNAL = {"options", "result", "owner", "version", "traceparent", "provenance", "queue_priority"}


def view(
    job: Job, base: str | None, queue_position: int | None = None, webhook: WebhookStatus | None = None
) -> JobView:
    """A job with links below `base`, the address of the service; paths without it."""
    href = f"{base or ''}/jobs/{job.id}"
    result = None
    links = {"self": href, "events": f"{href}/events", "input": f"{href}/input"}
    if job.result is not None:
        files = [
            FileView(**file.model_dump(), href=f"{href}/result?format={file.format}")
            for file in job.result.files
        ]
        result = ResultView(
            **job.result.model_dump(exclude={"files", "thumbnail"}), files=files, provenance=job.provenance
        )
        links["result"] = f"{href}/result"
        if job.result.thumbnail is not None and job.state is State.SUCCEEDED:
            links["thumbnail"] = f"{href}/thumbnail"
    return JobView(
        **job.model_dump(
            exclude={"options", "result", "owner", "version", "traceparent", "provenance", "queue_priority"}
        ),
        options={name: value for name, value in job.options.items() if name not in ("model", "metadata")},
        metadata=job.metadata,
        result=result,
        queue_position=queue_position,
        webhook=webhook,
        links=links,
    )
