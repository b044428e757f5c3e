"""Probes: they need no key."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import GatewayContext, PartsDep

router = APIRouter(tags=["health"])
KEPT_SECONDS = 0.2
NO_KEY: dict[str, Any] = {"security": []}


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Each part is "ok" or says what is wrong with it."""

    redis: str
    object_store: str
    worker: str


class Readiness:
    """Checks the dependencies once for all concurrent callers.

    Anyone may ask, without a key; a dependency that hangs would otherwise hold one thread per caller."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._found: tuple[float, Ready] | None = None  # when, what

    async def of(self, context: GatewayContext) -> Ready:
        async with self._asking:
            if self._found is None or time.monotonic() - self._found[0] > KEPT_SECONDS:
                found = await run_in_threadpool(_ask, context)
                self._found = time.monotonic(), found
            return self._found[1]


def _ask(context: GatewayContext) -> Ready:
    def check(probe: Callable[[], object]) -> str:
        try:
            return "ok" if probe() is not False else "no worker with a loaded model is alive"
        except Exception as error:  # a probe reports every failure, whatever its kind
            return type(error).__name__

    return Ready(
        redis=check(context.redis.ping),
        object_store=check(context.store.ping),
        worker=check(context.registry.is_served),
    )


@router.get("/livez", summary="The process answers", openapi_extra=NO_KEY)
def alive() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    summary="Jobs can be taken and will be run",
    openapi_extra=NO_KEY,
    responses={503: {"model": Ready, "description": "A part is not ready; the body says which"}},
)
async def ready(request: Request, context: PartsDep, response: Response) -> Ready:
    """Redis answers, the bucket is there, and a live worker has loaded its model."""
    readiness: Readiness = request.app.state.readiness
    parts_ready = await readiness.of(context)
    if set(parts_ready.model_dump().values()) != {"ok"}:
        response.status_code = 503
    return parts_ready


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"description": "The text format", "content": {"text/plain": {}}}},
    openapi_extra=NO_KEY,
)
def metrics(request: Request) -> Response:
    """`oflow_http_…` and `process_…` are this gateway's; the others are the whole service's, from Redis."""
    registry: CollectorRegistry = request.app.state.metrics
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
