"""`POST /reconstruct`: submit a sequence for reconstruction."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from service.api.dependencies import Caller, CallerDep, ContextDep, GatewayContext
from service.api.http.body import Body, receive
from service.api.http.problems import REF, keyed_responses
from service.api.openapi import without_null
from service.api.source_urls import download
from service.api.submission import accept, claim_to_fetch, submit
from service.api.waiting import DESCRIPTION, wait_as_preferred
from service.core.jobs.options import Options
from service.core.jobs.record import Job
from service.core.jobs.views import JobView, view

router = APIRouter(tags=["jobs"])
POLL_SECONDS = "1"

ENDED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The job, which has ended within the preferred time", "model": JobView}
}


def _query_parameters() -> list[dict[str, Any]]:
    """The options for the OpenAPI document, as a query beside a raw file."""
    parameters = []
    for name, option in Options.model_json_schema(ref_template=REF)["properties"].items():
        schema = {key: value for key, value in option.items() if value is not None and key != "description"}
        as_json = {"content": {"application/json": {"schema": schema}}}
        parameters.append(
            {
                "name": name,
                "in": "query",
                "description": f"With a raw file: {option['description']}",
                **(as_json if schema.get("type") == "object" else {"schema": schema}),
            }
        )
    return parameters


def _request_body() -> dict[str, Any]:
    """The three body formats for the OpenAPI document, since the route parses the request itself."""
    schema = Options.model_json_schema(ref_template=REF)
    options, rule = schema["properties"], {"not": schema["not"]}
    told = "The sequence: an .npz, a .zip of frames, or one part for each frame."
    sequence = {"type": "string", "format": "binary", "description": told}
    fields = {"file": sequence} | {name: without_null(option) for name, option in options.items()}
    form = {"type": "object", "required": ["file"], "properties": fields}
    upload_id = {"type": "string", "description": "From `POST /uploads`."}
    source_url = {"type": "string", "format": "uri", "description": "Where the gateway gets the file: https."}
    by_id = {
        "type": "object",
        "oneOf": [{"required": ["upload_id"]}, {"required": ["source_url"]}],
        "properties": {"upload_id": upload_id, "source_url": source_url, **options},
        "additionalProperties": False,
        **rule,
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/octet-stream": {"schema": sequence},
            "application/json": {"schema": by_id, "example": {"upload_id": "0" * 32, "formats": ["glb"]}},
        },
    }


@router.post(
    "/reconstruct",
    status_code=202,
    summary="Reconstruct a moving point cloud",
    response_model_exclude_none=True,
    responses=ENDED
    | keyed_responses(
        "bad_request",
        "not_found",
        "source_unavailable",
        "upload_missing",
        "job_expired",
        "idempotency_in_flight",
        "too_large",
        "unsupported_media",
        "invalid_sequence",
        "invalid_options",
        "invalid_request",
        "unknown_model",
        "idempotency_key_reused",
        "too_many_jobs",
        "job_too_large",
        "too_many_records",
        "no_model",
        "queue_full",
        "no_room",
        "busy",
        "storage_unavailable",
    ),
    openapi_extra={"parameters": _query_parameters(), "requestBody": _request_body()},
)
async def reconstruct(
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="Client-generated key; repeating a request returns the original job.",
        ),
    ] = None,
    prefer: Annotated[str | None, Header(description=DESCRIPTION)] = None,
) -> JobView:
    """Send a multipart form with one part `file` or one for each frame, and the options as fields; or the raw
    file with the options in the query string; or JSON with an `upload_id` or a `source_url` and the options.
    The response is immediate, unless `Prefer: wait` asks for the end: the job runs on a worker and can be
    followed at `Location`."""
    async with receive(request, context.limits) as body:
        run = context.submissions.run
        if caller.open_jobs is not None:  # with keys
            run = partial(context.submissions.run_for, caller.id)
        if body.source_url is None:
            job = await run(submit, context, caller, body, idempotency_key)
        else:
            job = await _fetched(context, caller, body, body.source_url, idempotency_key, run)
    if waited := await wait_as_preferred(context, job, prefer, response):
        job = waited
    response.headers["Location"] = f"/jobs/{job.id}"
    if job.state.open:
        response.headers["Retry-After"] = POLL_SECONDS
    else:
        response.status_code = 200
    return view(job, context.settings.public_url)


async def _fetched(
    context: GatewayContext,
    caller: Caller,
    body: Body,
    url: str,
    idempotency_key: str | None,
    run: Callable[..., Awaitable[Job]],
) -> Job:
    """The job of a file that the gateway fetches, once for each idempotency key."""
    claimed = await context.submissions.run(claim_to_fetch, context, caller, body, idempotency_key)
    if isinstance(claimed, Job):
        return claimed
    try:
        owner = caller.id if caller.open_jobs is not None else None  # of several
        await download(context.settings, owner, url, body.file)
        return await run(accept, context, caller, body, claimed)
    except BaseException:
        if context.idempotency.let_go(claimed.key):
            await context.record_calls.run(context.idempotency.release, claimed.key)
        raise
