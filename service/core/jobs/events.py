"""Numbered events of each job in a Redis stream, and notifications of changes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from service.core.jobs.record import Job, JobEvent, State
from service.core.jobs.room import EVENT_OVERHEAD

MAX_EVENTS = 1000  # per job; older events are dropped
EXPIRED_EVENTS = 4  # the last ones, which are left once the files are deleted
BATCH = 200
_Entries = list[tuple[str, dict[str, str]]]


class JobEvents:
    """Events of jobs. An event's number is the version of the job record that it produced."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix
        self.channel = f"{prefix}:changed"  # publishes the id of each changed job

    def key(self, job_id: str) -> str:
        return f"{self.prefix}:events:{job_id}"

    def append(self, pipe: Pipeline, before: Job | None, after: Job, gone: datetime) -> int:
        """Add the event of a change to the transaction that makes the change; returns its size in bytes."""
        now = datetime.now(UTC)
        event = JobEvent(
            state=after.state, progress=after.progress, attempt=after.attempt, at=now, error=after.error
        )
        same = before is not None and (before.state, before.attempt) == (after.state, after.attempt)
        fields: Any = {
            "name": "progress" if same else "state",
            "data": event.model_dump_json(exclude_none=True),
        }
        pipe.xadd(self.key(after.id), fields, id=f"{after.version}-0", maxlen=MAX_EVENTS, approximate=True)
        if before is None:
            pipe.expireat(self.key(after.id), gone)
        else:  # nobody can be waiting for a new job
            pipe.publish(self.channel, after.id)
        if after.state is State.EXPIRED:
            pipe.xtrim(self.key(after.id), maxlen=EXPIRED_EVENTS, approximate=False)
        return len(fields["data"]) + EVENT_OVERHEAD

    def after(self, job_id: str, number: int) -> Iterator[tuple[int, str, str]]:
        """Number, name and JSON data of the stored events after `number`."""
        key = self.key(job_id)
        while found := cast(_Entries, self.redis.xrange(key, f"({number}-0", "+", count=BATCH)):
            for entry, fields in found:
                number = int(entry.partition("-")[0])
                yield number, fields["name"], fields["data"]


def ends(data: str) -> bool:
    """Whether this event ended the job; only the expiry of its files can follow."""
    return not State(json.loads(data)["state"]).open
