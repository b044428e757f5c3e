"""The gateway as an ASGI app: `python -m service`, or `uvicorn service.app:create_app --factory`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI

from service import problems
from service.body_limit import BodyLimit
from service.deps import Parts
from service.routes import health, jobs, models, reconstruct
from service.settings import Settings, get_settings

log = logging.getLogger(__name__)
FORM_OVERHEAD = 2**20  # boundaries and option fields beside the file


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or get_settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.parts = Parts(settings)
        try:
            await asyncio.to_thread(app.state.parts.store.prepare)
        except (BotoCoreError, ClientError) as error:
            log.error("the object store is not ready, /readyz will say so: %s", error)
        yield

    app = FastAPI(
        title="Occupancy Flow as a service",
        summary="Post a moving point cloud, download an animated mesh.",
        version="0.1.0",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes + FORM_OVERHEAD)
    problems.install(app)
    for routes in (reconstruct, jobs, models, health):
        app.include_router(routes.router)
    return app
