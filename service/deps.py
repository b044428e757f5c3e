"""What routes ask for: the parts of the gateway, who is calling, and the caller's job."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis
from starlette.concurrency import run_in_threadpool

from service.changes import Changes
from service.idempotency import Idempotency
from service.job_store import JobStore
from service.jobs import OPEN_OWNER, Job
from service.keys import KeyStore
from service.problems import Problem
from service.queue import JobQueue
from service.rate_limit import count_request
from service.registry import Registry
from service.settings import Settings
from service.storage import ObjectStore
from service.uploads import UploadStore


class Parts:
    """Everything that a running gateway holds; `app.state.parts`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        url = settings.redis_url.get_secret_value()
        self.redis = Redis.from_url(url, decode_responses=True, socket_connect_timeout=3, socket_timeout=5)
        self.jobs = JobStore(self.redis)
        self.changes = Changes(url, self.jobs.events.channel)
        self.keys = KeyStore(self.redis)
        self.idempotency = Idempotency(self.redis)
        self.registry = Registry(self.redis)
        self.store = ObjectStore(settings)
        self.uploads = UploadStore(self.redis, self.store)
        self.queue = JobQueue(settings)
        self.limits = settings.limits

    def may_hold(self, owner: str) -> bool:
        """Whether one more answer of theirs may be kept open: each takes a connection from everybody."""
        return owner == OPEN_OWNER or self.changes.held[owner] < self.settings.held_answers


@dataclass(frozen=True)
class Caller:
    """Whoever sent the request; `open_jobs` is how many jobs may be open at once, None without end."""

    id: str
    open_jobs: int | None


async def get_parts(request: Request) -> Parts:  # async: FastAPI would spend a thread on it
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(get_parts)]


OPEN_CALLER = Caller(OPEN_OWNER, None)


async def get_caller(request: Request, parts: PartsDep) -> Caller:
    """Ask for a key where keys are asked for, and count the request against its limit."""
    if parts.settings.auth == "open":
        return OPEN_CALLER
    return await run_in_threadpool(_caller_with_key, request, parts)


def _caller_with_key(request: Request, parts: Parts) -> Caller:
    settings = parts.settings
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(
            "unauthorized",
            "The request carries no key: wants the header Authorization: Bearer oflow_…",
            headers={"WWW-Authenticate": "Bearer"},
        )
    key = parts.keys.find(text.strip())
    if key is None:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem("unauthorized", "The key is not known here, or was revoked", headers=challenge)
    usage = count_request(parts.redis, key.id, key.rate_limit or settings.rate_limit)
    request.state.caller = key.id
    request.state.rate_limit_headers = usage.headers
    if usage.exceeded:
        told = f"The key has made {usage.most} requests within a minute: more are taken in {usage.reset} s"
        raise Problem("rate_limited", told, headers={"Retry-After": str(usage.reset)})
    return Caller(key.id, key.open_jobs or settings.open_jobs)


CallerDep = Annotated[Caller, Depends(get_caller)]


def get_job(job_id: str, request: Request, parts: PartsDep) -> Job:
    """The caller's job; that of another does not exist. All of it in one thread: a change of threads costs as
    much as a question to Redis."""
    caller = OPEN_CALLER if parts.settings.auth == "open" else _caller_with_key(request, parts)
    job = parts.jobs.get(job_id)
    if job is None or job.owner != caller.id:
        raise Problem("not_found", f"There is no job {job_id[:64]!r}")
    return job


JobDep = Annotated[Job, Depends(get_job)]


def get_placed_job(job_id: str, request: Request, parts: PartsDep) -> tuple[Job, int | None]:
    """The caller's job, and how many of its model's jobs are before it in the queue."""
    job = get_job(job_id, request, parts)
    return job, parts.jobs.queue_position(job)


PlacedJobDep = Annotated[tuple[Job, int | None], Depends(get_placed_job)]
