"""Error responses as application/problem+json (RFC 9457), each with a stable machine-readable code."""

import errno
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kombu.exceptions import OperationalError
from pydantic import BaseModel, Field
from redis.exceptions import OutOfMemoryError, RedisError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from service.core.jobs.option_faults import OptionsError, validation_fault
from service.core.jobs.stored import UnreadableRecord
from service.core.sequences.sequence import Fault, SequenceError
from service.core.trace import current_trace

log = logging.getLogger(__name__)

# code: (status, title). The title is fixed; the detail describes the individual request.
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "Malformed request"),
    "unauthorized": (401, "Authentication required"),
    "forbidden": (403, "Not allowed with this key"),
    "foreign_page": (403, "Cross-origin request refused"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "too_slow": (408, "Request timeout"),
    "job_not_done": (409, "Job has not finished yet"),
    "job_has_no_result": (409, "Job ended without a result"),
    "no_webhook": (409, "Job has no webhook to send"),
    "upload_missing": (409, "No file uploaded yet"),
    "idempotency_in_flight": (409, "A request with this idempotency key is still in progress"),
    "job_expired": (410, "Job files have been deleted"),
    "input_lost": (410, "Input file is missing or corrupted: submit the sequence again"),
    "record_unreadable": (410, "Job record is damaged or of a later release: submit the sequence again"),
    "result_lost": (410, "Result file is missing or corrupted: submit the sequence again"),
    "too_large": (413, "Upload too large"),
    "unsupported_media": (415, "Unsupported file or content type"),
    "range_not_satisfiable": (416, "Range not satisfiable"),
    "wrong_host": (421, "Unexpected Host header"),
    "idempotency_key_reused": (422, "Idempotency key already used for a different request"),
    "source_unavailable": (422, "File at source_url could not be fetched"),
    "invalid_sequence": (422, "Invalid point cloud sequence"),
    "invalid_options": (422, "Invalid options"),
    "job_too_large": (422, "Job too large: lower its resolution, frames, formats or quality"),
    "invalid_request": (422, "Invalid request"),
    "unknown_model": (422, "Unknown model"),
    "rate_limited": (429, "Rate limit exceeded"),
    "too_many_streams": (429, "Too many open responses for this key"),
    "too_many_uploads": (429, "Too many pending uploads for this key"),
    "too_many_jobs": (429, "Too many open jobs for this key"),
    "too_many_records": (429, "Too many job records of this key"),
    "headers_too_large": (431, "Request headers too large"),
    "internal_error": (500, "Internal server error"),
    "no_model": (503, "No model available: no worker has registered yet"),
    "too_many_connections": (503, "Too many connections"),
    "no_room": (503, "Server has no space left for the upload: try again later"),
    "busy": (503, "Too many submissions at once: try again later"),
    "queue_full": (503, "Job queue is full"),
    "records_full": (503, "Redis is nearly full and takes no further jobs"),
    "queue_unavailable": (503, "Job queue unavailable"),
    "storage_unavailable": (503, "Object store unavailable"),
}
MAX_TOLD = 5  # faults in a detail; `errors` has them all
REF = "#/components/schemas/{model}"
BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class FaultDetails(BaseModel):
    """A single error: the field or array, what was found and what was expected."""

    key: str
    message: str
    found: str = ""
    wanted: str = ""


class ProblemDetails(BaseModel):
    """Body of every error response."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[FaultDetails] = []
    job_id: str | None = None
    trace_id: Annotated[str | None, Field(description="Trace id of the request in the server logs.")] = None


class Problem(Exception):  # noqa: N818  # the term of RFC 9457
    """An error response; raise it anywhere below a route."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[Fault] = (),
        job_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, title = CODES[code]
        detail = detail or _told(errors) or title
        self.details = ProblemDetails(
            title=title,
            status=self.status,
            detail=detail,
            code=code,
            errors=[FaultDetails(**vars(fault)) for fault in errors],
            job_id=job_id,
        )
        self.headers = dict(headers or {})
        super().__init__(detail)


