"""`POST /reconstruct`: take a sequence, answer with the job."""

import asyncio
from typing import Any, BinaryIO

from fastapi import APIRouter, Request, Response
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from service.deps import Parts, PartsDep
from service.jobs import Input, Job
from service.options import Options, parse_options
from service.problems import REF, Problem, responses
from service.registry import ModelInfo
from service.sequences import Fault, SequenceInfo, inspect_sequence
from service.uploads import measure, receive
from service.views import JobView, view

router = APIRouter(tags=["jobs"])
POLL_SECONDS = "1"


def _request_body() -> dict[str, Any]:
    """Both bodies, spelled out: the route reads the request by itself."""
    options = Options.model_json_schema(ref_template=REF)["properties"]
    sequence = {"type": "string", "format": "binary", "description": "The sequence: .npz, or .zip of frames."}
    form = {"type": "object", "required": ["file"], "properties": {"file": sequence, **options}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/octet-stream": {"schema": sequence},
        },
    }


@router.post(
    "/reconstruct",
    status_code=202,
    summary="Reconstruct a moving point cloud",
    response_model_exclude_none=True,
    responses=responses(
        "bad_request",
        "too_large",
        "unsupported_media",
        "invalid_sequence",
        "invalid_options",
        "unknown_model",
        "unsupported_input",
        "no_model",
        "queue_unavailable",
        "storage_unavailable",
    ),
    openapi_extra={"requestBody": _request_body()},
)
async def reconstruct(request: Request, response: Response, parts: PartsDep) -> JobView:
    """Send the file as the part `file` of a form with the options as fields, or bare with the options in the
    query. The answer comes at once; the job runs on a worker and is read at `Location`."""
    async with receive(request, parts.limits) as upload:
        options = parse_options(upload.fields)
        job = await asyncio.to_thread(_accept, parts, upload.file, options)
    response.headers["Location"] = f"/jobs/{job.id}"
    response.headers["Retry-After"] = POLL_SECONDS
    return view(job)


def _accept(parts: Parts, file: BinaryIO, options: Options) -> Job:
    """Check, store, record, queue; in this order, so that a queued job has all it needs."""
    model = _model(parts, options.model or parts.settings.default_model)
    size, digest = measure(file)
    info = inspect_sequence(file, parts.limits)
    _check_input(model, info)
    options.check_length(info.duration, info.frames)
    source = Input(frames=info.frames, points=info.points, bytes=size, sha256=digest)
    job = Job.new(model.name, options, source, options.expires_in or parts.settings.retention_seconds)
    file.seek(0)
    parts.store.put(job.input_key, file, "application/octet-stream")
    try:
        parts.jobs.create(job)
        parts.queue.push(job)
    except (RedisError, OperationalError):
        parts.store.delete(job.input_key)
        parts.jobs.discard(job)
        raise
    return job


def _model(parts: Parts, name: str) -> ModelInfo:
    models = parts.registry.models()
    if not models:
        raise Problem("no_model")
    if name not in models:
        known = ", ".join(sorted(models))
        fault = Fault("model", f"model is {name!r}: wants one of {known}", name, known)
        raise Problem("unknown_model", errors=[fault])
    return models[name]


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
