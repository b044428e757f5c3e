"""Accepting a job: validate, store, record, enqueue, in this order so that a queued job is complete."""

import hashlib
import logging
from typing import NamedTuple, NoReturn

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from service.api.dependencies import Caller, GatewayContext
from service.api.http.body import Body, size_and_sha256, spool
from service.api.http.problems import Problem
from service.api.idempotency import Reservation
from service.api.webhooks import host_of
from service.core.addresses import is_public, literal
from service.core.jobs.admission import Limits, ReservationLost, TooManyJobs
from service.core.jobs.estimate import Estimate, estimate
from service.core.jobs.options import Options
from service.core.jobs.record import Input, Job, new_id
from service.core.jobs.room import Quota
from service.core.model_info import ModelInfo
from service.core.sequences.sequence import Fault, store_sequence
from service.core.settings import Settings
from service.core.trace import current_trace, span

log = logging.getLogger(__name__)
BUSY_SECONDS = "10"  # Retry-After for a full queue
FULL_SECONDS = "60"  # Retry-After for a full Redis


class Claim(NamedTuple):
    """The id of a job to create, and the Redis key of the idempotency key reserved for it, "" without one."""

    job_id: str
    key: str


def submit(context: GatewayContext, caller: Caller, body: Body, idempotency_key: str | None) -> Job:
    """Create a job, or return the one that an earlier request with this idempotency key created."""
    claimed = _claim(context, caller, body, idempotency_key)
    return claimed if isinstance(claimed, Job) else accept(context, caller, body, claimed)


def claim_to_fetch(
    context: GatewayContext, caller: Caller, body: Body, idempotency_key: str | None
) -> Job | Claim:
    """The job that an earlier request with this idempotency key created, for which nothing is fetched.

    Otherwise a claim to create it, which is held, so that concurrent requests with the key fetch nothing
    either. Raises the Problem of a job that would not be accepted, whatever its file.
    """
    idempotency = context.idempotency
    if idempotency_key is None or idempotency.find(idempotency.key(caller.id, idempotency_key)) is None:
        _require_acceptable(context, caller, body.options)
    claimed = _claim(context, caller, body, idempotency_key)
    if isinstance(claimed, Claim) and claimed.key:
        idempotency.hold(claimed.key)
    return claimed


def accept(context: GatewayContext, caller: Caller, body: Body, claim: Claim) -> Job:
    """Create the job of a claim."""
    if not claim.key:
        return _accept(context, caller, body, claim.job_id, "")
    with context.idempotency.held(claim.key):
        return _accept(context, caller, body, claim.job_id, claim.key)


def _claim(context: GatewayContext, caller: Caller, body: Body, idempotency_key: str | None) -> Job | Claim:
    if idempotency_key is None:
        return Claim(new_id(), "")
    key = context.idempotency.key(caller.id, idempotency_key)
    requested = Reservation(new_id(), _fingerprint(body))
    existing = context.idempotency.reserve(key, requested)
    if existing is not None:
        return _existing_job(context, key, existing, requested)
    return Claim(requested.job_id, key)


def _fingerprint(body: Body) -> str:
    if fetched := body.upload_id or body.source_url:
        content = f"upload {fetched}"
    else:
        content = f"sha256 {size_and_sha256(body.file)[1]}"
    return hashlib.sha256(f"{content}\n{body.options.model_dump_json()}".encode()).hexdigest()


def _existing_job(context: GatewayContext, key: str, existing: Reservation, requested: Reservation) -> Job:
    if existing.fingerprint != requested.fingerprint:
        raise Problem("idempotency_key_reused")
    job = context.jobs.get(existing.job_id)
    if job is None and context.idempotency.is_kept(key):
        job = context.jobs.get(existing.job_id)  # it may have been created meanwhile
        if job is None:
            raise Problem("job_expired", "The job of this idempotency key has been deleted: use another key")
    if job is None:
        raise _in_flight()
    return job


def _in_flight() -> Problem:
    return Problem("idempotency_in_flight", headers={"Retry-After": "2"})


def _accept(context: GatewayContext, caller: Caller, body: Body, job_id: str, reserved: str) -> Job:
    options, settings = body.options, context.settings
    model = _require_acceptable(context, caller, options)
    if body.upload_id is not None:
        _fetch_upload(context, caller, body)
    with spool() as converted:
        with span("validate"):
            info, file = store_sequence(body.file, converted, context.limits, options.read_options)
        options.check_length(info.duration, info.frames)
        options.check_colors(info.colors)
        cost = estimate(
            options,
            frames=info.frames,
            points=info.points if isinstance(info.points, int) else info.points[1],
            duration=info.duration,
            resolution=model.resolution,
            max_points=model.input.max_points,
            corresponding=info.corresponding,
        )
        _require_affordable(settings, cost)
        size, digest = size_and_sha256(file)
        trace = current_trace()
        job = Job.new(
            model.name,
            options,
            Input(frames=info.frames, points=info.points, bytes=size, sha256=digest, name=body.name),
            options.expires_in or settings.retention_seconds,
            id=job_id,
            owner=caller.id,
            traceparent=str(trace) if trace else None,
            estimate=cost,
        )
        file.seek(0)
        with span("store"):
            context.store.put(job.input_key, file, "application/octet-stream", job.expires_at)
    job = _record(context, caller, job, reserved)
    try:
        with span("enqueue"):
            context.queue.push(job)
        context.jobs.sent(job.id)
    except (RedisError, OperationalError) as error:  # the job is recorded, so a background task enqueues it
        log.warning("job %s will be enqueued later: %s", job.id, error, extra={"job_id": job.id})
    return job


