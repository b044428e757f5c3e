"""Dependencies of the routes: the gateway's context, the caller, and the caller's job."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis

from service.api.http.problems import Problem
from service.api.idempotency import Idempotency
from service.api.keys import KeyStore
from service.api.lanes import Lane
from service.api.rate_limit import count_request
from service.api.subscriptions import Subscriptions
from service.api.uploads import UploadStore
from service.core.clock import Clock
from service.core.jobs.record import OPEN_OWNER, Job
from service.core.jobs.room import Memory
from service.core.jobs.store import JobStore
from service.core.jobs.stored import UnreadableRecord
from service.core.object_store import ObjectStore
from service.core.queue import JobQueue
from service.core.registry import Registry
from service.core.scope import Scope
from service.core.settings import Settings

READING = ("GET", "HEAD", "OPTIONS")
REDIS_SECONDS = 10.0
STORE_SECONDS = 10.0  # for each exchange with the object store, of which a call may need several


class GatewayContext:
    """Connections and services shared by all requests; stored as `app.state.context`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        url = settings.redis_url.get_secret_value()
        self.redis = Redis.from_url(url, decode_responses=True, socket_connect_timeout=3, socket_timeout=5)
        self.jobs = JobStore(self.redis)
        self.memory = Memory(self.redis)
        self.clock = Clock(self.redis)
        self.subscriptions = Subscriptions(url, self.jobs.events.channel)
        self.keys = KeyStore(self.redis)
        self.idempotency = Idempotency(self.redis)
        self.registry = Registry(self.redis)
        self.store = ObjectStore(settings, timeout=STORE_SECONDS, attempts=3)
        self.record_calls = Lane("queue_unavailable", "Redis", 40, REDIS_SECONDS)
        self.file_calls = Lane("storage_unavailable", "The object store", 16, 1.5 * STORE_SECONDS)
        # Parsing takes a processor, and a submission that has begun may have created its job.
        self.submissions = Lane("busy", "A thread for submissions", 8, 20, patient=True)
        self.scrapes = Lane("queue_unavailable", "Redis", 2, REDIS_SECONDS)
        self.uploads = UploadStore(self.redis, self.store)
        self.queue = JobQueue(settings)
        self.limits = settings.limits

    def close(self) -> None:
        for lane in (self.record_calls, self.file_calls, self.submissions, self.scrapes):
            lane.close()

    def can_open_stream(self, owner: str) -> bool:
        """Whether the owner may keep another response open, since each one occupies a connection."""
        return owner == OPEN_OWNER or self.subscriptions.open[owner] < self.settings.open_streams


@dataclass(frozen=True)
class Caller:
    """Who sent the request: the owner of its jobs, and with which key, "" if keys are off.

    `open_jobs` is the maximum number of open jobs, None if unlimited.
    """

    id: str
    open_jobs: int | None
    key_id: str = ""
    scope: Scope = Scope.SUBMIT


async def get_context(request: Request) -> GatewayContext:  # async, so FastAPI does not use a thread for it
    context: GatewayContext = request.app.state.context
    return context


ContextDep = Annotated[GatewayContext, Depends(get_context)]


OPEN_CALLER = Caller(OPEN_OWNER, None)


async def get_caller(request: Request, context: ContextDep) -> Caller:
    """Authenticate the caller if keys are required, and count the request against the key's limit."""
    if context.settings.auth == "open":
        return OPEN_CALLER
    return await context.record_calls.run(_caller_with_key, request, context)


def _caller_with_key(request: Request, context: GatewayContext) -> Caller:
    settings = context.settings
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(
            "unauthorized",
            "Missing API key: send the header Authorization: Bearer oflow_…",
            headers={"WWW-Authenticate": "Bearer"},
        )
    key = context.keys.find(text.strip())
    if key is None:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem(
            "unauthorized",
            "Unknown, expired or revoked API key: ask the operator for a new one",
            headers=challenge,
        )
    usage = count_request(context.redis, key.owner, key.rate_limit or settings.rate_limit)
    request.state.caller, request.state.key = key.owner, key.id
    request.state.rate_limit_headers = usage.headers
    if usage.exceeded:
        detail = f"Limit of {usage.limit} requests per minute exceeded: retry in {usage.reset} s"
        raise Problem("rate_limited", detail, headers={"Retry-After": str(usage.reset)})
    if key.scope is Scope.READ and request.method not in READING:
        raise Problem("forbidden", "The key may only read: use one that was created with `--scope submit`")
    return Caller(key.owner, key.open_jobs or settings.open_jobs, key.id, key.scope)


CallerDep = Annotated[Caller, Depends(get_caller)]


async def get_job(job_id: str, request: Request, context: ContextDep) -> Job:
    """The caller's job; other callers' jobs are reported as not found. Raises UnreadableRecord."""
    return await context.record_calls.run(_find_job, job_id, request, context)


def _find_job(job_id: str, request: Request, context: GatewayContext) -> Job:
    # Authentication and lookup share one thread, since a thread hop costs as much as a Redis round trip.
    caller = OPEN_CALLER if context.settings.auth == "open" else _caller_with_key(request, context)
    try:
        job = context.jobs.get(job_id)
    except UnreadableRecord as error:
        context.jobs.quarantined.add(error)
        if caller.scope is Scope.ADMIN or error.owner == caller.id:
            raise
        job = None
    if job is None or (job.owner != caller.id and caller.scope is not Scope.ADMIN):
        detail = f"Job {job_id[:64]!r} not found: submitted with another key, deleted, or lost by the server"
        raise Problem("not_found", detail)
    return job


JobDep = Annotated[Job, Depends(get_job)]


async def get_job_and_position(job_id: str, request: Request, context: ContextDep) -> tuple[Job, int | None]:
    """The caller's job and the number of jobs ahead of it in its model's queue."""
    return await context.record_calls.run(_find_job_and_position, job_id, request, context)


def _find_job_and_position(job_id: str, request: Request, context: GatewayContext) -> tuple[Job, int | None]:
    job = _find_job(job_id, request, context)
    return job, context.jobs.queue_position(job)


JobAndPositionDep = Annotated[tuple[Job, int | None], Depends(get_job_and_position)]
