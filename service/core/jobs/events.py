"""What happened to each job, numbered, in a Redis stream; and word of it to whoever waits."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline

from service.core.jobs.record import Job, JobEvent, State

KEPT = 1000  # events of one job; a long job loses its first ones
AT_ONCE = 200
_Entries = list[tuple[str, dict[str, str]]]


class JobEvents:
    """Events of jobs by number; the number is the version of the record that the change made."""

    def __init__(self, redis: Redis, prefix: str = "oflow") -> None:
        self.redis = redis
        self.prefix = prefix
        self.channel = f"{prefix}:changed"  # job ids, as they change

    def key(self, job_id: str) -> str:
        return f"{self.prefix}:events:{job_id}"

    def append(self, pipe: Pipeline, before: Job | None, after: Job, gone: datetime) -> None:
        """Add the event of a change to the transaction that makes it."""
        now = datetime.now(UTC)
        event = JobEvent(
            state=after.state, progress=after.progress, attempt=after.attempt, at=now, error=after.error
        )
        same = before is not None and (before.state, before.attempt) == (after.state, after.attempt)
        fields: Any = {
            "name": "progress" if same else "state",
            "data": event.model_dump_json(exclude_none=True),
        }
        pipe.xadd(self.key(after.id), fields, id=f"{after.version}-0", maxlen=KEPT, approximate=True)
        if before is None:
            pipe.expireat(self.key(after.id), gone)
        else:  # nobody can wait for what did not exist
            pipe.publish(self.channel, after.id)

    def after(self, job_id: str, number: int) -> Iterator[tuple[int, str, str]]:
        """Number, name and JSON of the events after `number`, as far as they are kept."""
        key = self.key(job_id)
        while found := cast(_Entries, self.redis.xrange(key, f"({number}-0", "+", count=AT_ONCE)):
            for entry, fields in found:
                number = int(entry.partition("-")[0])
                yield number, fields["name"], fields["data"]


def ends(data: str) -> bool:
    """Whether nothing but the deletion of its files comes after this event of a job."""
    return not State(json.loads(data)["state"]).open
