"""Health probes and metrics; none of them requires a key."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from redis.exceptions import RedisError

from service.api.dependencies import ContextDep, GatewayContext

router = APIRouter(tags=["health"])
CACHE_SECONDS = 0.2
NO_KEY: dict[str, Any] = {"security": []}


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Status of each dependency: "ok" or a description of the failure."""

    redis: str
    object_store: str
    worker: str
    clock: str


class Readiness:
    """Checks the dependencies once for all concurrent callers.

    The probe needs no key, and a dependency that hangs would otherwise occupy one thread per caller.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._cached: tuple[float, Ready] | None = None  # time of the check, result

    async def check(self, context: GatewayContext) -> Ready:
        async with self._lock:
            if self._cached is None or time.monotonic() - self._cached[0] > CACHE_SECONDS:
                result = await context.scrapes.run(_check_all, context)
                self._cached = time.monotonic(), result
            return self._cached[1]


def _check_all(context: GatewayContext) -> Ready:
    def check(probe: Callable[[], object]) -> str:
        try:
            return "ok" if probe() is not False else "no live worker with a loaded model"
        except Exception as error:  # any failure means not ready
            return type(error).__name__

    redis = check(context.redis.ping)
    return Ready(
        redis=redis,
        object_store=check(context.store.ping),
        worker=check(context.registry.is_served),
        clock=_check_clock(context) if redis == "ok" else "unknown",
    )


def _check_clock(context: GatewayContext) -> str:
    try:
        return context.clock.fault() or "ok"
    except RedisError:
        return "unknown"


@router.get("/livez", summary="Liveness probe", openapi_extra=NO_KEY)
async def alive() -> Alive:
    """Waits for nothing: a gateway whose dependencies hang is alive."""
    return Alive()


@router.get(
    "/readyz",
    summary="Readiness probe",
    openapi_extra=NO_KEY,
    responses={503: {"model": Ready, "description": "A dependency is not ready; see the body"}},
)
async def ready(request: Request, context: ContextDep, response: Response) -> Ready:
    """Checks that Redis responds, the bucket exists, a live worker has loaded its model, and the clock is
    right."""
    readiness: Readiness = request.app.state.readiness
    result = await readiness.check(context)
    if set(result.model_dump().values()) != {"ok"}:
        response.status_code = 503
    return result


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format", "content": {"text/plain": {}}}},
    openapi_extra=NO_KEY,
)
async def metrics(request: Request, context: ContextDep) -> Response:
    """`oflow_http_…` and `process_…` cover this process; all others cover the whole service."""
    registry: CollectorRegistry = request.app.state.metrics
    return Response(await context.scrapes.run(generate_latest, registry), media_type=CONTENT_TYPE_LATEST)