def _require_acceptable(context: GatewayContext, caller: Caller, options: Options) -> ModelInfo:
    """The model of a job, if it would be accepted whatever its file; otherwise raises Problem."""
    model = _model(context, options.model or context.settings.default_model)
    _check_webhook(context, options.webhook_url)
    try:
        context.jobs.require_room(model.name, caller.id, _limits(context, caller))
    except TooManyJobs as error:
        _raise_too_many(context, caller, error)
    return model


def _record(context: GatewayContext, caller: Caller, job: Job, reserved: str) -> Job:
    try:
        return context.jobs.create(job, _limits(context, caller), reserved=reserved)
    except (TooManyJobs, ReservationLost) as error:  # a concurrent request took the last slot or the key
        context.store.delete(job.input_key)
        if isinstance(error, TooManyJobs):
            _raise_too_many(context, caller, error)
        raise _in_flight() from None


def _limits(context: GatewayContext, caller: Caller) -> Limits:
    """The limits of a caller at this moment; all have less room when Redis gets full."""
    settings, share = context.settings, context.memory.share()
    quota = Quota(settings.max_records, settings.max_record_bytes).shrunk(share)
    unlimited = caller.open_jobs is None and share > 0
    seconds = None if caller.open_jobs is None else settings.open_seconds
    return Limits(settings.max_queued, caller.open_jobs, seconds, None if unlimited else quota)


def _raise_too_many(context: GatewayContext, caller: Caller, error: TooManyJobs) -> NoReturn:
    retry = {"Retry-After": BUSY_SECONDS}
    if error.where == "queue":
        raise Problem("queue_full", f"{error.limit} jobs are already waiting: retry later", headers=retry)
    if error.where in ("records", "bytes"):
        if context.memory.share() < 1:
            detail = "Redis is nearly full and takes no further jobs of this key: retry later"
            raise Problem("records_full", detail, headers={"Retry-After": FULL_SECONDS})
        unit = "" if error.where == "records" else "bytes of "
        detail = f"The key has {error.limit} {unit}job records, its maximum: delete jobs or retry later"
        after = str(context.jobs.room.wait(caller.id))
        raise Problem("too_many_records", detail, headers={"Retry-After": after})
    if error.where == "seconds":
        limit = context.settings.open_seconds
        detail = f"The key's open jobs are estimated to take {limit} s, its maximum: wait for one to end"
        raise Problem("too_many_jobs", detail, headers=retry)
    detail = f"The key has {error.limit} open jobs, its maximum: wait for one to end or cancel one"
    policy = {"RateLimit-Policy": f'"open-jobs";q={error.limit}', "RateLimit": '"open-jobs";r=0'}
    raise Problem("too_many_jobs", detail, headers=retry | policy)


def _require_affordable(settings: Settings, cost: Estimate) -> None:
    """Refuse a job that is too large for any worker, before it takes one."""
    memory = settings.max_job_memory_bytes
    if cost.seconds > settings.max_job_seconds:
        found, limit = f"{cost.seconds:,.0f} s", f"{settings.max_job_seconds:,} s"
        lower = "frames, points, resolution or quality"
    elif cost.memory_bytes > memory:
        found, limit = f"{cost.memory_bytes / 2**20:,.0f} MiB of memory", f"{memory / 2**20:,.0f} MiB"
        lower = "resolution or frames, or set simplify"
    else:
        return
    message = f"The job is estimated to need {found}, at most {limit} is accepted: lower {lower}"
    raise Problem("job_too_large", errors=[Fault("options", message, found, limit)])


def _fetch_upload(context: GatewayContext, caller: Caller, body: Body) -> None:
    """Download a file uploaded to the object store, so that it is validated like any other."""
    assert body.upload_id is not None  # noqa: S101
    upload = context.uploads.get(body.upload_id, caller.id)
    if upload is None:
        raise Problem("not_found", f"Upload {body.upload_id[:64]!r} not found or expired")
    size = context.store.size(upload.key)
    if size is None:
        raise Problem("upload_missing", "No file has been sent to the upload's url yet")
    if size > context.limits.max_bytes:
        raise Problem("too_large", f"The upload exceeds {context.limits.max_bytes / 2**20:.0f} MiB")
    context.store.get(upload.key, body.file)


def _model(context: GatewayContext, name: str) -> ModelInfo:
    models = context.registry.models()
    if not models:
        raise Problem("no_model")
    if name not in models:
        known = ", ".join(sorted(models))
        fault = Fault("model", f"model {name!r} is unknown: expected one of {known}", name, known)
        raise Problem("unknown_model", errors=[fault])
    return models[name]


def _check_webhook(context: GatewayContext, url: str | None) -> None:
    """Reject URLs that can never be delivered to; host names are resolved at delivery."""
    if url is None:
        return
    settings = context.settings
    message = None
    if settings.webhook_secret is None:
        message = "webhook_url is not supported: webhooks are disabled unless OFLOW_WEBHOOK_SECRET is set"
    elif not settings.webhook_loopback:
        address = literal(host_of(url))
        if not url.startswith("https://"):
            message = "webhook_url must start with https://"
        elif address is not None and not is_public(address):
            message = "webhook_url must not point to a private or reserved address"
    if message:
        raise Problem("invalid_options", errors=[Fault("webhook_url", message, "", "")])
