"""What routes ask for: the context of the gateway, who is calling, and the caller's job."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis
from starlette.concurrency import run_in_threadpool

from service.api.http.problems import Problem
from service.api.idempotency import Idempotency
from service.api.keys import KeyStore
from service.api.rate_limit import count_request
from service.api.subscriptions import Subscriptions
from service.api.uploads import UploadStore
from service.core.jobs.record import OPEN_OWNER, Job
from service.core.jobs.store import JobStore
from service.core.object_store import ObjectStore
from service.core.queue import JobQueue
from service.core.registry import Registry
from service.core.settings import Settings


class GatewayContext:
    """Everything that a running gateway holds; `app.state.context`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        url = settings.redis_url.get_secret_value()
        self.redis = Redis.from_url(url, decode_responses=True, socket_connect_timeout=3, socket_timeout=5)
        self.jobs = JobStore(self.redis)
        self.subscriptions = Subscriptions(url, self.jobs.events.channel)
        self.keys = KeyStore(self.redis)
        self.idempotency = Idempotency(self.redis)
        self.registry = Registry(self.redis)
        self.store = ObjectStore(settings)
        self.uploads = UploadStore(self.redis, self.store)
        self.queue = JobQueue(settings)
        self.limits = settings.limits

    def may_hold(self, owner: str) -> bool:
        """Whether one more answer of theirs may be kept open: each takes a connection from everybody."""
        return owner == OPEN_OWNER or self.subscriptions.held[owner] < self.settings.held_answers


@dataclass(frozen=True)
class Caller:
    """Whoever sent the request; `open_jobs` is how many jobs may be open at once, None without end."""

    id: str
    open_jobs: int | None


async def get_context(request: Request) -> GatewayContext:  # async: FastAPI would spend a thread on it
    context: GatewayContext = request.app.state.context
    return context


PartsDep = Annotated[GatewayContext, Depends(get_context)]


OPEN_CALLER = Caller(OPEN_OWNER, None)


async def get_caller(request: Request, context: PartsDep) -> Caller:
    """Ask for a key where keys are asked for, and count the request against its limit."""
    if context.settings.auth == "open":
        return OPEN_CALLER
    return await run_in_threadpool(_caller_with_key, request, context)


def _caller_with_key(request: Request, context: GatewayContext) -> Caller:
    settings = context.settings
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(
            "unauthorized",
            "The request carries no key: wants the header Authorization: Bearer oflow_…",
            headers={"WWW-Authenticate": "Bearer"},
        )
    key = context.keys.find(text.strip())
    if key is None:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem("unauthorized", "The key is not known here, or was revoked", headers=challenge)
    usage = count_request(context.redis, key.id, key.rate_limit or settings.rate_limit)
    request.state.caller = key.id
    request.state.rate_limit_headers = usage.headers
    if usage.exceeded:
        told = f"The key has made {usage.most} requests within a minute: more are taken in {usage.reset} s"
        raise Problem("rate_limited", told, headers={"Retry-After": str(usage.reset)})
    return Caller(key.id, key.open_jobs or settings.open_jobs)


CallerDep = Annotated[Caller, Depends(get_caller)]


def get_job(job_id: str, request: Request, context: PartsDep) -> Job:
    """The caller's job; that of another does not exist. All of it in one thread: a change of threads costs as
    much as a question to Redis."""
    caller = OPEN_CALLER if context.settings.auth == "open" else _caller_with_key(request, context)
    job = context.jobs.get(job_id)
    if job is None or job.owner != caller.id:
        raise Problem("not_found", f"There is no job {job_id[:64]!r}")
    return job


JobDep = Annotated[Job, Depends(get_job)]


def get_placed_job(job_id: str, request: Request, context: PartsDep) -> tuple[Job, int | None]:
    """The caller's job, and how many of its model's jobs are before it in the queue."""
    job = get_job(job_id, request, context)
    return job, context.jobs.queue_position(job)


PlacedJobDep = Annotated[tuple[Job, int | None], Depends(get_placed_job)]
