"""`GET /`: a discovery document, or the web page for browsers."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel

from service.api.dependencies import ContextDep
from service.api.http.problems import responses
from service.api.routes.page import front_page
from service.core.jobs.formats import Format
from service.core.version import VERSION

router = APIRouter(tags=["health"])


class Limits(BaseModel):
    max_upload_bytes: int
    max_frames: int
    max_points: int
    retention_seconds: int


class Discovery(BaseModel):
    """Links are relative to this URL."""

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
    "input": "/jobs/{id}/input",
    "result": "/jobs/{id}/result",
    "thumbnail": "/jobs/{id}/thumbnail",
    "webhook": "/jobs/{id}/webhook",
    "models": "/models",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "live": "/livez",
    "ready": "/readyz",
    "metrics": "/metrics",
}


@router.get(
    "/",
    summary="Discovery document",
    response_model=Discovery,
    openapi_extra={"security": []},
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        304: {"description": "The page has not changed since the `ETag` in `If-None-Match`"},
        **responses("invalid_request"),
    },
)
async def discover(
    context: ContextDep,
    request: Request,
    response: Response,
    accept: Annotated[str, Header()] = "",
) -> object:
    """All endpoints and limits of this service. Clients that accept `text/html` get the web page instead."""
    if "text/html" in accept and "application/json" not in accept:
        return await front_page(context, request)
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
