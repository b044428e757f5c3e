"""The gateway as an ASGI app: `python -m service`, or `uvicorn service.app:create_app --factory`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI

from service import VERSION, openapi, problems
from service.body_limit import BodyLimit
from service.deps import Parts
from service.housekeeping import keep_house
from service.logs import configure_logs
from service.metrics import JobMetrics, RequestMetrics
from service.observe import Observe
from service.routes import discovery, events, health, jobs, models, reconstruct, results, uploads
from service.settings import Settings, get_settings

log = logging.getLogger(__name__)
FORM_OVERHEAD = 2**20  # boundaries and option fields beside the file


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or get_settings()
    configure_logs(settings)
    parts = Parts(settings)
    metrics = RequestMetrics()
    metrics.registry.register(JobMetrics(parts.jobs, parts.registry))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(parts.store.prepare)
        except (BotoCoreError, ClientError) as error:
            log.error("the object store is not ready, /readyz will say so: %s", error)
        background = [asyncio.create_task(work) for work in (parts.changes.listen(), keep_house(parts))]
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    app = FastAPI(
        title="Occupancy Flow as a service",
        summary="Post a moving point cloud, download an animated mesh.",
        version=VERSION,
        lifespan=lifespan,
    )
    app.state.parts = parts
    app.state.metrics = metrics.registry
    app.add_middleware(BodyLimit, path="/reconstruct", max_bytes=settings.max_upload_bytes + FORM_OVERHEAD)
    app.add_middleware(Observe, metrics=metrics)
    problems.install(app)
    for routes in (reconstruct, jobs, events, results, uploads, models, discovery, health):
        app.include_router(routes.router)
    openapi.describe(app, keys=settings.auth == "keys")
    return app
