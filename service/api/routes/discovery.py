"""`GET /`: where things are; for a browser, the page."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel

from service import VERSION
from service.api.dependencies import PartsDep
from service.api.http.problems import responses
from service.api.routes.page import page
from service.core.jobs.formats import Format

router = APIRouter(tags=["health"])


class Limits(BaseModel):
    max_upload_bytes: int
    max_frames: int
    max_points: int
    retention_seconds: int


class Discovery(BaseModel):
    """Addresses are relative to this one."""

    name: str = "oflow"
    version: str
    auth: str
    webhooks: bool
    default_model: str
    formats: list[Format]
    limits: Limits
    links: dict[str, str]


LINKS = {
    "reconstruct": "/reconstruct",
    "uploads": "/uploads",
    "jobs": "/jobs",
    "job": "/jobs/{id}",
    "events": "/jobs/{id}/events",
    "result": "/jobs/{id}/result",
    "models": "/models",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "live": "/livez",
    "ready": "/readyz",
    "metrics": "/metrics",
}


@router.get(
    "/",
    summary="Where things are",
    response_model=Discovery,
    openapi_extra={"security": []},
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        304: {"description": "The page is as it was at the `ETag` in `If-None-Match`"},
        **responses("invalid_request"),
    },
)
def discover(
    context: PartsDep,
    request: Request,
    response: Response,
    accept: Annotated[str, Header()] = "",
) -> object:
    """A document of every address and limit; browsers, which ask for `text/html`, get the page."""
    if "text/html" in accept and "application/json" not in accept:
        return page("index.html", request.headers)
    response.headers["Vary"] = "Accept"
    settings = context.settings
    limits = Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_frames=settings.max_frames,
        max_points=settings.max_points,
        retention_seconds=settings.retention_seconds,
    )
    return Discovery(
        version=VERSION,
        auth=settings.auth,
        webhooks=settings.webhook_secret is not None,
        default_model=settings.default_model,
        formats=list(Format),
        limits=limits,
        links=LINKS,
    )
