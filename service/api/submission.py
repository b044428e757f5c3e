"""Taking a job in: check, store, record, queue; in this order, so that a queued job has all it needs."""

import hashlib
import logging
from typing import NoReturn

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from service.api.dependencies import Caller, GatewayContext
from service.api.http.body import Body, measure
from service.api.http.problems import Problem
from service.api.idempotency import Reservation
from service.api.webhooks import host_of
from service.core.addresses import is_public, literal
from service.core.jobs.record import Input, Job, new_id
from service.core.jobs.store import ReservationLost, TooManyJobs
from service.core.registry import ModelInfo
from service.core.sequences.sequence import Fault, SequenceInfo, inspect_sequence
from service.core.trace import current_trace

log = logging.getLogger(__name__)
BUSY_SECONDS = "10"  # after which a full queue may have room


def submit(context: GatewayContext, caller: Caller, body: Body, idempotency_key: str | None) -> Job:
    """The new job, or the one that the same request made before."""
    if idempotency_key is None:
        return _accept(context, caller, body, new_id(), "")
    key = context.idempotency.key(caller.id, idempotency_key)
    wanted = Reservation(new_id(), _fingerprint(body))
    earlier = context.idempotency.reserve(key, wanted)
    if earlier is not None:
        return _made_before(context, earlier, wanted)
    with context.idempotency.held(key):
        return _accept(context, caller, body, wanted.job_id, key)


def _fingerprint(body: Body) -> str:
    content = f"upload {body.upload_id}" if body.upload_id else f"sha256 {measure(body.file)[1]}"
    return hashlib.sha256(f"{content}\n{body.options.model_dump_json()}".encode()).hexdigest()


def _made_before(context: GatewayContext, earlier: Reservation, wanted: Reservation) -> Job:
    if earlier.fingerprint != wanted.fingerprint:
        raise Problem("idempotency_key_reused")
    job = context.jobs.get(earlier.job_id)
    if job is None:
        raise _in_flight()
    return job


def _in_flight() -> Problem:
    return Problem("idempotency_in_flight", headers={"Retry-After": "2"})


def _accept(context: GatewayContext, caller: Caller, body: Body, job_id: str, reserved: str) -> Job:
    options, settings = body.options, context.settings
    model = _model(context, options.model or settings.default_model)
    _check_webhook(context, options.webhook_url)
    try:
        context.jobs.require_room(model.name, caller.id, settings.max_queued, caller.open_jobs)
    except TooManyJobs as full:
        _refuse(full)
    if body.upload_id is not None:
        _fetch(context, caller, body)
    size, digest = measure(body.file)
    info = inspect_sequence(body.file, context.limits)
    _check_input(model, info)
    options.check_length(info.duration, info.frames)
    trace = current_trace()
    job = Job.new(
        model.name,
        options,
        Input(frames=info.frames, points=info.points, bytes=size, sha256=digest),
        options.expires_in or settings.retention_seconds,
        id=job_id,
        owner=caller.id,
        traceparent=str(trace) if trace else None,
    )
    body.file.seek(0)
    context.store.put(job.input_key, body.file, "application/octet-stream")
    _record(context, caller, job, reserved)
    try:
        context.queue.push(job)
        context.jobs.sent(job.id)
    except (RedisError, OperationalError) as error:  # what is recorded is accepted
        log.warning("job %s comes to the queue later: %s", job.id, error, extra={"job_id": job.id})
    return job


def _record(context: GatewayContext, caller: Caller, job: Job, reserved: str) -> None:
    most = {"most_waiting": context.settings.max_queued, "most_open": caller.open_jobs}
    try:
        context.jobs.create(job, **most, reserved=reserved)
    except (TooManyJobs, ReservationLost) as refused:  # others were quicker
        context.store.delete(job.input_key)
        if isinstance(refused, TooManyJobs):
            _refuse(refused)
        raise _in_flight() from None


def _refuse(full: TooManyJobs) -> NoReturn:
    retry = {"Retry-After": BUSY_SECONDS}
    if full.where == "queue":
        raise Problem("queue_full", f"{full.most} jobs wait already", headers=retry)
    told = f"The key has {full.most} jobs that have not ended: wait for one, or cancel one"
    policy = {"RateLimit-Policy": f'"open-jobs";q={full.most}', "RateLimit": '"open-jobs";r=0'}
    raise Problem("too_many_jobs", told, headers=retry | policy)


def _fetch(context: GatewayContext, caller: Caller, body: Body) -> None:
    """Bring a file that was uploaded past us here, to be looked into like any other."""
    assert body.upload_id is not None  # noqa: S101
    upload = context.uploads.get(body.upload_id, caller.id)
    if upload is None:
        raise Problem("not_found", f"There is no upload {body.upload_id[:64]!r}, or it has expired")
    size = context.store.size(upload.key)
    if size is None:
        raise Problem("upload_missing", "Nothing has been posted to the upload's url yet")
    if size > context.limits.max_bytes:
        raise Problem("too_large", f"The upload is larger than {context.limits.max_bytes / 2**20:.0f} MiB")
    context.store.get(upload.key, body.file)


def _model(context: GatewayContext, name: str) -> ModelInfo:
    models = context.registry.models()
    if not models:
        raise Problem("no_model")
    if name not in models:
        known = ", ".join(sorted(models))
        fault = Fault("model", f"model is {name!r}: wants one of {known}", name, known)
        raise Problem("unknown_model", errors=[fault])
    return models[name]


def _check_webhook(context: GatewayContext, url: str | None) -> None:
    """Refuse what could not be delivered; names are looked up when it is."""
    if url is None:
        return
    settings = context.settings
    wrong = None
    if settings.webhook_secret is None:
        wrong = "webhook_url: this server sends no webhooks; it would need OFLOW_WEBHOOK_SECRET"
    elif not settings.webhook_loopback:
        address = literal(host_of(url))
        if not url.startswith("https://"):
            wrong = "webhook_url wants an address that begins with https://"
        elif address is not None and not is_public(address):
            wrong = "webhook_url lies in a network that is not public"
    if wrong:
        raise Problem("invalid_options", errors=[Fault("webhook_url", wrong, "", "")])


def _check_input(model: ModelInfo, info: SequenceInfo) -> None:
    """Refuse at the door what the model cannot read, rather than in the worker a minute later."""
    reads = f"{model.name} reads {model.input.frames} frames whose points correspond row by row"
    faults = []
    if model.input.frames is not None and info.frames != model.input.frames:
        faults.append(
            Fault(
                "points",
                f"the sequence has {info.frames} frames: {reads}",
                f"{info.frames} frames",
                f"{model.input.frames} frames",
            )
        )
    if model.input.corresponding and not info.corresponding:
        faults.append(
            Fault(
                "corresponding",
                f"the points do not correspond from frame to frame: {reads}",
                "no correspondence",
                "the same particle in row j of every frame",
            )
        )
    if faults:
        raise Problem("unsupported_input", errors=faults)
