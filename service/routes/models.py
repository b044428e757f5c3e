"""`GET /models`: what a job can ask for."""

from fastapi import APIRouter

from service.deps import CallerDep, PartsDep
from service.problems import keyed_responses
from service.registry import ModelInfo

router = APIRouter(tags=["models"])


class ModelView(ModelInfo):
    workers: int
    default: bool


@router.get("/models", summary="The models there are", responses=keyed_responses())
def list_models(parts: PartsDep, _caller: CallerDep) -> list[ModelView]:
    """Name, task, the input each one reads, the hash of its checkpoint, and how many workers hold it now."""
    workers = parts.registry.workers()
    return [
        ModelView(
            **model.model_dump(), workers=workers.get(name, 0), default=name == parts.settings.default_model
        )
        for name, model in sorted(parts.registry.models().items())
    ]
