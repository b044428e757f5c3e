"""Available models and live workers, announced by the workers and read by the gateway."""

import logging
import time
from typing import cast

from pydantic import ValidationError
from redis import Redis

from service.core.model_info import ModelInfo

log = logging.getLogger(__name__)


class Registry:
    """Models are kept permanently, so that jobs can wait for a restarting worker; workers expire.

    Every beat repeats what the worker has announced, so that a Redis that lost its data knows it again.
    """

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.models_key = f"{prefix}:models"
        self.workers_key = f"{prefix}:workers"  # sorted set: model/worker → time until which it is alive
        self.loaded_key = f"{prefix}:loaded"  # hash: model/worker → what it has loaded

    def announce(self, model: ModelInfo) -> None:
        """Make a model known, with or without a worker."""
        self.redis.hset(self.models_key, model.name, model.model_dump_json())

    def beat(self, worker: str, model: ModelInfo, seconds: float) -> None:
        """Record that a worker has loaded the model and is alive for the next `seconds`."""
        now, member, text = time.time(), f"{model.name}/{worker}", model.model_dump_json()
        gone = cast(list[str], self.redis.zrangebyscore(self.workers_key, "-inf", now))
        with self.redis.pipeline() as pipe:
            if gone:
                pipe.zrem(self.workers_key, *gone)
                pipe.hdel(self.loaded_key, *gone)
            pipe.zadd(self.workers_key, {member: now + seconds})
            pipe.hset(self.loaded_key, member, text)
            pipe.hsetnx(self.models_key, model.name, text)
            pipe.execute()

    def leave(self, worker: str, model: str) -> None:
        self.redis.zrem(self.workers_key, f"{model}/{worker}")
        self.redis.hdel(self.loaded_key, f"{model}/{worker}")

    def forget_workers(self) -> None:
        """Drop the beats of workers that cannot live any more, such as those of the machine's last run."""
        self.redis.delete(self.workers_key, self.loaded_key)

    def models(self) -> dict[str, ModelInfo]:
        """What is known of each model; one whose announcement cannot be read is left out."""
        announced = {
            str(name): _read(str(name), str(text))
            for name, text in self.redis.hgetall(self.models_key).items()
        }
        return {name: model for name, model in announced.items() if model is not None}

    def is_served(self) -> bool:
        """Whether any live worker has a loaded model."""
        return not self.workers().keys().isdisjoint(self.models())

    def workers(self) -> dict[str, int]:
        """Number of live workers per model."""
        counts: dict[str, int] = {}
        for member in self.alive():
            model = member.rsplit("/", 1)[0]
            counts[model] = counts.get(model, 0) + 1
        return counts

    def checkpoints(self) -> dict[str, dict[str, int]]:
        """Number of live workers per model and hash of their weights, which differ during an upgrade."""
        counts: dict[str, dict[str, int]] = {}
        members = self.alive()
        texts = cast(list[str | None], self.redis.hmget(self.loaded_key, members) if members else [])
        for member, text in zip(members, texts, strict=True):
            if model := _read(member, text):
                of_model = counts.setdefault(model.name, {})
                of_model[model.checkpoint_sha256] = of_model.get(model.checkpoint_sha256, 0) + 1
        return counts

    def alive(self) -> list[str]:
        """The workers that have loaded a model and whose last beat still counts, as `model/worker`."""
        return [str(member) for member in self.redis.zrangebyscore(self.workers_key, time.time(), "+inf")]


def _read(name: str, text: str | None) -> ModelInfo | None:
    try:
        return None if text is None else ModelInfo.model_validate_json(text)
    except ValidationError as error:
        log.warning("%s was announced by another release, which this one cannot read: %s", name, error)
        return None
