"""Every error answer: application/problem+json (RFC 9457), with a code that programs can rely on."""

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
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from service.core.jobs.options import OptionsError
from service.core.sequences.sequence import Fault, SequenceError
from service.core.trace import current_trace

log = logging.getLogger(__name__)

# code: (status, title). The title never changes; the detail speaks of this one request.
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request could not be read"),
    "unauthorized": (401, "The request needs a key"),
    "foreign_page": (403, "A page of somebody else sent the request"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This address does not take that method"),
    "too_slow": (408, "The request took too long to arrive"),
    "job_not_done": (409, "The job has not ended yet"),
    "job_has_no_result": (409, "The job ended without a result"),
    "upload_missing": (409, "Nothing has been uploaded yet"),
    "idempotency_in_flight": (409, "The first request with this idempotency key is still being worked on"),
    "job_expired": (410, "The job's files have been deleted"),
    "result_lost": (410, "The file is gone or damaged: send the sequence again"),
    "too_large": (413, "The upload is too large"),
    "unsupported_media": (415, "The upload is not a point cloud sequence"),
    "range_not_satisfiable": (416, "The file has no such part"),
    "wrong_host": (421, "The request is meant for another host"),
    "idempotency_key_reused": (422, "The idempotency key was used for another request"),
    "invalid_sequence": (422, "The sequence has faults"),
    "invalid_options": (422, "The options have faults"),
    "invalid_request": (422, "The request has faults"),
    "unknown_model": (422, "There is no such model"),
    "unsupported_input": (422, "The model does not read such a sequence"),
    "rate_limited": (429, "The key has made too many requests"),
    "too_many_streams": (429, "The key has too many answers open"),
    "too_many_uploads": (429, "The key has too many uploads that have not expired"),
    "too_many_jobs": (429, "The key has too many open jobs"),
    "headers_too_large": (431, "The headers of the request are too much"),
    "internal_error": (500, "Something broke on our side"),
    "no_model": (503, "No worker has announced a model yet"),
    "too_many_connections": (503, "Too many connections are open already"),
    "no_room": (503, "The server has no room for the upload just now"),
    "queue_full": (503, "Too many jobs wait already"),
    "queue_unavailable": (503, "The job queue does not answer"),
    "storage_unavailable": (503, "The object store does not answer"),
}
REF = "#/components/schemas/{model}"
BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class FaultDetails(BaseModel):
    """One thing that is wrong: where, what was found, what is wanted."""

    key: str
    message: str
    found: str = ""
    wanted: str = ""


class ProblemDetails(BaseModel):
    """The body of every error answer."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[FaultDetails] = []
    job_id: str | None = None
    trace_id: Annotated[str | None, Field(description="What our logs call this request.")] = None


class Problem(Exception):  # noqa: N818  # the field's word for it, RFC 9457
    """An answer that is not a success; raise it anywhere below a route."""

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
        detail = detail or "; ".join(fault.message for fault in errors) or title
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


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with these codes."""
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
    """The same for a route that asks for a key, which is looked up in Redis."""
    return responses("unauthorized", "rate_limited", "queue_unavailable", *codes)


def answer(problem: Problem) -> JSONResponse:
    headers = problem.headers
    if problem.status in (408, 413):
        headers = {**headers, "Connection": "close"}  # or the server would read the rest of the body
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
    """Answer a request that comes to no route."""
    scope.setdefault("state", {})["problem"] = problem.details.code  # for the log and the metrics
    await answer(problem)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every expected exception with a problem document; the access log handles the others."""

    def handle(kind: type[Exception], translate: Any) -> None:
        def handler(request: Request, error: Exception) -> JSONResponse:
            problem: Problem = translate(error)
            request.state.problem = problem.details.code  # for the log and the metrics
            return answer(problem)

        app.add_exception_handler(kind, handler)

    def from_http(error: HTTPException) -> Problem:
        code = BY_STATUS.get(
            error.status_code, "bad_request" if error.status_code < 500 else "internal_error"
        )
        detail = "" if code in ("not_found", "method_not_allowed") else str(error.detail)
        return Problem(code, detail, headers=error.headers)

    def from_method(request: Request, _error: Exception) -> JSONResponse:
        # Starlette names the methods of one route only, where several share the address.
        request.state.problem = "method_not_allowed"
        allowed = {"Allow": ", ".join(_methods(app, request.url.path))}
        return answer(Problem("method_not_allowed", headers=allowed))

    def from_validation(error: RequestValidationError) -> Problem:
        faults = [
            Fault(".".join(str(part) for part in e["loc"][1:]), e["msg"], repr(e.get("input"))[:100], "")
            for e in error.errors()
        ]
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
    handle(SequenceError, from_faults)
    handle(OptionsError, from_faults)
    handle(RedisError, unavailable("queue_unavailable"))
    handle(OperationalError, unavailable("queue_unavailable"))
    handle(BotoCoreError, unavailable("storage_unavailable"))
    handle(ClientError, unavailable("storage_unavailable"))


def _methods(app: FastAPI, path: str) -> list[str]:
    """What the address takes, by the document."""
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return sorted(name.upper() for name in operations)
    return []
