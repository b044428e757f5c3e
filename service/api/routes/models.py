"""`GET /models`: the available models."""

from fastapi import APIRouter

from service.api.dependencies import CallerDep, ContextDep
from service.api.http.problems import keyed_responses
from service.core.registry import ModelInfo

router = APIRouter(tags=["models"])


class ModelView(ModelInfo):
    workers: int
    default: bool


@router.get("/models", summary="List models", responses=keyed_responses())
def list_models(context: ContextDep, _caller: CallerDep) -> list[ModelView]:
    """Name, task, expected input and checkpoint hash of each model, and its number of live workers."""
    workers = context.registry.workers()
    return [
        ModelView(
            **model.model_dump(), workers=workers.get(name, 0), default=name == context.settings.default_model
        )
        for name, model in sorted(context.registry.models().items())
    ]
