"""The gateway's ASGI application, served by `python -m service`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from service.api import openapi
from service.api.background.tasks import run_background_tasks
from service.api.dependencies import GatewayContext
from service.api.http import problems
from service.api.http.access_log import AccessLogMiddleware
from service.api.http.head import HeadMiddleware
from service.api.http.headers import SecurityHeadersMiddleware
from service.api.http.limits import RequestLimitsMiddleware
from service.api.http.same_origin import SameOriginMiddleware
from service.api.metrics import JobMetrics, RequestMetrics
from service.api.metrics_export import export_metrics
from service.api.routes import (
    discovery,
    events,
    health,
    inputs,
    jobs,
    models,
    page,
    reconstruct,
    results,
    thumbnails,
    uploads,
)
from service.core.logs import configure_logs
from service.core.settings import LOOPBACK, Settings, get_settings
from service.core.telemetry import configure_telemetry
from service.core.version import VERSION

log = logging.getLogger(__name__)
# Of the requests and responses of the API, beyond those that browsers always pass.
CORS_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "traceparent",
]
CORS_RESPONSE_HEADERS = [
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
]
FORM_OVERHEAD = 2**20  # bytes for multipart boundaries and option fields


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or get_settings()
    configure_logs(settings)
    configure_telemetry("gateway")
    context = GatewayContext(settings)
    metrics = RequestMetrics()
    metrics.registry.register(JobMetrics(context.jobs, context.registry, context.memory))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(context.store.prepare)
        except (BotoCoreError, ClientError) as error:
            log.error("object store is not ready (reported by /readyz): %s", error)
        background = asyncio.create_task(run_background_tasks(context))
        stop_export = export_metrics(metrics.registry)
        yield
        await asyncio.to_thread(stop_export)
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
        context.close()

    app = FastAPI(
        title="Occupancy Flow as a service",
        summary="Post a moving point cloud, download an animated mesh.",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,  # the redirect would echo an untrusted Host header
        docs_url=None,  # served by `page`: FastAPI's version loads scripts from a CDN
        redoc_url=None,
    )
    app.state.context = context
    app.state.metrics = metrics.registry
    app.state.readiness = health.Readiness()
    max_bytes = settings.max_upload_bytes + FORM_OVERHEAD
    app.add_middleware(HeadMiddleware, router=app.router)
    app.add_middleware(RequestLimitsMiddleware, path="/reconstruct", max_bytes=max_bytes, settings=settings)
    if settings.auth == "open":
        loopback = settings.host in LOOPBACK and not settings.trusted_network
        app.add_middleware(SameOriginMiddleware, loopback=loopback, allowed=settings.origins)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
            max_age=3600,
        )
    app.add_middleware(AccessLogMiddleware, metrics=metrics)
    app.add_middleware(SecurityHeadersMiddleware)
    problems.install(app)
    for routes in (
        reconstruct,
        jobs,
        events,
        inputs,
        results,
        thumbnails,
        uploads,
        models,
        discovery,
        page,
        health,
    ):
        app.include_router(routes.router)
    openapi.describe(app, keys=settings.auth == "keys")
    return app
