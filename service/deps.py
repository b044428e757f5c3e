"""What routes ask for, built once per app and handed in by FastAPI."""

from typing import Annotated

from fastapi import Depends, Request
from redis import Redis

from service.jobs import Job, JobStore
from service.problems import Problem
from service.queue import JobQueue
from service.registry import Registry
from service.settings import Settings
from service.storage import ObjectStore


class Parts:
    """Everything that a running gateway holds; `app.state.parts`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            decode_responses=True,
            socket_connect_timeout=3,
            socket_timeout=5,
        )
        self.jobs = JobStore(self.redis)
        self.registry = Registry(self.redis)
        self.store = ObjectStore(settings)
        self.queue = JobQueue(settings)
        self.limits = settings.limits


def get_parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(get_parts)]


def get_job(job_id: str, parts: PartsDep) -> Job:
    job = parts.jobs.get(job_id)
    if job is None:
        raise Problem("not_found", f"There is no job {job_id[:64]!r}")
    return job


JobDep = Annotated[Job, Depends(get_job)]
