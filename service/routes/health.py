"""Probes, and the way in."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.deps import PartsDep

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Each part is "ok" or says what is wrong with it."""

    redis: str
    object_store: str
    worker: str


@router.get("/", summary="Where things are")
def discover() -> dict[str, str]:
    return {"reconstruct": "/reconstruct", "models": "/models", "docs": "/docs", "openapi": "/openapi.json"}


@router.get("/livez", summary="The process answers")
def alive() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    summary="Jobs can be taken and will be run",
    responses={503: {"model": Ready, "description": "A part is not ready; the body says which"}},
)
def ready(parts: PartsDep, response: Response) -> Ready:
    """Redis answers, the bucket is there, and a live worker has loaded its model."""

    def check(probe: Callable[[], object]) -> str:
        try:
            return "ok" if probe() is not False else "no worker with a loaded model is alive"
        except Exception as error:  # a probe reports every failure, whatever its kind
            return type(error).__name__

    parts_ready = Ready(
        redis=check(parts.redis.ping),
        object_store=check(parts.store.ping),
        worker=check(parts.registry.is_served),
    )
    if set(parts_ready.model_dump().values()) != {"ok"}:
        response.status_code = 503
    return parts_ready
