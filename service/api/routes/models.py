"""`GET /models`: what a job can ask for."""

from fastapi import APIRouter

from service.api.dependencies import CallerDep, PartsDep
from service.api.http.problems import keyed_responses
from service.core.registry import ModelInfo

router = APIRouter(tags=["models"])


class ModelView(ModelInfo):
    workers: int
    default: bool


@router.get("/models", summary="The models there are", responses=keyed_responses())
def list_models(context: PartsDep, _caller: CallerDep) -> list[ModelView]:
    """Name, task, the input each one reads, the hash of its checkpoint, and how many workers hold it now."""
    workers = context.registry.workers()
    return [
        ModelView(
            **model.model_dump(), workers=workers.get(name, 0), default=name == context.settings.default_model
        )
        for name, model in sorted(context.registry.models().items())
    ]