def _told(errors: Sequence[Fault]) -> str:
    """The first faults in one line, for whoever reads the detail only."""
    more = f"; and {len(errors) - MAX_TOLD} more" if len(errors) > MAX_TOLD else ""
    return "; ".join(map(str, errors[:MAX_TOLD])) + more


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` argument of a route that can return these error codes."""
    out: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = CODES[code]
        entry = out.setdefault(
            status,
            {
                "description": "",
                "content": {
                    "application/problem+json": {
                        "schema": {"$ref": REF.format(model="ProblemDetails")},
                        "examples": {},
                    }
                },
            },
        )
        entry["description"] = "; ".join(filter(None, [entry["description"], f"`{code}`: {title}"]))
        example = ProblemDetails(title=title, status=status, detail=title, code=code).model_dump(
            exclude_none=True
        )
        entry["content"]["application/problem+json"]["examples"][code] = {"value": example}
    return out


def keyed_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Like `responses`, for a route that authenticates its caller."""
    return responses("unauthorized", "forbidden", "rate_limited", "queue_unavailable", "records_full", *codes)


def problem_response(problem: Problem) -> JSONResponse:
    headers = problem.headers
    if problem.status in (408, 413):
        headers = {**headers, "Connection": "close"}  # otherwise the server would read the rest of the body
    if problem.status == 503:
        headers = {"Retry-After": "5", **headers}
    trace = current_trace()
    details = problem.details.model_copy(update={"trace_id": trace.trace_id if trace else None})
    return JSONResponse(
        details.model_dump(exclude_none=True),
        problem.status,
        headers,
        media_type="application/problem+json",
    )


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an error response from a middleware."""
    scope.setdefault("state", {})["problem"] = problem.details.code  # for the log and the metrics
    await problem_response(problem)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Register handlers that turn expected exceptions into problems; AccessLogMiddleware handles the rest."""

    def handle(kind: type[Exception], translate: Any) -> None:
        def handler(request: Request, error: Exception) -> JSONResponse:
            problem: Problem = translate(error)
            request.state.problem = problem.details.code  # for the log and the metrics
            return problem_response(problem)

        app.add_exception_handler(kind, handler)

    def from_http(error: HTTPException) -> Problem:
        if isinstance(error.__cause__, Problem):  # raised while FastAPI was reading the body
            return error.__cause__
        code = BY_STATUS.get(
            error.status_code, "bad_request" if error.status_code < 500 else "internal_error"
        )
        detail = "" if code in ("not_found", "method_not_allowed") else str(error.detail)
        return Problem(code, detail, headers=error.headers)

    def from_method(request: Request, _error: Exception) -> JSONResponse:
        # Starlette lists the methods of one route only, even if several share the path.
        request.state.problem = "method_not_allowed"
        allowed = {"Allow": ", ".join(_methods(app, request.url.path))}
        return problem_response(Problem("method_not_allowed", headers=allowed))

    def from_validation(error: RequestValidationError) -> Problem:
        faults = []
        for found in error.errors():
            place, *path = found["loc"]  # such as "query"
            names = [str(part) for part in path if isinstance(part, str)]
            faults.append(validation_fault(".".join(names) or str(place), found))
        return Problem("invalid_request", errors=faults)

    def from_faults(error: SequenceError | OptionsError) -> Problem:
        return Problem(error.code, errors=error.faults)

    def unavailable(code: str) -> Any:
        def translate(error: Exception) -> Problem:
            log.error("%s: %s", code, error)
            return Problem(code)

        return translate

    def from_os(error: OSError) -> Problem:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        log.error("no_room: %s", error)
        return Problem("no_room")

    handle(Problem, lambda problem: problem)
    handle(OSError, from_os)
    handle(HTTPException, from_http)
    app.add_exception_handler(405, from_method)
    handle(RequestValidationError, from_validation)
    handle(UnreadableRecord, lambda error: Problem("record_unreadable", job_id=error.job_id))
    handle(SequenceError, from_faults)
    handle(OptionsError, from_faults)
    handle(OutOfMemoryError, unavailable("records_full"))
    handle(RedisError, unavailable("queue_unavailable"))
    handle(OperationalError, unavailable("queue_unavailable"))
    handle(BotoCoreError, unavailable("storage_unavailable"))
    handle(ClientError, unavailable("storage_unavailable"))


def _methods(app: FastAPI, path: str) -> list[str]:
    """Methods allowed for a path according to the OpenAPI document."""
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            methods = {name.upper() for name in operations}
            return sorted(methods | {"HEAD"} if "GET" in methods else methods)
    return []
