"""The web page, the API documentation and their assets; not part of the OpenAPI document."""

import hashlib
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from service.api.dependencies import GatewayContext
from service.api.http.etags import matches
from service.api.http.problems import Problem
from service.core.jobs.options import Options
from service.core.jobs.record import OPEN_OWNER
from service.core.jobs.stored import UnreadableRecord
from service.page import asset, with_head
from service.page.preview import link_preview
from service.page.samples import SAMPLES

router = APIRouter(include_in_schema=False)
_SELF_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICIES = {
    "index.html": f"{_SELF_ONLY}; require-trusted-types-for 'script'; trusted-types 'none'",
    "docs.html": _SELF_ONLY,  # Swagger UI sets innerHTML, which trusted types would block
}


async def front_page(context: GatewayContext, request: Request) -> Response:
    """The page. If keys are not required, the head of `?job=…` describes the job for previews of the link."""
    job = None
    job_id = request.query_params.get("job")
    if context.settings.auth == "open" and job_id:
        with suppress(UnreadableRecord):
            job = await context.record_calls.run(context.jobs.get, job_id)
    if job is None or job.owner != OPEN_OWNER:
        return page("index.html", request.headers)
    head = link_preview(job, str(request.base_url))
    return page("index.html", request.headers, head)


def page(name: str, request_headers: Headers, head: str = "") -> Response:
    """An asset with its content security policy, honouring `If-None-Match` and `Accept-Encoding`.

    `head` is added to the head of a document. Raises Problem `not_found`.
    """
    found = asset(name)
    if found is None:
        raise Problem("not_found", f"File {name[:64]!r} not found")
    if head:
        found = with_head(found, head)
    headers = {
        "ETag": found.etag,
        "Cache-Control": "no-cache",  # cache, but revalidate before each use
        "Vary": "Accept, Accept-Encoding" if name == "index.html" else "Accept-Encoding",
    }
    if name in POLICIES:
        headers["Content-Security-Policy"] = POLICIES[name]
    if matches(request_headers.get("if-none-match"), found.etag):
        return Response(status_code=304, headers=headers)
    if found.gzipped is None or "gzip" not in request_headers.get("accept-encoding", ""):
        return Response(found.body, headers=headers, media_type=found.media_type)
    headers |= {"Content-Encoding": "gzip", "ETag": f"W/{found.etag}"}
    return Response(found.gzipped, headers=headers, media_type=found.media_type)


@router.get("/docs")
def documentation(request: Request) -> Response:
    return page("docs.html", request.headers)


@router.get("/page/samples")
def samples() -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "href": f"/page/{sample.path.name}",
            "description": sample.description,
            "sha256": hashlib.sha256(sample.path.read_bytes()).hexdigest(),
        }
        for name, sample in SAMPLES.items()
    ]


@router.get("/page/options")
def options() -> dict[str, Any]:
    """The JSON schema that the controls of the page are built from."""
    return Options.model_json_schema()


@router.get("/page/{name}")
def file(name: str, request: Request) -> Response:
    return page(name, request.headers)
