"""The gateway as an ASGI app; `python -m service` runs it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI

from service import VERSION
from service.api import openapi
from service.api.background.tasks import run_background_tasks
from service.api.dependencies import GatewayContext
from service.api.http import problems
from service.api.http.access_log import AccessLogMiddleware
from service.api.http.headers import SecurityHeadersMiddleware
from service.api.http.limits import RequestLimitsMiddleware
from service.api.http.same_origin import SameOriginMiddleware
from service.api.metrics import JobMetrics, RequestMetrics
from service.api.routes import discovery, events, health, jobs, models, page, reconstruct, results, uploads
from service.core.logs import configure_logs
from service.core.settings import LOOPBACK, Settings, get_settings

log = logging.getLogger(__name__)
FORM_OVERHEAD = 2**20  # boundaries and option fields beside the file


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or get_settings()
    configure_logs(settings)
    context = GatewayContext(settings)
    metrics = RequestMetrics()
    metrics.registry.register(JobMetrics(context.jobs, context.registry))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(context.store.prepare)
        except (BotoCoreError, ClientError) as error:
            log.error("the object store is not ready, /readyz will say so: %s", error)
        background = [
            asyncio.create_task(work)
            for work in (context.subscriptions.listen(), run_background_tasks(context))
        ]
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    app = FastAPI(
        title="Occupancy Flow as a service",
        summary="Post a moving point cloud, download an animated mesh.",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would repeat whatever host the request names
        docs_url=None,  # `page` has them: FastAPI's load scripts from another host
        redoc_url=None,
    )
    app.state.context = context
    app.state.metrics = metrics.registry
    app.state.readiness = health.Readiness()
    largest = settings.max_upload_bytes + FORM_OVERHEAD
    app.add_middleware(RequestLimitsMiddleware, path="/reconstruct", max_bytes=largest, settings=settings)
    if settings.auth == "open":
        ours = settings.host in LOOPBACK and not settings.trusted_network
        app.add_middleware(SameOriginMiddleware, loopback=ours)
    app.add_middleware(AccessLogMiddleware, metrics=metrics)
    app.add_middleware(SecurityHeadersMiddleware)
    problems.install(app)
    for routes in (reconstruct, jobs, events, results, uploads, models, discovery, page, health):
        app.include_router(routes.router)
    openapi.describe(app, keys=settings.auth == "keys")
    return app
