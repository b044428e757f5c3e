"""The Celery queue between gateway and workers, one queue per model. Both sides build the same app."""

import json
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast

from celery import Celery
from redis import Redis

from service.core.jobs.record import Job
from service.core.jobs.turns import LAST
from service.core.settings import Settings

TASK = "reconstruct"
PRIORITIES = range(LAST + 1)  # 0 first
UNACKED = "unacked"  # kombu's hash: delivery tag → message that a worker has taken
# Moves a message from one list to another, if it is still there.
_MOVE = "if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then redis.call(ARGV[2], KEYS[2], ARGV[3]) end"
TIMEOUTS: Any = {"socket_connect_timeout": 3, "socket_timeout": 5}


def queue_name(model: str) -> str:
    return f"oflow.{model}"


def queue_keys(model: str) -> list[str]:
    """The lists that hold the queue's messages in Redis, one for each priority."""
    name = queue_name(model)
    return [name, *(f"{name}:{priority}" for priority in PRIORITIES if priority)]


def celery_app(settings: Settings) -> Celery:
    """A Celery app that loses no job: late acknowledgement, redelivery on worker loss, no prefetch."""
    broker = (settings.broker_url or settings.redis_url).get_secret_value()
    app = Celery("oflow", broker=broker, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,  # results are kept in the job record
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_channel_error_retry=True,  # a Redis that is full rejects writes: wait instead of exiting
        broker_transport_options=_transport_options(settings) if broker.startswith("redis") else {},
        broker_use_ssl=_tls_options(broker),
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=broker.startswith("redis"),
        worker_pool="prefork",
        worker_concurrency=1,
        worker_pool_start_method="spawn",  # forking a process that has used torch can deadlock
        worker_proc_alive_timeout=600,  # the child loads the model and may compile kernels while it starts
        worker_enable_remote_control=False,
    )
    return app


def _tls_options(broker: str) -> dict[str, Any] | None:
    """Have the broker's certificate and name verified, which kombu does not do unless told.

    Options in the query of the URL, such as `ssl_ca_certs`, replace these; redis-py then verifies by default.
    """
    scheme = broker.partition("://")[0]
    if scheme == "rediss":
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    if scheme == "amqps":
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}  # None: that of the URL
    return None


def _transport_options(settings: Settings) -> dict[str, Any]:
    # A delivery returns to the queue after the visibility timeout unless the worker's watchdog renews it.
    return {
        "priority_steps": list(PRIORITIES),
        "sep": ":",
        "queue_order_strategy": "priority",
        "visibility_timeout": settings.visibility_timeout_seconds,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
    }


class JobQueue:
    """The producer side, used by the gateway."""

    def __init__(self, settings: Settings) -> None:
        self.app = celery_app(settings)
        url = (settings.broker_url or settings.redis_url).get_secret_value()
        self._redis = (
            Redis.from_url(url, decode_responses=True, **TIMEOUTS) if url.startswith("redis") else None
        )

    def without_message(self, model: str, job_ids: Sequence[str]) -> list[str]:
        """The jobs without a message in the queue or at a worker; none of them if the broker is not Redis."""
        if self._redis is None or not job_ids:
            return []
        # In this order: a message goes from the queue to the unacknowledged ones.
        queued = [text for _, text in self._messages(model)]
        texts = "".join([*queued, *cast(list[str], self._redis.hvals(UNACKED))])
        return [job_id for job_id in job_ids if job_id not in texts]

    def drop(self, model: str, unwanted: Callable[[str], bool]) -> int:
        """Remove the messages of unwanted jobs that no worker has taken; returns how many."""
        dropped = 0
        for key, text in self._messages(model):
            job_id = _job_id(text)
            if self._redis is not None and job_id and unwanted(job_id):
                dropped += int(self._redis.lrem(key, 1, text))
        return dropped

    def job_ids(self, model: str) -> list[list[str]]:
        """The jobs of each priority whose message no worker has taken, the first to be taken first."""
        found: dict[str, list[str]] = {key: [] for key in queue_keys(model)}
        for key, text in self._messages(model):
            if job_id := _job_id(text):
                found[key].insert(0, job_id)
        return list(found.values())

    def bring_forward(self, job: Job, *, to_front: bool = False) -> None:
        """Give the message of a job the first priority, at its end or front, unless a worker has taken it."""
        for key, text in self._messages(job.model):
            if self._redis is not None and _job_id(text) == job.id and key != queue_name(job.model):
                message = json.loads(text)
                message["properties"]["priority"] = 0  # with which it returns if its worker dies
                push = "RPUSH" if to_front else "LPUSH"
                keys_and_arguments = [key, queue_name(job.model), text, push, json.dumps(message)]
                self._redis.eval(_MOVE, 2, *keys_and_arguments)

    def _messages(self, model: str) -> list[tuple[str, str]]:
        """The list and the text of each message that no worker has taken; none if the broker is not Redis."""
        if self._redis is None:
            return []
        lists = {key: cast(list[str], self._redis.lrange(key, 0, -1)) for key in queue_keys(model)}
        return [(key, text) for key, texts in lists.items() for text in texts]

    def push(self, job: Job) -> None:
        """Enqueue a job for the workers of its model."""
        self.app.send_task(
            TASK,
            args=[job.id],
            task_id=job.id,
            queue=queue_name(job.model),
            priority=job.queue_priority if self._redis is not None else None,
            headers={"traceparent": job.traceparent} if job.traceparent else None,
            retry_policy={"max_retries": 1},
        )


def _job_id(text: str) -> str | None:
    """The job of a message; None if it is not one of this service."""
    try:
        return str(json.loads(text)["headers"]["id"])
    except (ValueError, LookupError, TypeError):
        return None
