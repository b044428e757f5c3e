"""`GET /models`: the available models."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from service.api.dependencies import CallerDep, ContextDep, GatewayContext
from service.api.http.problems import keyed_responses
from service.core.model_info import ModelInfo

router = APIRouter(tags=["models"])


class ModelView(ModelInfo):
    workers: int
    checkpoints: Annotated[
        dict[str, int], Field(description="Live workers by the hash of their weights: two during an upgrade.")
    ]
    default: bool


@router.get("/models", summary="List models", responses=keyed_responses())
async def list_models(context: ContextDep, _caller: CallerDep) -> list[ModelView]:
    """Name, task, expected input and checkpoint hash of each model, and its number of live workers."""
    return await context.record_calls.run(_models, context)


def _models(context: GatewayContext) -> list[ModelView]:
    workers, checkpoints = context.registry.workers(), context.registry.checkpoints()
    return [
        ModelView(
            **model.model_dump(),
            workers=workers.get(name, 0),
            checkpoints=checkpoints.get(name, {}),
            default=name == context.settings.default_model,
        )
        for name, model in sorted(context.registry.models().items())
    ]
