"""What a browser shows: the page, the documentation, their files. None is in the OpenAPI document."""

import hashlib

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from service.api.http.etags import matches
from service.api.http.problems import Problem
from service.page import asset
from service.page.samples import SAMPLES

router = APIRouter(include_in_schema=False)
# Scripts and styles from here alone, none of them inline; no frame, no form, no other host.
_ONLY_US = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICIES = {
    "index.html": f"{_ONLY_US}; require-trusted-types-for 'script'; trusted-types 'none'",
    "docs.html": _ONLY_US,  # Swagger UI sets innerHTML
}


def page(name: str, asked: Headers) -> Response:
    """A file as the headers of the request ask for it, under its content security policy.

    Raises Problem `not_found`.
    """
    found = asset(name)
    if found is None:
        raise Problem("not_found", f"There is no file {name[:64]!r}")
    headers = {
        "ETag": found.etag,
        "Cache-Control": "no-cache",  # keep it, and ask each time whether it is the newest
        "Vary": "Accept, Accept-Encoding" if name == "index.html" else "Accept-Encoding",
    }
    if name in POLICIES:
        headers["Content-Security-Policy"] = POLICIES[name]
    if matches(asked.get("if-none-match"), found.etag):
        return Response(status_code=304, headers=headers)
    if found.packed is None or "gzip" not in asked.get("accept-encoding", ""):
        return Response(found.body, headers=headers, media_type=found.media_type)
    headers |= {"Content-Encoding": "gzip", "ETag": f"W/{found.etag}"}
    return Response(found.packed, headers=headers, media_type=found.media_type)


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


@router.get("/page/{name}")
def file(name: str, request: Request) -> Response:
    return page(name, request.headers)
