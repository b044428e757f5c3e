"""Available models and live workers, announced by the workers and read by the gateway."""

import logging
import time

from pydantic import BaseModel, ValidationError
from redis import Redis

log = logging.getLogger(__name__)


class ModelInput(BaseModel):
    """The input a model reads. Points need not correspond, and frames may differ in size."""

    min_frames: int
    max_frames: int
    min_points: int  # per frame
    max_points: int | None = None  # of a frame that are used; larger frames are sampled
    upright: bool  # whether it knows only things that stand on their feet; see the option `up`


class ModelInfo(BaseModel):
    name: str
    task: str
    input: ModelInput
    checkpoint_sha256: str
    parameters: int
    resolution: int
    threshold: float


class Registry:
    """Models are kept permanently, so that jobs can wait for a restarting worker; workers expire."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.models_key = f"{prefix}:models"
        self.workers_key = f"{prefix}:workers"

    def announce(self, model: ModelInfo) -> None:
        """Say that a worker has loaded the model."""
        self.redis.hset(self.models_key, model.name, model.model_dump_json())

    def beat(self, worker: str, model: str, seconds: float) -> None:
        """Record that a worker is alive for the next `seconds`."""
        now = time.time()
        with self.redis.pipeline() as pipe:
            pipe.zremrangebyscore(self.workers_key, "-inf", now)
            pipe.zadd(self.workers_key, {f"{model}/{worker}": now + seconds})
            pipe.execute()

    def is_alive(self, worker: str, model: str) -> bool:
        """Whether the worker has loaded the model and its last beat still counts."""
        until = self.redis.zscore(self.workers_key, f"{model}/{worker}")
        return until is not None and float(until) > time.time()

    def leave(self, worker: str, model: str) -> None:
        self.redis.zrem(self.workers_key, f"{model}/{worker}")

    def forget_workers(self) -> None:
        """Drop the beats of workers that cannot live any more, such as those of the machine's last run."""
        self.redis.delete(self.workers_key)

    def models(self) -> dict[str, ModelInfo]:
        """What is known of each model; one whose announcement cannot be read is left out."""
        found = {}
        for name, text in self.redis.hgetall(self.models_key).items():
            try:
                found[str(name)] = ModelInfo.model_validate_json(text)
            except ValidationError as error:
                log.warning(
                    "model %s was announced by another release, which this one cannot read: %s", name, error
                )
        return found

    def is_served(self) -> bool:
        """Whether any live worker has a loaded model."""
        return not self.workers().keys().isdisjoint(self.models())

    def workers(self) -> dict[str, int]:
        """Number of live workers per model."""
        counts: dict[str, int] = {}
        for member in self.redis.zrangebyscore(self.workers_key, time.time(), "+inf"):
            model = str(member).rsplit("/", 1)[0]
            counts[model] = counts.get(model, 0) + 1
        return counts
