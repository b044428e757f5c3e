"""`POST /reconstruct`: submit a sequence for reconstruction."""

from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Request, Response

from service.api.dependencies import CallerDep, ContextDep
from service.api.http.body import receive
from service.api.http.problems import REF, keyed_responses
from service.api.submission import submit
from service.core.jobs.options import Options
from service.core.jobs.views import JobView, view

router = APIRouter(tags=["jobs"])
POLL_SECONDS = "1"
SUBMIT_LIMITER = CapacityLimiter(8)  # concurrent submissions; leaves threads for other requests


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
    sequence = {"type": "string", "format": "binary", "description": "Sequence as .npz, or .zip of frames."}
    form = {"type": "object", "required": ["file"], "properties": {"file": sequence, **options}}
    upload_id = {"type": "string", "description": "From `POST /uploads`."}
    by_id = {
        "type": "object",
        "required": ["upload_id"],
        "properties": {"upload_id": upload_id, **options},
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
    responses=keyed_responses(
        "bad_request",
        "not_found",
        "upload_missing",
        "idempotency_in_flight",
        "too_large",
        "unsupported_media",
        "invalid_sequence",
        "invalid_options",
        "invalid_request",
        "unknown_model",
        "idempotency_key_reused",
        "too_many_jobs",
        "no_model",
        "queue_full",
        "no_room",
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
) -> JobView:
    """Send a multipart form with the part `file` and the options as fields; or the raw file with the options
    in the query string; or JSON with an upload id and the options. The response is immediate: the job runs on
    a worker and can be followed at `Location`."""
    async with receive(request, context.limits) as body:
        job = await to_thread.run_sync(submit, context, caller, body, idempotency_key, limiter=SUBMIT_LIMITER)
    response.headers["Location"] = f"/jobs/{job.id}"
    response.headers["Retry-After"] = POLL_SECONDS
    return view(job)
